"""The commands: each reads flags, calls a function of `tfdm.experiments` and prints its answer."""

from __future__ import annotations

from tfdm.quiet import quiet_interrupts

quiet_interrupts()  # Before the commands import anything else.

COMMANDS = {
    "train": "train a model into a run folder, or resume the run there",
    "sample": "generate images from a trained run",
    "evaluate": "measure how good samples are",
    "estimate_kl": "estimate KL[q(z) ‖ p(z)] of a trained run or of posteriors",
    "fit_prior": "fit a prior to q(z) of a trained run, and measure what it gains",
    "export": "write the networks of a run as SavedModels",
    "report": "make a page of finished runs",
    "synthetic_gaussians": "density ratios between Gaussians of known divergence",
    "train_classifier": "train the classifiers behind the metrics",
    "sweep": "train and evaluate a model with many hyperparameters",
    "reproduce": "make the tables and figures of the paper",
}
