"""`python -m medr1_lib`: see `cli`."""

import sys

from medr1_lib.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
