"""What the holes of q(z) look like, and the weights of the importance-weighted likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfdm import estimators
from tfdm.errors import UserError

if TYPE_CHECKING:
    from tfdm.experiments.kl_sources import Posteriors, Source

FloatArray = npt.NDArray[np.float64]

# Prior samples that are ordered, and how many of them are shown at even ranks.
_CANDIDATES = 4096
_SHOWN = 64


def ordered_samples(model: Any, posteriors: Posteriors, seed: int) -> bytes:
    """Returns a PNG of samples from the prior in the order of log q(z) − log p(z), lowest first.

    Of 4,096 codes z ~ p(z), 64 at even ranks are decoded: on top those that lie in the holes of
    the aggregate posterior, where no image is ever encoded, at the bottom those that it favours.
    """
    from tfdm.pictures import image_grid, png_bytes

    codes = np.random.default_rng([seed, 1]).standard_normal((_CANDIDATES, model.latent_dim))
    chosen = codes[np.argsort(log_ratio(posteriors, codes), kind="stable")]
    ranks = np.linspace(0, _CANDIDATES - 1, _SHOWN).round().astype(np.int64)
    images = model.decode(chosen[ranks].astype(np.float32)).numpy()
    return png_bytes(image_grid(images))


def log_ratio(posteriors: Posteriors, codes: FloatArray) -> FloatArray:
    """Returns log q(z) − log p(z) [S] of codes [S, L], q(z) the mixture of the posteriors."""
    if posteriors.scale is None:
        raise ValueError("the posteriors have no scale, expected Gaussian ones")
    log_prior = -0.5 * np.sum(codes**2 + math.log(2 * math.pi), axis=1)
    mixture = estimators.MixtureDensity(posteriors.loc, posteriors.scale)
    return mixture.log_prob(codes) - log_prior


def importance_weights(source: Source, seed: int) -> Callable[[int, int, int], FloatArray]:
    """Returns log p(x|z) + log p(z) − log q(z|x) of held-out images of a run, a sample at a time.

    Raises:
      UserError: the model has no likelihood, or needs fresh pixel noise that this cannot give.
    """
    model = source.run.model if source.run is not None else None
    held_out, images = source.held_out, source.held_out_images
    likelihood = getattr(model, "likelihood", None)
    if model is None or likelihood is None or held_out is None or held_out.scale is None:
        raise UserError("the log-likelihood needs a model with p(x|z) and q(z|x): a vae")
    all_images, scale = np.asarray(images), held_out.scale

    def log_weights(start: int, stop: int, k: int) -> FloatArray:
        rng = np.random.default_rng([seed, 2, start, k])
        epsilon = rng.standard_normal((stop - start, model.latent_dim))
        codes = held_out.loc[start:stop] + scale[start:stop] * epsilon
        pixels = (all_images[start:stop] / 255.0).astype(np.float32)
        noise = None
        if likelihood.needs_noise:
            # One dequantisation of an image, whatever k is: the bound is on that point's density.
            noise = np.random.default_rng([seed, 3, start]).random(pixels.shape, np.float32)
        parameters = model.sampler(codes.astype(np.float32), training=False)
        log_likelihood = likelihood.log_prob(parameters, pixels, noise).numpy()
        log_prior = -0.5 * np.sum(codes**2, axis=1)
        log_posterior = -0.5 * np.sum(epsilon**2, axis=1) - np.log(scale[start:stop]).sum(axis=1)
        return log_likelihood + log_prior - log_posterior

    return log_weights
