"""python -m gemwire_server is gemwire."""

import sys

from gemwire_server.cli import main

if __name__ == "__main__":
    sys.exit(main())
