"""Estimates KL[q(z) ‖ p(z)]; the same as the command `tfdm-estimate-kl`. See --help."""

import sys

from tfdm.cli.estimate_kl import main

if __name__ == "__main__":
    sys.exit(main())
