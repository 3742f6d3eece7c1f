"""Density ratios of known Gaussians; the same as `tfdm-synthetic-gaussians`. See --help."""

import sys

from tfdm.cli.synthetic_gaussians import main

if __name__ == "__main__":
    sys.exit(main())
