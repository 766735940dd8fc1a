"""Questions about images: drawn, imported, checked."""
