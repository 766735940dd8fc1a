"""What is measured, and what chapters quote; see README.md."""

import medr1_lib.cli  # noqa: F401 - silences bitsandbytes before it is imported
