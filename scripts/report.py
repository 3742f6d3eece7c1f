"""Makes a page of finished runs; the same as the command `tfdm-report`. See --help."""

import sys

from tfdm.cli.report import main

if __name__ == "__main__":
    sys.exit(main())
