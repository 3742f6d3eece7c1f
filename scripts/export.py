"""Exports a trained run as SavedModels; the same as the command `tfdm-export`. See --help."""

import sys

from tfdm.cli.export import main

if __name__ == "__main__":
    sys.exit(main())
