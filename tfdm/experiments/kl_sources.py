"""What KL[q(z) ‖ p(z)] is estimated of: a trained run, a file, arrays, or any posterior.

Shapes: N training images, M held-out images, L latent dimensions.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdm.distributions.posteriors import Posterior
from tfdm.distributions.priors import Prior
from tfdm.distributions.vamp import VampPrior
from tfdm.errors import UserError
from tfdm.estimators.codes import FixedCodes, GaussianCodes
from tfdm.estimators.posteriors import (
    DataPosteriors,
    Posteriors,
    draw_codes,
    gaussian_parameters,
    make_posteriors,
)
from tfdm.estimators.priors import checked_prior
from tfdm.experiments.load import Run, load_run
from tfdm.experiments.options import EstimateKLConfig
from tfdm.progress import ProgressOption, progress_bar
from tfdm.seeds import derive

_logger = logging.getLogger("tfdm")

# Arrays of a file; others are not read.
_HELD_OUT = "held_out_"
_USED = [before + name for before in ("", _HELD_OUT) for name in ("loc", "scale", "codes")]


@dataclasses.dataclass(frozen=True)
class Source:
    """Where posteriors come from and what is known of them."""

    name: str  # in a title
    record: dict[str, Any]  # what `kl.json` says of it
    posteriors: Posteriors  # those whose mixture is q(z)
    held_out: Posteriors | None = None  # those of images that the model was not trained on
    prior: Prior | None = None  # p(z), `None` for N(0, I)
    run: Run | None = None

    @property
    def model(self) -> Any:
        """The model of a run, else `None`."""
        return None if self.run is None else self.run.model


KLInput = str | os.PathLike[str] | Run | Posterior | Source


def open_source(
    source: KLInput | None,
    config: EstimateKLConfig,
    arrays: dict[str, npt.ArrayLike | None],
    prior: Prior | None,
    progress: ProgressOption,
) -> Source:
    """Returns the posteriors of what a caller gave.

    Args:
      source: a run, its folder, an .npz file, a posterior, or what this function returned;
        `None` where there are arrays.
      config: where the data of a run are.
      arrays: `loc` and `scale`, or `codes`; `None` where there is a source.
      prior: p(z); by default that of the run's model, or N(0, I).
      progress: whether a bar is shown while images are encoded.

    Raises:
      UserError: a file or a run cannot be read, its model has no encoder, or a folder has no
        effect.
      ValueError: there is not one source, or an array is not as described.
    """
    path = Path(source) if isinstance(source, (str, os.PathLike)) else None
    is_file = path is not None and (path.suffix == ".npz" or path.is_file())
    for name in ("data_dir", "cache_dir"):
        if getattr(config, name) and (is_file or path is None):
            raise UserError(f"{name} has no effect without a run folder: drop it")
    given = {name: array for name, array in arrays.items() if array is not None}
    if (source is None) == (not given):
        raise ValueError("expected either a source, or loc and scale, or codes")
    if source is None:
        found = Source("posteriors", {"posterior": "arrays"}, _of_arrays(given))
    elif isinstance(source, Source):
        found = source
    elif isinstance(source, Run):
        found = _of_run(source, config.seed, progress)
    elif not isinstance(source, (str, os.PathLike)):
        found = _of_posterior(source, config.seed)
    elif is_file:
        found = _of_file(os.fspath(source))
    else:
        run = load_run(source, data_dir=config.data_dir, cache_dir=config.cache_dir)
        found = _of_run(run, config.seed, progress)
    prior = checked_prior(prior or found.prior, found.posteriors.latent_dim)
    return dataclasses.replace(found, prior=prior)


def _of_arrays(arrays: dict[str, Any]) -> GaussianCodes | FixedCodes:
    made: GaussianCodes | FixedCodes
    if arrays.keys() == {"codes"}:
        made = FixedCodes(**arrays)
    elif arrays.keys() == {"loc", "scale"}:
        made = GaussianCodes(**arrays)
    else:
        raise ValueError(f"{' and '.join(sorted(arrays))} given, expected loc and scale, or codes")
    if 1 < made.num_data < made.latent_dim:
        _logger.warning(
            "the arrays are of %d data points and %d latents: are they [L, N] instead of [N, L]?",
            made.num_data,
            made.latent_dim,
        )
    return made


def _of_file(path: str) -> Source:
    """Reads loc and scale, or codes, and where they stand the same with `held_out_` before it."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files if name in _USED}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: give an .npz file with loc and scale") from None
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile):
        raise UserError(
            f"{path} cannot be read: give an .npz file with number arrays loc and scale, [N, L]"
        ) from None
    is_codes = "codes" in found
    known = ("codes",) if is_codes else ("loc", "scale")
    if is_codes and found.keys() & {"loc", "scale"}:
        raise UserError(f"{path} holds codes beside loc or scale: keep one of the two kinds")
    held_out_names = [f"{_HELD_OUT}{name}" for name in known]
    has_held_out = any(name.startswith(_HELD_OUT) for name in found)
    missing = [n for n in (*known, *(held_out_names if has_held_out else ())) if n not in found]
    if missing:
        raise UserError(
            f"{path} lacks {' and '.join(missing)}: give means and standard deviations, [N, L]"
        )
    try:
        posteriors = _of_arrays({name: found[name] for name in known})
    except ValueError as error:
        raise UserError(f"the posteriors of {path} cannot be used: {error}") from None
    held_out = None
    if has_held_out:
        arrays = zip(known, held_out_names, strict=True)
        try:
            held_out = _of_arrays({name: found[held] for name, held in arrays})
            if held_out.latent_dim != posteriors.latent_dim:
                dims = held_out.latent_dim, posteriors.latent_dim
                raise ValueError("they are of {} latents, the others of {}".format(*dims))
        except ValueError as error:
            raise UserError(f"the held-out posteriors of {path} cannot be used: {error}") from None
    return Source(Path(path).stem, {"posterior": path}, posteriors, held_out)


