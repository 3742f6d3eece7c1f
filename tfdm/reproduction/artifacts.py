"""The tables and figures of the paper as data: the numbers, their runs, and the paper's values.

A new artifact is one entry here. The paper's values are those that it prints; figures whose values
can only be read off a plot have none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from tfdm.reproduction.figures import Bars, Boxes, Curves, Diagram, Divergences, Picture, Sheet
from tfdm.reproduction.work import Evaluation, Gaussians, KLEstimate, Sweep, Training, Work


@dataclasses.dataclass(frozen=True)
class Cell:
    """One number of a table: where ours stands, and what the paper prints."""

    row: str
    column: str
    work: Work
    field: str
    paper: float | None = None


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A table or figure.

    Attributes:
      name: `tableN` or `figureN`.
      title: what it shows.
      unit: of the numbers in `cells`.
      cells: its numbers, row by row.
      pictures: its pictures.
      note: what a reader must know to compare ours with the paper's.
    """

    name: str
    title: str
    unit: str = ""
    cells: tuple[Cell, ...] = ()
    pictures: tuple[Picture, ...] = ()
    note: str = ""

    @property
    def works(self) -> tuple[Work, ...]:
        """All pieces of work in the order in which they are done, each after what it needs."""
        found: dict[str, Work] = {}
        shown = [cell.work for cell in self.cells]
        for work in [*shown, *(work for picture in self.pictures for work in picture.works)]:
            for needed in (*work.needs, work):
                found.setdefault(needed.name, needed)
        return tuple(found.values())


def _training(model: str, dataset: str, **options: Any) -> Training:
    return Training(model, dataset, tuple(options.items()))


def _kl(run: Training, estimator: str, label: str = "", **options: Any) -> KLEstimate:
    return KLEstimate(run, estimator, label, tuple(options.items()))


_TITLES = {"color_mnist": "ColorMNIST", "cifar10": "CIFAR-10", "celeb_a": "CelebA"}
# The latents of the models that Figures 4, 5 and 12 to 17 compare.
_LATENTS = {"color_mnist": 50, "cifar10": 100, "celeb_a": 100}
_VAE = {
    (dataset, latents): _training("vae", dataset, latent_dim=latents)
    for dataset, sizes in (
        ("color_mnist", (50, 100)), ("cifar10", (100, 200)), ("celeb_a", (100, 200)),
    )
    for latents in sizes
}  # fmt: skip
_DRAW = _training("draw", "cifar10", likelihood="quantized_normal")
_DENSITIES = ("gmm", "maf", "lstm")
_COMPARED = ("vae", "dcgan", "wgan_gp", "aae", "veegan", "aae_plus_plus", "aae_gan")
# Figures 14 to 16 leave AAE++ out.
_SAMPLED = ("vae", "aae", "dcgan", "wgan_gp", "veegan", "aae_gan")
_RECONSTRUCTED = ("vae", "aae", "aae_gan")
# What Figure 5 shows of trials beside the critic of Figure 4.
_OTHER_METRICS = {"cifar10": ("inception_score",), "celeb_a": ("ms_ssim",)}


def _compared(model: str, dataset: str) -> Training:
    """The run of a model in the comparison of all."""
    return _training(model, dataset, latent_dim=_LATENTS[dataset])


def _table1() -> Iterable[Cell]:
    paper = {
        ("color_mnist", 50): (0.468, 0.244),
        ("color_mnist", 100): (0.238, 0.129),
        ("celeb_a", 100): (1.1237, 1.0039),
        ("celeb_a", 200): (0.575, 0.5138),
        ("cifar10", 100): (0.447, 0.334),
        ("cifar10", 200): (0.221, 0.164),
    }
    rows = [(f"VAE, {_TITLES[d]}, {n} latents", _VAE[d, n], paper[d, n]) for d, n in paper]
    rows.append(("DRAW, CIFAR-10, 49,152 latents", _DRAW, (0.0872, 0.0870)))
    for row, run, (average, marginal) in rows:
        estimate = _kl(run, "monte_carlo")
        yield Cell(row, "average KL", estimate, "average_kl_per_dimension", average)
        yield Cell(row, "Monte Carlo", estimate, "kl_per_dimension", marginal)
        yield Cell(row, "average KL − log N", estimate, "minimum_per_dimension")


