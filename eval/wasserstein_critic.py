"""The independent Wasserstein critic: how far samples are from images that no player has seen.

The critic that a GAN was trained against knows the generator's tricks and has seen its training
images. Here fresh critics are trained, after the model, on validation images against samples, and
read off on other images and other samples (Appendix I; Danihelka et al., *Comparison of maximum
likelihood and GAN-based training of Real NVPs*, 2017), with the loss of Gulrajani et al.,
*Improved training of Wasserstein GANs* (2017):

    E f(x̂) − E f(x) + λ E (‖∇f(x̃)‖₂ − 1)²,  x̃ between an image x and a sample x̂.

Distances are in units of the L2 norm of images in [-1, 1]. The soft penalty lifts the value:
between two point masses at distance r it is r + r²/(2λ), not r, at the slope 1 + r/(2λ). A critic
of few steps or little capacity, and one that does not generalise, lowers it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfdm.eval.checks import checked_images
from tfdm.eval.config import CRITIC_IMAGES, CriticConfig
from tfdm.eval.critic_training import CriticTraining
from tfdm.eval.inputs import Inputs
from tfdm.networks import images as image_networks
from tfdm.networks.layers import LayerFactory
from tfdm.runs.checkpoints import CheckpointStore
from tfdm.seeds import derive, stream
from tfdm.statistics import standard_error, standard_error_of_difference
from tfdm.training.graphs import repeatable_graphs
from tfdm.training.loop import run_resumable

_STEPS_A_SAVE = 100
_SEEN = "training_images"

# By the split that is evaluated: what critics learn from, what they are read off on, and what the
# model was trained on.
_SPLITS: dict[str | None, tuple[str, str, str | None]] = {
    None: ("validation", "test", "train"),
    "train": ("validation", "test", None),
    "validation": ("train", "test", None),
    "test": ("validation", "train", None),
}


@dataclasses.dataclass(frozen=True)
class CriticDistance:
    """What the critics say: differences of mean scores, without the penalty, in [-1, 1] pixel L2.

    A score f is higher for images than for samples. All means are over critics too. A standard
    error is over critics, of the chance of their training (`None` with one critic); an image
    standard error is over held-out images and samples, with these critics (`None` for one image).

    `value` is mean f(held-out images) − mean f(held-out samples), the distance; noise can make it
    negative where samples and images agree. `model_gap` is mean f(held-out images) − mean
    f(training images of the model), more than a few of its image standard errors when the model
    overfitted; `None` without training images.
    """

    value: float
    standard_error: float | None
    image_standard_error: float | None
    per_seed: tuple[float, ...]  # the value of each critic
    training_value: float  # the same difference where the critic was trained
    critic_gap: float  # training_value − value: by how much the critic itself overfitted
    model_gap: float | None
    model_gap_standard_error: float | None
    model_gap_image_standard_error: float | None
    num_real: int  # seen by the critic, as `num_samples`
    num_held_out: int
    num_samples: int
    num_held_out_samples: int


def independent_wasserstein_critic(
    real: npt.ArrayLike,
    held_out: npt.ArrayLike,
    samples: npt.ArrayLike,
    config: CriticConfig | None = None,
    *,
    training_images: npt.ArrayLike | None = None,
    seed: int = 0,
    state: str | os.PathLike[str] | None = None,
    network: Callable[[int], keras.Model] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CriticDistance:
    """Trains critics on images against samples and returns the distance on held-out ones.

    Images are uint8 [n, H, W, C] or floating in [0, 1], C 1 or 3; the critics see them in
    [-1, 1]. All draws are functions of (seed, critic, step).

    Args:
      real: validation images on which the critics are trained.
      held_out: other images, on which they are read off.
      samples: of the model, at least 2. A permutation of `seed` halves them: the first half, the
        smaller one, is for training, the other is held out.
      config: the recipe of the critics; `None` for its defaults.
      training_images: images that the model was trained on, for `model_gap`.
      seed: at least 0.
      state: a folder for checkpoints, from which an interrupted call is resumed to the same
        bits. What another problem left there is passed over.
      network: makes the critic of a seed, images [B, H, W, C] in [-1, 1] -> scores [B], without
        batch norm; by default that of WGAN-GP for the size of the images (Appendix K).
      progress: called after every update with the number of updates done and that of all critics.

    Raises:
      ValueError: an array is of another type, shape or range, shapes disagree, there are fewer
        than 2 samples, or no network fits the images.
      DivergedError: a critic's score or weight is not finite.
    """
    config = config or CriticConfig()
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected at least 0")
    given = {"real": real, "held_out": held_out, "samples": samples}
    if training_images is not None:
        given[_SEEN] = training_images
    images = {name: checked_images(array) for name, array in given.items()}
    shape = images["real"].shape[1:]
    for name, array in images.items():
        if array.shape[1:] != shape:
            raise ValueError(
                f"{name} have shape {array.shape}, expected [n, {', '.join(map(str, shape))}]"
            )
    fake = images["samples"]
    if len(fake) < 2:
        raise ValueError(f"there are {len(fake)} samples, expected at least 2")
    order = stream(seed, "critic/split").permutation(len(fake))
    images["samples"], images["held_out_samples"] = np.split(fake[order], [len(fake) // 2])

    def default_network(critic_seed: int) -> keras.Model:
        make = LayerFactory("independent_critic", seed=critic_seed, width=config.width)
        return image_networks.discriminator(make, shape, normalization=config.normalization)

    def fresh(index: int) -> keras.Model:
        return (network or default_network)(derive(seed, "critic/weights", index, bits=31))

    training = CriticTraining(fresh(0), images["real"], images["samples"], seed, config)
    folder = None if state is None else Path(state) / training.digest()
    scores = {name: np.empty([config.num_seeds, len(array)]) for name, array in images.items()}
    for index in range(config.num_seeds):
        training.start(index, fresh(index))

        def show(done: int, total: int, before: int = index) -> None:
            if progress is not None:
                progress(before * total + done, config.num_seeds * total)

        run_resumable(
            training,
            config.steps,
            store=None if folder is None else CheckpointStore(folder / f"critic_{index}", keep=1),
            steps_a_save=_STEPS_A_SAVE,
            progress=show,
        )
        with repeatable_graphs():
            for name, array in images.items():
                scores[name][index] = training.scores(array)
    return _distance(scores)


def _distance(scores: dict[str, np.ndarray]) -> CriticDistance:
    """The differences of scores [critics, n] of each set of images."""
    over_critics = {name: rows.mean(axis=0) for name, rows in scores.items()}
    means = {name: rows.mean(axis=1) for name, rows in scores.items()}
    values = means["held_out"] - means["held_out_samples"]
    value, training_value = float(values.mean()), float((means["real"] - means["samples"]).mean())
    unseen, seen = over_critics["held_out"], over_critics.get(_SEEN, ())
    gaps = means["held_out"] - means[_SEEN] if _SEEN in means else None
    return CriticDistance(
        value=value,
        standard_error=standard_error(values),
        image_standard_error=standard_error_of_difference(unseen, over_critics["held_out_samples"]),
        per_seed=tuple(values.tolist()),
        training_value=training_value,
        critic_gap=training_value - value,
        model_gap=None if gaps is None else float(gaps.mean()),
        model_gap_standard_error=None if gaps is None else standard_error(gaps),
        model_gap_image_standard_error=standard_error_of_difference(unseen, seen),
        **{f"num_{name}": rows.shape[1] for name, rows in scores.items() if name != _SEEN},
    )


def measure(inputs: Inputs, config: CriticConfig) -> dict[str, Any]:
    """Returns the record of the critics, with the splits that they saw: never what is evaluated."""
    if not inputs.splits:
        raise ValueError("there is no data set, which the metric needs")
    names = _SPLITS.get(inputs.split, _SPLITS[None])
    real, held_out = (_some(inputs.splits[name]) for name in names[:2])
    training = None if names[2] is None else _some(inputs.splits[names[2]])
    distance = independent_wasserstein_critic(
        real,
        held_out,
        inputs.images[: config.images_needed],
        config,
        training_images=training,
        seed=inputs.seed,
        state=inputs.state,
        progress=inputs.open_progress(),
    )
    splits = zip(("real_split", "held_out_split", "training_split"), names, strict=True)
    return {**dataclasses.asdict(distance), **dict(splits)}


def _some(images: np.ndarray) -> np.ndarray:
    """At most `CRITIC_IMAGES` of a split, evenly spread."""
    number = min(len(images), CRITIC_IMAGES)
    return images[np.linspace(0, len(images) - 1, number).astype(np.int64)]
