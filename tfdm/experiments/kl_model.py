"""What only the model of a run can tell: how the holes of q(z) look, and its likelihood."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdm.distributions.priors import Prior
from tfdm.errors import UserError
from tfdm.estimators.codes import FloatArray, GaussianCodes
from tfdm.estimators.mixture import MixtureDensity
from tfdm.estimators.posteriors import draw
from tfdm.estimators.priors import PriorCodes, log_prior
from tfdm.pictures import grid_png
from tfdm.seeds import derive, stream

# Prior samples that are ordered, and how many of them are shown at even ranks.
_CANDIDATES = 4096
_SHOWN = 64


def ordered_samples(
    model: Any, posteriors: GaussianCodes, prior: Prior | None = None, seed: int = 0
) -> bytes:
    """Returns a PNG of samples from the prior in the order of log q(z) − log p(z), lowest first.

    Of 4,096 codes z ~ p(z), 64 at even ranks are decoded: on top those that lie in the holes of
    the aggregate posterior, where no image is ever encoded, at the bottom those that it favours.
    """
    sampler, noise = PriorCodes(posteriors.latent_dim, prior), stream(seed, "kl/pictures")
    codes = sampler.sample(_CANDIDATES, noise)
    log_q = MixtureDensity(posteriors.loc, posteriors.scale).log_prob(codes)
    order = np.argsort(log_q - log_prior(prior, codes), kind="stable")
    ranks = np.linspace(0, _CANDIDATES - 1, _SHOWN).round().astype(np.int64)
    return grid_png(model.decode(codes[order[ranks]].astype(np.float32)).numpy())


def importance_weights(
    model: Any, images: npt.NDArray[np.uint8] | None, prior: Prior | None = None, seed: int = 0
) -> Callable[[int, int, int], FloatArray]:
    """Returns log p(x|z) + log p(z) − log q(z|x) of images, a sample z at a time.

    `UserError` where the model has no p(x|z), or q(z|x) no density.
    """
    likelihood = getattr(model, "likelihood", None)
    if likelihood is None or images is None or not hasattr(model.posterior(images[:1]), "log_prob"):
        raise UserError("the log-likelihood needs a model with p(x|z) and q(z|x): a vae")
    posterior_of = functools.lru_cache(maxsize=1)(
        lambda start, stop: model.posterior(images[start:stop])
    )

    def log_weights(start: int, stop: int, k: int) -> FloatArray:
        codes, log_posterior = draw(posterior_of(start, stop), derive(seed, "kl/weights", start, k))
        pixels = (images[start:stop] / 255.0).astype(np.float32)
        noise = None
        if likelihood.needs_noise:
            # One dequantisation of an image, whatever k is: the bound is on that point's density.
            rng = stream(seed, "kl/weights/dequantization", start)
            noise = rng.random(pixels.shape, np.float32)
        parameters = model.sampler(codes.astype(np.float32), training=False)
        log_likelihood = likelihood.log_prob(parameters, pixels, noise).numpy()
        return log_likelihood + log_prior(prior, codes) - log_posterior

    return log_weights