def _table2() -> Iterable[Cell]:
    run = _VAE["color_mnist", 50]
    yield Cell("Monte Carlo", "KL", _kl(run, "monte_carlo"), "kl", 12.3)
    for row, label, options, paper in (
        ("3 layers", "layers3", {"num_layers": 3}, 2.3),
        ("4 layers", "layers4", {"num_layers": 4}, 3.3),
        ("4 layers, activation noise", "noise", {"num_layers": 4, "activation_noise": 0.5},
         25812.8),
        ("4 layers, gradient penalty", "penalty", {"num_layers": 4, "gradient_penalty": 1.0}, 3.05),
    ):  # fmt: skip
        yield Cell(row, "KL", _kl(run, "density_ratio", label, **options), "kl", paper)


def _table3() -> Iterable[Cell]:
    run = _VAE["celeb_a", 100]
    yield Cell("Monte Carlo", "KL", _kl(run, "monte_carlo"), "kl", 100.3)
    for layers, rate, noise, dropout, paper in (
        (5, 5e-4, 0.0, 0.0, 17.74),
        (5, 5e-4, 0.5, 0.0, 720140.922),
        (5, 1e-4, 0.0, 0.0, 14.83),
        (7, 5e-4, 0.0, 0.0, 18.82),
        (7, 5e-4, 0.0, 0.5, 19.01),
        (7, 1e-4, 0.0, 0.0, 18.02),
        (10, 1e-4, 0.0, 0.0, 18.12),
    ):
        extra = "noise" if noise else "dropout" if dropout else "plain"
        options = {"num_layers": layers, "learning_rate": rate}
        options |= {"activation_noise": noise, "dropout": dropout}
        work = _kl(run, "density_ratio", f"layers{layers}-rate{rate:g}-{extra}", **options)
        row = f"{layers} layers, rate {rate:g}" + ("" if extra == "plain" else f", {extra}")
        yield Cell(row, "KL", work, "kl", paper)


def _table4() -> Iterable[Cell]:
    paper = {0: (23.4, 12.2), 1: (22.52, 11.57), 2: (22.34, 11.4), 10: (22.23, 11.29)}
    for weight, (average, marginal) in paper.items():
        options = {"marginal_kl_weight": float(weight)} if weight else {}
        run = _training("vae", "color_mnist", latent_dim=50, **options)
        estimate = _kl(run, "monte_carlo")
        yield Cell(f"λ = {weight}", "average KL", estimate, "average_kl", average)
        yield Cell(f"λ = {weight}", "Monte Carlo", estimate, "kl", marginal)


def _bars(estimators: Iterable[str]) -> tuple[Picture, ...]:
    chosen = tuple(estimators)
    return tuple(
        Bars(
            f"{dataset}-{latents}",
            f"VAE, {_TITLES[dataset]}, {latents} latents",
            tuple(_kl(_VAE[dataset, latents], name) for name in chosen),
        )
        for dataset, latents in _VAE
        if dataset != "celeb_a"
    )


def _divergences(name: str, title: str, **options: Any) -> Artifact:
    work = Gaussians(name, tuple(options.items()))
    cells = [
        Cell(f"d = {dim}", column, work, f"{dim}/{setting}/{series}")
        for dim in (1, 10, 100, 1000)
        for column, setting, series in (
            ("true KL at the start", "learning", "initial_kl"),
            ("true KL at the end", "learning", "true_kl"),
            ("estimate, both fixed", "estimation", "estimate"),
        )
    ]
    note = (
        "The paper does not say how W and b are drawn (here: entries N(0, 1)), and prints no "
        "values. It trains 10⁶ steps with 10⁸ weights."
    )
    picture = Divergences("learning", title, (work,))
    full = f"A Gaussian that learns by density ratios: {title}"
    return Artifact(name, full, "nats", tuple(cells), (picture,), note)


