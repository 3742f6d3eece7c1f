"""Generates samples of a trained run; the same as the command `tfdm-sample`. See --help."""

import sys

from tfdm.cli.sample import main

if __name__ == "__main__":
    sys.exit(main())
