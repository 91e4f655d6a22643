"""`python -m meantime` is the command line."""

import sys

from meantime.cli import main

if __name__ == "__main__":
    sys.exit(main())