def _evaluations(dataset: str, metric: str, *others: Evaluation) -> tuple[Evaluation, ...]:
    return (*(Evaluation(_compared(m, dataset), metric) for m in _COMPARED), *others)


def _sweeps(dataset: str) -> tuple[Sweep, ...]:
    metrics = ("wasserstein_critic", *_OTHER_METRICS.get(dataset, ()))
    return tuple(Sweep(model, dataset, metrics) for model in _COMPARED)


def _boxes(name: str, title: str, dataset: str, metric: str, *others: Evaluation) -> Boxes:
    works: tuple[Evaluation | Sweep, ...] = (
        *_evaluations(dataset, metric, *others),
        *_sweeps(dataset),
    )
    return Boxes(name, f"{title}, {_TITLES[dataset]}", metric, works)


def _figure5() -> Iterable[Cell]:
    test = Evaluation("celeb_a", "ms_ssim")
    yield Cell("CelebA test images", "diversity", test, "diversity", 0.621)
    noisy = Evaluation("celeb_a", "ms_ssim", noise=0.1)
    yield Cell("CelebA test images, noise 0.1", "diversity", noisy, "diversity")
    score = "inception score, CIFAR-10 classifier"
    test = Evaluation("cifar10", "inception_score")
    yield Cell("CIFAR-10 test images", score, test, "mean", 9.18)
    yield Cell("DRAW", score, Evaluation(_DRAW, "inception_score"), "mean", 5.16)
    for model in _COMPARED:
        run = _compared(model, "cifar10")
        yield Cell(model, score, Evaluation(run, "inception_score"), "mean")


def _figure4() -> Iterable[Cell]:
    for dataset, title in _TITLES.items():
        for work in _evaluations(dataset, "wasserstein_critic"):
            if isinstance(work.samples, Training):
                yield Cell(work.samples.model, title, work, "value")


def _sheet(dataset: str, grids: str, models: Iterable[str]) -> tuple[Picture, ...]:
    return (Sheet(grids, grids, tuple(_compared(model, dataset) for model in models)),)


_PIXELS = {
    "Bernoulli": _VAE["cifar10", 100],
    "quantized normal": _training("vae", "cifar10", latent_dim=100, likelihood="quantized_normal"),
}
_AVB = _training("avb", "color_mnist", latent_dim=50, adaptive_contrast=False)
_SATURATED = (
    "Monte Carlo is saturated in nearly every row: it repeats average KL − log N, and its column "
    "agrees with the paper as far as the average KL does."
)

