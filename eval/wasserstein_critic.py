"""The independent Wasserstein critic: how far samples are from images that no player has seen.

The critic that a GAN was trained against knows the generator's tricks and has seen its training
images. Here fresh critics are trained, after the model, on validation images against samples, and
read off on other images and other samples (Appendix I; Danihelka et al., *Comparison of maximum
likelihood and GAN-based training of Real NVPs*, 2017), with the loss of Gulrajani et al.,
*Improved training of Wasserstein GANs* (2017):

    E f(x̂) − E f(x) + λ E (‖∇f(x̃)‖₂ − 1)²,  x̃ between an image x and a sample x̂.

Distances are in units of the L2 norm of images in [-1, 1]. The penalty holds the slope of the
critic softly, which lifts the value: between two point masses at distance r the best slope is
1 + r/(2λ), not 1, and the value r + r²/(2λ), not r. A critic of few steps or little capacity, and
one that does not generalise, lowers it.
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

    A score f is higher for images than for samples. All means are over critics too.

    Attributes:
      value: mean f(held-out images) − mean f(held-out samples): the distance. Noise can make it
        negative where samples and images agree.
      standard_error: of `value` over critics (divisor of the variance: their number less 1), which
        holds the chance of their training and not that of the images; `None` with one critic.
      image_standard_error: of `value` over images and samples, with these critics: what another
        draw of the held-out ones would change. `None` where one of the two is a single one.
      per_seed: the value of each critic.
      training_value: the same difference on the images and samples that the critic was trained on.
      critic_gap: `training_value` − `value`: by how much the critic itself overfitted.
      model_gap: mean f(held-out images) − mean f(the model's training images): positive when the
        training images look more like samples than unseen images do, so when the model overfitted;
        `None` when no training images were given.
      model_gap_standard_error: of `model_gap` over critics, as `standard_error`.
      model_gap_image_standard_error: of `model_gap` over images, as `image_standard_error`. With
        critics that learnt from neither set, a model that did not overfit leaves the gap within a
        few of these of nought.
      num_real: the number of images that the critic was trained on.
      num_held_out: the number of other images.
      num_samples: the number of samples that the critic was trained on.
      num_held_out_samples: the number of other samples.
    """

    value: float
    standard_error: float | None
    image_standard_error: float | None
    per_seed: tuple[float, ...]
    training_value: float
    critic_gap: float
    model_gap: float | None
    model_gap_standard_error: float | None
    model_gap_image_standard_error: float | None
    num_real: int
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
        smaller one of an odd number, is for training, the other is held out.
      config: the recipe of the critics; `None` for its defaults.
      training_images: images that the model was trained on, for `model_gap`.
      seed: seed of the halves and of the critics, at least 0.
      state: a folder for checkpoints. A call that was broken off goes on from there when it is
        repeated, to the same bits. What another recipe, seed, images, samples or initial network
        left there is passed over.
      network: makes the critic of a seed, images [B, H, W, C] in [-1, 1] -> scores [B], the same
        layers for all seeds and no batch norm; it is told apart from others by its initial
        weights. The default is the critic of WGAN-GP for the size of the images (Appendix K).
      progress: called after every update with the number of updates done and that of all critics.

    Raises:
      ValueError: an array is of another type, shape or range, shapes disagree, there are fewer
        than 2 samples, or no network fits the images.
      DivergedError: a critic's score or weight is not finite.
    """
    config = config or CriticConfig()
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected at least 0")
    real, held_out, samples = (checked_images(images) for images in (real, held_out, samples))
    seen = None if training_images is None else checked_images(training_images)
    shape = real.shape[1:]
    for name, images in (("held_out", held_out), ("samples", samples), ("training_images", seen)):
        if images is not None and images.shape[1:] != shape:
            raise ValueError(
                f"{name} have shape {images.shape}, expected [n, {', '.join(map(str, shape))}]"
            )
    if len(samples) < 2:
        raise ValueError(f"there are {len(samples)} samples, expected at least 2")
    order = stream(seed, "critic/split").permutation(len(samples))
    fake, held_out_fake = np.split(samples[order], [len(samples) // 2])

    def default_network(critic_seed: int) -> keras.Model:
        make = LayerFactory("independent_critic", seed=critic_seed, width=config.width)
        return image_networks.discriminator(make, shape, normalization=config.normalization)

    build = network or default_network
    training = CriticTraining(build(_initial_seed(seed, 0)), real, fake, seed, config)
    folder = None if state is None else Path(state) / training.digest()
    values, training_values, model_gaps = [], [], []
    # The score of every image, its mean over critics.
    unseen_mean, sample_mean, seen_mean = (
        np.zeros(0 if images is None else len(images)) for images in (held_out, held_out_fake, seen)
    )
    for index in range(config.num_seeds):
        training.start(index, build(_initial_seed(seed, index)))

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
            unseen, unseen_fake = training.scores(held_out), training.scores(held_out_fake)
            learnt, learnt_fake = training.scores(real), training.scores(fake)
            trained_on = None if seen is None else training.scores(seen)
        values.append(float(unseen.mean() - unseen_fake.mean()))
        training_values.append(float(learnt.mean() - learnt_fake.mean()))
        unseen_mean += unseen / config.num_seeds
        sample_mean += unseen_fake / config.num_seeds
        if trained_on is not None:
            model_gaps.append(float(unseen.mean() - trained_on.mean()))
            seen_mean += trained_on / config.num_seeds
    value, training_value = float(np.mean(values)), float(np.mean(training_values))
    return CriticDistance(
        value=value,
        standard_error=standard_error(values),
        image_standard_error=standard_error_of_difference(unseen_mean, sample_mean),
        per_seed=tuple(values),
        training_value=training_value,
        critic_gap=training_value - value,
        model_gap=float(np.mean(model_gaps)) if model_gaps else None,
        model_gap_standard_error=standard_error(model_gaps),
        model_gap_image_standard_error=standard_error_of_difference(unseen_mean, seen_mean),
        num_real=len(real),
        num_held_out=len(held_out),
        num_samples=len(fake),
        num_held_out_samples=len(held_out_fake),
    )


def _initial_seed(seed: int, index: int) -> int:
    return derive(seed, "critic/weights", index, bits=31)


def measure(inputs: Inputs, config: CriticConfig) -> dict[str, Any]:
    """Returns the record of the independent critics, with the splits that they saw.

    A split that is itself evaluated is not used as real images too.

    Raises:
      ValueError: there is no data set.
    """
    if not inputs.splits:
        raise ValueError("there is no data set, which the metric needs")
    names = _SPLITS.get(inputs.split, _SPLITS[None])
    real, held_out, training = (None if name is None else inputs.splits[name] for name in names)
    distance = independent_wasserstein_critic(
        _some(real),
        _some(held_out),
        inputs.images[: config.images_needed],
        config,
        training_images=None if training is None else _some(training),
        seed=inputs.seed,
        state=inputs.state,
        progress=inputs.open_progress(),
    )
    splits = zip(("real_split", "held_out_split", "training_split"), names, strict=True)
    return {**dataclasses.asdict(distance), **dict(splits)}


def _some(images: Any) -> np.ndarray:
    """At most `CRITIC_IMAGES` of a split, evenly spread."""
    number = min(len(images), CRITIC_IMAGES)
    return images[np.linspace(0, len(images) - 1, number).astype(np.int64)]
