"""``python -m fastembed``: the command line."""

import sys

from fastembed.cli import main

if __name__ == "__main__":
    sys.exit(main())