_ARTIFACTS = (
    Artifact(
        "table1", "Marginal KLs by Monte Carlo", "nats a dimension", tuple(_table1()),
        note=_SATURATED,
    ),
    Artifact(
        "table2", "Marginal KL by density ratios, VAE with 50 latents on ColorMNIST", "nats",
        tuple(_table2()), note="The paper does not say how much noise its activations have, nor "
        "the weight of its penalty.",
    ),
    Artifact(
        "table3", "Marginal KL by density ratios, VAE with 100 latents on CelebA", "nats",
        tuple(_table3()),
    ),
    Artifact(
        "table4", "VAEs with the marginal KL in their loss, 50 latents on ColorMNIST", "nats",
        tuple(_table4()), note=_SATURATED,
    ),
    Artifact(
        "figure1", "Three ways to estimate the marginal KL",
        pictures=_bars(("monte_carlo", "density_ratio", "lstm")),
    ),
    _divergences("figure2", "4 layers, classifier rate 1e-4", num_layers=4),
    Artifact(
        "figure3", "Players and networks of the models",
        pictures=(
            Diagram("players", ("vae", "dcgan", "aae", "veegan", "aae_plus_plus", "aae_gan")),
        ),
    ),
    Artifact(
        "figure4", "Independent Wasserstein critic (lower is better; the plots show its negative)",
        cells=tuple(_figure4()),
        pictures=tuple(
            _boxes(dataset, "Negative Wasserstein critic", dataset, "wasserstein_critic")
            for dataset in _TITLES
        ),
    ),
    Artifact(
        "figure5", "Sample diversity and inception scores", cells=tuple(_figure5()),
        pictures=(
            _boxes(
                "diversity", "Diversity", "celeb_a", "ms_ssim", Evaluation("celeb_a", "ms_ssim"),
                Evaluation("celeb_a", "ms_ssim", noise=0.1),
            ),
            _boxes(
                "inception", "Inception score", "cifar10", "inception_score",
                Evaluation("cifar10", "inception_score"),
            ),
        ),
        note="The ImageNet scores of the paper (test images 11.25, DRAW 3.37) need the Inception "
        "network: `evaluate --inception_path`.",
    ),
    Artifact("figure6", "Fitted densities", pictures=_bars(_DENSITIES)),
    Artifact(
        "figure7", "Bernoulli and quantized normal pixels", "nats",
        cells=tuple(
            Cell(name, "KL term of the loss", run, "kl", paper)
            for (name, run), paper in zip(_PIXELS.items(), (44.7, 256.7), strict=True)
        ),
        pictures=tuple(
            Sheet(grids, grids, tuple(_PIXELS.values()), tuple(_PIXELS))
            for grids in ("reconstructions", "samples")
        ),
        note="The paper does not name the data set. The KL of its Bernoulli model is that of its "
        "VAE with 100 latents on CIFAR-10 (Table 1), so CIFAR-10 is used here.",
    ),
    _divergences("figure8", "3 layers, classifier rate 1e-4", num_layers=3),
    _divergences("figure9", "4 layers, classifier rate 1e-3", discriminator_learning_rate=1e-3),
    _divergences("figure10", "5 classifier steps, classifier rate 1e-4", discriminator_steps=5),
    Artifact(
        "figure11", "The bound over training, CIFAR-10",
        pictures=(
            Curves(
                "bound", (_compared("vae", "cifar10"), _compared("veegan", "cifar10")),
                (("bound", 1.0), ("bound", -1.0)),
            ),
        ),
        note="VEEGAN's bound is of eq. 14 and is minimised; the plot shows its negative.",
    ),
    Artifact(
        "figure12", "Training reconstructions, CelebA",
        pictures=_sheet("celeb_a", "reconstructions", _RECONSTRUCTED),
    ),
    Artifact(
        "figure13", "Training reconstructions, CIFAR-10",
        pictures=_sheet("cifar10", "reconstructions", _RECONSTRUCTED),
    ),
    Artifact("figure14", "Samples, CelebA", pictures=_sheet("celeb_a", "samples", _SAMPLED)),
    Artifact("figure15", "Samples, CIFAR-10", pictures=_sheet("cifar10", "samples", _SAMPLED)),
    Artifact(
        "figure16", "Samples, ColorMNIST", pictures=_sheet("color_mnist", "samples", _SAMPLED)
    ),
    Artifact(
        "figure17", "AVB without adaptive contrast, ColorMNIST",
        cells=tuple(
            Cell(run.model, "Wasserstein critic", Evaluation(run, "wasserstein_critic"), "value")
            for run in (_AVB, _compared("vae", "color_mnist"))
        ),
        pictures=(Sheet("samples", "samples", (_AVB,)),),
    ),
)  # fmt: skip
ARTIFACTS: Mapping[str, Artifact] = {artifact.name: artifact for artifact in _ARTIFACTS}
