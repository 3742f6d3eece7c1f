"""Sweeps hyperparameters; the same as the command `tfdm-sweep`. See --help."""

import sys

from tfdm.cli.sweep import main

if __name__ == "__main__":
    sys.exit(main())
