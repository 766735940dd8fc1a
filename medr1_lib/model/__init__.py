"""The policy: the tiny base model, how it is loaded, and its frozen eye."""
