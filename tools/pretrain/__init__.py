"""How the tiny base model came to be: eye, captions, questions; every target is true."""
