"""Measures samples; the same as the command `tfdm-evaluate`. See --help."""

import sys

from tfdm.cli.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
