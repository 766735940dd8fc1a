"""What breaks, and what a long run costs; `book/promises.md` quotes the figures."""
