"""The model: how one is loaded, the tiny base, and its frozen vision tower."""
