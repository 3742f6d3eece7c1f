"""Sweeps: the paper's grids, the trials and their order, and real Ray with trials that fail."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import pytest

from tfdm.errors import UserError
from tfdm.experiments import sweep as sweep_module
from tfdm.experiments.sweep import SweepResult, sweep
from tfdm.experiments.trials import Verdict
from tfdm.models.grids import paper_grid

# Fields of runs of some seconds.
TINY = {"steps": 2, "width": 0.0625, "batch_size": 8}


@pytest.mark.parametrize(
    ("model", "grid"),
    [
        ("vae", {"learning_rate": {0.001, 0.0005, 0.005}}),
        (
            "dcgan",
            {
                "generator_learning_rate": {0.0001, 0.0002, 0.0003},
                "discriminator_learning_rate": {0.0001, 0.0002, 0.0003},
            },
        ),
        (
            "wgan_gp",
            {
                "generator_learning_rate": {0.0001, 0.0002, 0.0003},
                "critic_learning_rate": {0.0001, 0.0002, 0.0003},
            },
        ),
        (
            "aae",
            {
                "learning_rate": {0.001, 0.0005, 0.005},
                "code_discriminator_learning_rate": {0.0005, 0.00005, 0.00001},
            },
        ),
        *(
            (
                model,
                {
                    "learning_rate": {0.0001, 0.0005},
                    "discriminator_learning_rate": {0.0005},
                    "code_discriminator_learning_rate": {0.0005},
                    "encoder_reconstruction_weight": {1, 5, 10, 50},
                    "generator_reconstruction_weight": {1, 5, 10, 50},
                },
            )
            for model in ("aae_plus_plus", "aae_gan")
        ),
        (
            "veegan",
            {
                "learning_rate": {0.001, 0.0005},
                "discriminator_learning_rate": {0.00005, 0.0001},
                "head_maps": {512, 1024},
            },
        ),
    ],
)
def test_the_grids_are_those_of_table_5(model: str, grid: dict[str, set[float]]) -> None:
    assert {name: set(values) for name, values in paper_grid(model, "cifar10").items()} == grid
    latents = {"latent_dim": {10, 50, 75}}  # K.5.1
    on_digits = {n: set(values) for n, values in paper_grid(model, "color_mnist").items()}
    assert on_digits == grid | latents


def _pending(monkeypatch: pytest.MonkeyPatch, folder: Path, **options: object) -> SweepResult:
    """A sweep whose trials do not run."""
    monkeypatch.setattr(sweep_module, "run_trials", lambda *arguments: None)
    return sweep("vae", "color_mnist_5k", output_dir=str(folder), **TINY, **options)


def test_a_random_order_draws_each_trial_once_and_a_budget_cuts_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = []
    for order, budget in (("grid", 0), ("random", 0), ("random", 5)):
        folder = tmp_path / f"{order}{budget}"
        result = _pending(monkeypatch, folder, order=order, budget=budget, seeds=(0, 1))
        names.append([trial["folder"] for trial in result.models["vae"]["trials"]])
    grid, random, cut = names
    assert len(set(grid)) == 3 * 3 * 2
    assert grid != random
    assert sorted(grid) == sorted(random)
    assert cut == random[:5]


def test_the_record_keeps_other_models_and_what_diverged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    grid = {"learning_rate": [0.001, 0.0005]}

    def diverge_first(trials, evaluation, config, folder, register, note, progress) -> None:
        note(Verdict(trials[0].folder, "diverged", "step 3: kl"))
        note(Verdict(trials[1].folder, "failed", "its process ended"))

    monkeypatch.setattr(sweep_module, "run_trials", diverge_first)
    options = {"output_dir": str(tmp_path), "order": "grid", **TINY}
    sweep("vae", "color_mnist_5k", grid=grid, **options)
    asked: list[str] = []
    monkeypatch.setattr(
        sweep_module, "run_trials", lambda trials, *others: asked.extend(t.folder for t in trials)
    )
    sweep("vae", "color_mnist_5k", grid=grid, **options)
    assert asked == ["vae/learning_rate=0.0005-seed0"]  # One that diverged would do so again.
    result = sweep("aae", "color_mnist_5k", grid=grid, **options)
    assert list(result.models) == ["vae", "aae"]
    assert "| vae/learning_rate=0.001-seed0 | diverged: step 3: kl | – |" in result.table()
    with pytest.raises(UserError, match="another data set"):
        sweep("vae", "cifar10", grid=grid, output_dir=str(tmp_path), **TINY)


def test_the_best_trial_is_the_lowest_critic(tmp_path: Path) -> None:
    trials = [
        {"folder": name, "status": "done", "reason": "", "metrics": metrics}
        for name, metrics in (
            ("a", {"wasserstein_critic": 3.0, "inception_score": 2.0, "ms_ssim": 0.1}),
            ("b", {"wasserstein_critic": 1.0, "inception_score": 1.0, "ms_ssim": 0.2}),
            ("c", {}),
        )
    ]
    result = SweepResult({"vae": {"metrics": [], "trials": trials}}, tmp_path)
    best = [result.best("vae", m) for m in ("wasserstein_critic", "inception_score", "ms_ssim")]
    assert best == ["b", "a", None]


def test_without_a_grid_or_ray_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="give --grid"):
        sweep("draw", "cifar10", output_dir=str(tmp_path))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'tfdm\[sweep\]'"):
        sweep("vae", "color_mnist_5k", budget=1, output_dir=str(tmp_path), **TINY)


# A VAE that is killed once with 3 latents, and diverges with 4.
_FAULTY = """
import os, pathlib, signal
import tensorflow as tf
import tfdm
from tfdm.models.vae import VAE

class Faulty(VAE):
    def update(self, images, noise):
        mark = pathlib.Path({mark!r})
        if self.latent_dim == 3 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        terms = super().update(images, noise)
        return terms | {{"kl": terms["kl"] + float("nan")}} if self.latent_dim == 4 else terms

tfdm.register_model("faulty", Faulty)
"""


@pytest.mark.slow
def test_ray_runs_two_at_a_time_and_survives_a_kill_and_a_divergence(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from tfdm.models.registry import register_file

    file = tmp_path / "faulty.py"
    file.write_text(textwrap.dedent(_FAULTY.format(mark=str(tmp_path / "killed"))))
    register_file(file)
    options = {
        "grid": {"latent_dim": [2, 3, 4]},
        "register": [str(file)],
        "order": "grid",
        "concurrent": 2,
        "metrics": ("ms_ssim",),
        "num_samples": 32,
        "fields": {"ms_ssim": {"num_batches": 2, "batch_size": 8}},
        "output_dir": str(tmp_path / "sweep"),
        "progress": False,
        **TINY,
    }
    first = sweep("faulty", "color_mnist_5k", **options)
    statuses = [trial["status"] for trial in first.models["faulty"]["trials"]]
    assert statuses == ["done", "failed", "diverged"]
    done = tmp_path / "sweep" / "faulty" / "latent_dim=2-seed0" / "summary.json"
    before = done.stat().st_mtime_ns
    second = sweep("faulty", "color_mnist_5k", **options)
    statuses = [trial["status"] for trial in second.models["faulty"]["trials"]]
    assert statuses == ["done", "done", "diverged"]
    assert done.stat().st_mtime_ns == before
    stands = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert stands["models"] == second.models
    assert (tmp_path / "sweep" / "sweep.png").is_file()
