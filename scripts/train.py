"""Trains a model; the same as the command `tfdm-train`. See --help."""

import sys

from tfdm.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
