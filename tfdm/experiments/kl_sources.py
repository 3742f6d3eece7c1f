"""What `tfdm-estimate-kl` works on: the posteriors of a trained run, or those of a file.

Shapes: N training images, M held-out images, L latent dimensions.
"""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfdm.errors import UserError

if TYPE_CHECKING:
    from tfdm.experiments.load import Run

FloatArray = npt.NDArray[np.float64]

_BATCH = 500


@dataclasses.dataclass(frozen=True)
class Posteriors:
    """q(z|x) of some images: diagonal Gaussians, or codes where there is no density.

    Attributes:
      loc: means [N, L], or one code for each image.
      scale: standard deviations [N, L], or `None` where there is no density.
    """

    loc: FloatArray
    scale: FloatArray | None


@dataclasses.dataclass(frozen=True)
class Source:
    """Where posteriors come from and what is known of them.

    Attributes:
      name: how to call it in a title.
      record: what `kl.json` says of it.
      train: the posteriors whose mixture is q(z).
      held_out: those of images that the model was not trained on, where there are any.
      run: the trained run, or `None` for a file.
      held_out_images: uint8 [M, H, W, C], or `None` for a file.
    """

    name: str
    record: dict[str, Any]
    train: Posteriors
    held_out: Posteriors | None
    run: Run | None = None
    held_out_images: npt.NDArray[np.uint8] | None = None


def read_posterior_file(path: str) -> Source:
    """Reads `loc` and `scale`, and where they stand `held_out_loc` and `held_out_scale`.

    Raises:
      UserError: the file cannot be read or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: np.asarray(arrays[name], np.float64) for name in arrays.files}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: give an .npz file with loc and scale") from None
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile):
        raise UserError(
            f"{path} cannot be read: give an .npz file with number arrays loc and scale, [N, L]"
        ) from None
    missing = [name for name in ("loc", "scale") if name not in found]
    if missing:
        raise UserError(
            f"{path} lacks {' and '.join(missing)}: give means and standard deviations, [N, L]"
        )
    held_out = None
    if "held_out_loc" in found and "held_out_scale" in found:
        held_out = Posteriors(found["held_out_loc"], found["held_out_scale"])
    train = Posteriors(found["loc"], found["scale"])
    return Source(Path(path).stem, {"posterior": path}, train, held_out)


def read_run(
    path: str,
    data_dir: str | None,
    cache_dir: str | None,
    progress: Callable[[int, int], None] | None = None,
) -> Source:
    """Loads a trained run and encodes its training and validation images.

    Raises:
      UserError: the folder is no trained run, its model does not infer, or its data are not there
        or others than it was trained on.
    """
    from tfdm.datasets import load_dataset
    from tfdm.experiments.load import load_run

    run = load_run(path)
    if not run.model.has_encoder:
        raise UserError(
            f"{path} holds a {run.config.model}, which has no encoder: nothing to match"
        )
    dataset = load_dataset(
        run.config.dataset,
        data_dir=data_dir,
        cache_dir=cache_dir,
        image_size=run.config.image_size,
        crop=run.config.crop,
    )
    recorded = run.recorded.get("dataset_digest")
    if recorded is not None and recorded != dataset.digest:
        raise UserError(
            f"{run.config.dataset} is not what {path} was trained on: its digest differs"
        )
    train, validation = dataset.split("train"), dataset.split("validation")
    total = len(train) + len(validation)
    record = {
        "run": path,
        "model": run.config.model,
        "dataset": run.config.dataset,
        "steps": run.step,
        "run_seed": run.config.seed,
    }
    return Source(
        name=f"{run.config.model}, {run.config.dataset}, {run.step:,} steps",
        record=record,
        train=_encode(run, train, lambda done: progress and progress(done, total)),
        held_out=_encode(
            run, validation, lambda done: progress and progress(len(train) + done, total)
        ),
        run=run,
        held_out_images=validation[:],
    )


def _encode(run: Run, images: Any, progress: Callable[[int], Any]) -> Posteriors:
    model = run.model
    loc, scale = [], []
    for index, start in enumerate(range(0, len(images), _BATCH)):
        batch = images[start : start + _BATCH]
        posterior = model.posterior(batch)
        if hasattr(posterior, "loc"):
            loc.append(posterior.loc.numpy())
            scale.append(posterior.scale.numpy())
        else:
            loc.append(posterior.sample(seed=index).numpy())
        progress(start + len(batch))
    return Posteriors(
        np.concatenate(loc).astype(np.float64),
        np.concatenate(scale).astype(np.float64) if scale else None,
    )
