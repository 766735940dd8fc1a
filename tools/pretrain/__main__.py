"""`python -m tools.pretrain`."""

import sys

from medr1_lib.cli import exit_status
from tools.pretrain.command import main

if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
