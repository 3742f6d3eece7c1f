"""`python -m tfdm`: the commands of the package."""

import sys

from tfdm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
