"""Each chapter's exercises, beside the reference functions that check them."""
