"""`tfdm-sample`: images from the prior of a trained run."""

from __future__ import annotations

from tfdm.cli.command import Command
from tfdm.cli.flags import FlagGroup, Given, RunFlag, flags_of
from tfdm.experiments.sample import SampleConfig, sample
from tfdm.quiet import quiet_tensorflow


def _sample(given: Given) -> str:
    run = str(given.get("run"))
    config = given.config(SampleConfig, output_dir=f"{run}/generated")
    with quiet_tensorflow():
        samples = sample(run, config)
    return "\n".join(map(str, samples.files))


COMMAND = Command(
    name="sample",
    usage="--run=DIR [--num=64] [--seed=0]",
    summary=(
        "Generates images from the prior of a trained run: a sheet (samples.png), the arrays "
        "(samples.npz: images, and the noise that they come from), and rows of images that lead "
        "from one sample to another (interpolations.png)."
    ),
    groups=lambda: [
        FlagGroup("Flags", flags_of(RunFlag, required=("run",)) + flags_of(SampleConfig))
    ],
    run=_sample,
)
main = COMMAND.main
