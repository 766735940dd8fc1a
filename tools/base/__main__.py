"""`python -m tools.base`."""

import sys

from medr1_lib.cli import exit_status
from tools.base.command import main

if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
