"""Fits a prior to q(z) of a trained run; the same as the command `tfdm-fit-prior`. See --help."""

import sys

from tfdm.cli.fit_prior import main

if __name__ == "__main__":
    sys.exit(main())
