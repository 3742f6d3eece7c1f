"""`tfdm-synthetic-gaussians`: density ratios between Gaussians of known divergence (section 5)."""

from __future__ import annotations

from tfdm.cli.command import Command
from tfdm.cli.flags import FlagGroup, Given, flags_of
from tfdm.experiments.options import SyntheticGaussiansConfig
from tfdm.quiet import quiet_tensorflow


def _run(given: Given) -> str:
    config = given.config(SyntheticGaussiansConfig, output_dir="runs/synthetic_gaussians")
    with quiet_tensorflow():
        from tfdm.experiments.synthetic_gaussians import synthetic_gaussians
    results = synthetic_gaussians(config)
    return f"{results.table()}\n{config.output_dir}/results.json"


COMMAND = Command(
    name="synthetic_gaussians",
    usage="[--dims=1,10,100] [--steps=N] [..]",
    summary=(
        "Trains a classifier between two Gaussians N(b, WᵀW), where W is 10 d x d, and compares "
        "the divergence that its logits estimate with the true one: with both Gaussians fixed, and "
        "while one learns to match the other (section 5, Appendix E). Writes results.json and "
        "plots like Figures 2, 8, 9 and 10."
    ),
    groups=lambda: [FlagGroup("Flags", flags_of(SyntheticGaussiansConfig))],
    run=_run,
)
main = COMMAND.main
