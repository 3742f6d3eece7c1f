"""Makes the paper's tables and figures; the same as `tfdm-reproduce`. See --help."""

import sys

from tfdm.cli.reproduce import main

if __name__ == "__main__":
    sys.exit(main())
