"""Commands for the makers of what the repository ships."""
