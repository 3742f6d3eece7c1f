"""Trains a classifier that measures samples; the same as `tfdm-train-classifier`. See --help."""

import sys

from tfdm.cli.train_classifier import main

if __name__ == "__main__":
    sys.exit(main())