def _of_posterior(posterior: Posterior, seed: int) -> Source:
    """Takes an object by its capabilities."""
    if not hasattr(posterior, "sample"):
        given = type(posterior).__name__
        raise ValueError(f"source is a {given}, expected a run, a path or a posterior")
    name, gaussian = type(posterior).__name__, gaussian_parameters(posterior)
    posteriors: Posteriors
    if gaussian is not None:
        posteriors = GaussianCodes(*gaussian)
    elif hasattr(posterior, "log_prob"):
        posteriors = DataPosteriors.whole(posterior)
    else:
        codes = draw_codes(posterior, derive(seed, "kl/codes"))
        posteriors = FixedCodes(codes, draw_codes(posterior, 0))
    return Source(name, {"posterior": name}, posteriors)


def _of_run(run: Run, seed: int, progress: ProgressOption) -> Source:
    """Encodes the training and validation images of a trained run."""
    model = run.model
    if not model.has_encoder:
        what = f"{run.folder.path} holds a {run.config.model}"
        raise UserError(f"{what}, which has no encoder: choose a run of a model with one")
    train, validation = run.dataset.split("train"), run.dataset.split("validation")
    with progress_bar("encoding", "image", progress) as report:

        def encode(split: str, images: Any, before: int) -> Posteriors:
            return make_posteriors(
                lambda rows: model.posterior(images[rows]),
                len(images),
                lambda done: report(before + done, len(train) + len(validation)),
                derive(seed, f"kl/codes/{split}"),
            )

        posteriors = encode("train", train, 0)
        held_out = encode("validation", validation, len(train))
    return Source(
        name=run.title,
        record=run.record,
        posteriors=posteriors,
        held_out=held_out,
        # A VampPrior would pass its images through the encoder at every density.
        prior=model.prior.current() if isinstance(model.prior, VampPrior) else model.prior,
        run=run,
    )
