"""How fast things are, beside the usual way."""
