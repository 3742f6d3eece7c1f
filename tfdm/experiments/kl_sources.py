"""What KL[q(z) ‖ p(z)] is estimated of: a trained run, a file, arrays, or any posterior.

Shapes: N training images, M held-out images, L latent dimensions.
"""

from __future__ import annotations

import dataclasses
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
from tfdm.experiments.estimate_kl_config import EstimateKLConfig
from tfdm.experiments.load import Run, load_run
from tfdm.progress import ProgressOption, progress_bar
from tfdm.seeds import derive


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
            raise UserError(f"{name} has no effect but with a run's folder: drop it")
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
    if arrays.keys() == {"codes"}:
        return FixedCodes(**arrays)
    if arrays.keys() != {"loc", "scale"}:
        raise ValueError(f"{' and '.join(sorted(arrays))} given, expected loc and scale, or codes")
    return GaussianCodes(**arrays)


def _of_file(path: str) -> Source:
    """Reads loc and scale, or codes, and where they stand the same with `held_out_` before it."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: np.asarray(arrays[name], np.float64) for name in arrays.files}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: give an .npz file with loc and scale") from None
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile):
        raise UserError(
            f"{path} cannot be read: give an .npz file with number arrays loc and scale, [N, L]"
        ) from None
    known = ("codes",) if "codes" in found else ("loc", "scale")
    missing = [name for name in known if name not in found]
    if missing:
        raise UserError(
            f"{path} lacks {' and '.join(missing)}: give means and standard deviations, [N, L]"
        )
    others = {name: found[f"held_out_{name}"] for name in known if f"held_out_{name}" in found}
    try:
        posteriors = _of_arrays({name: found[name] for name in known})
        held_out = _of_arrays(others) if len(others) == len(known) else None
    except ValueError as error:
        raise UserError(f"the posteriors of {path} cannot be used: {error}") from None
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
    model, config, path = run.model, run.config, str(run.folder.path)
    if not model.has_encoder:
        raise UserError(f"{path} holds a {config.model}, which has no encoder: nothing to match")
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
        name=f"{config.model}, {config.dataset}, {run.step:,} steps",
        record={
            "run": path,
            "model": config.model,
            "dataset": config.dataset,
            "steps": run.step,
            "run_seed": config.seed,
        },
        posteriors=posteriors,
        held_out=held_out,
        # A VampPrior would pass its images through the encoder at every density.
        prior=model.prior.current() if isinstance(model.prior, VampPrior) else model.prior,
        run=run,
    )
