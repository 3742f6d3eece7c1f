"""Prepared data sets on disk: one folder of memory-mapped `.npy` files for each key.

  <cache folder>/color_mnist_5k-<16 hex digits of the key's SHA-256>/
      train.npy validation.npy test.npy   uint8 [N, H, W, C]
      meta.json                           key, shapes, digests

A folder appears by a rename when all of it is written, so what exists is whole; what was damaged
afterwards is found by its digest and prepared again. A lock file per folder makes a second
process wait for the first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from tfdm.datasets.dataset import SPLITS, ImageDataset, Source, SplitStream
from tfdm.datasets.digest import block_digests, blocks_to_check, dataset_digest
from tfdm.errors import UserError
from tfdm.runs.atomic import atomic_directory
from tfdm.runs.results import locked, writing

_logger = logging.getLogger("tfdm")

_FORMAT = 1
_META = "meta.json"
_LOCK = ".lock"
_ADVICE = "choose another cache folder with --cache_dir or TFDM_CACHE_DIR"
_REPORT_SECONDS = 15.0


class _DamagedError(UserError):
    """A prepared folder is absent, or not what its meta.json says."""


def default_cache_dir() -> Path:
    """Returns $TFDM_CACHE_DIR, else $XDG_CACHE_HOME/tfdm, else ~/.cache/tfdm."""
    if os.environ.get("TFDM_CACHE_DIR"):
        return Path(os.environ["TFDM_CACHE_DIR"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfdm"


def prepared(source: Source, cache_dir: Path) -> ImageDataset:
    """Opens the prepared copy of a source, after making it when there is none or a damaged one.

    Its splits are memory-mapped and read-only, its pixels checked by their digest. `UserError` says
    that the source cannot be read or the cache folder cannot be written.
    """
    digest = hashlib.sha256(json.dumps(_key(source), sort_keys=True).encode()).hexdigest()
    folder = cache_dir / f"{source.name}-{digest[:16]}"
    # Another process may be replacing a damaged one: look again under the lock.
    with contextlib.suppress(_DamagedError):
        return _open(folder, source)
    with locked(cache_dir, folder.name + _LOCK, wait=True, advice=_ADVICE):
        try:
            return _open(folder, source)
        except _DamagedError as error:
            if folder.exists():
                _logger.warning("%s: preparing again", error)
        _prepare(folder, source)
        return _open(folder, source)


def _key(source: Source) -> dict[str, Any]:
    key = {"format": _FORMAT, "name": source.name, "image_shape": source.image_shape}
    return json.loads(json.dumps(key | dict(source.key)))  # As meta.json gives it back: no tuples.


def _open(folder: Path, source: Source) -> ImageDataset:
    try:
        meta = json.loads((folder / _META).read_text())
        records = meta["splits"]
        if meta["key"] != _key(source):
            raise ValueError(f"{_META} describes something else")
        if list(records) != list(SPLITS) or dataset_digest(records) != meta["digest"]:
            raise ValueError(f"{_META} contradicts itself")
        arrays = {}
        for split, record in records.items():
            path = folder / f"{split}.npy"
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if array.dtype != np.uint8 or list(array.shape) != record["shape"]:
                raise ValueError(f"{path.name} has another shape than recorded")
            blocks = blocks_to_check(len(record["blocks"]))
            if block_digests(path, blocks) != [record["blocks"][b] for b in blocks]:
                raise ValueError(f"{path.name} does not match its digest")
            arrays[split] = array
    except PermissionError as error:
        raise UserError(f"cannot read the prepared copy {folder}: {error.strerror}") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise _DamagedError(f"the prepared copy {folder} is damaged ({error})") from error
    return ImageDataset(source.name, arrays, meta["digest"], meta["key"])


def _prepare(folder: Path, source: Source) -> None:
    """Writes the folder of a source; leaves nothing behind when that fails."""
    _logger.info("preparing %s in %s", source.name, folder)
    streams = source.open_splits()
    # Sources raise `UserError`, so that an `OSError` is one of writing.
    with writing(folder.parent, _ADVICE), atomic_directory(folder) as unfinished:
        records = {}
        for split in SPLITS:
            path = unfinished / f"{split}.npy"
            shape = (streams[split].size, *source.image_shape)
            _write_array(path, streams[split], shape, f"{source.name} {split}")
            records[split] = {"shape": list(shape), "blocks": block_digests(path)}
        meta = {"key": _key(source), "splits": records, "digest": dataset_digest(records)}
        (unfinished / _META).write_text(json.dumps(meta, indent=1))


def _write_array(path: Path, stream: SplitStream, shape: tuple[int, ...], title: str) -> None:
    """Writes a stream as a `.npy` file, chunk by chunk."""
    # Plain writes: on a full disk, storing through a memory map kills the process.
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    written, reported = 0, time.monotonic()
    with open(path, "wb") as file, contextlib.closing(stream.chunks()) as chunks:
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            if chunk.dtype != np.uint8 or chunk.shape[1:] != shape[1:]:
                raise UserError(
                    f"{title}: images are {chunk.dtype} {list(chunk.shape[1:])}, "
                    f"expected uint8 {list(shape[1:])}; the source is not the one named"
                )
            file.write(np.ascontiguousarray(chunk).data)
            written += len(chunk)
            if time.monotonic() - reported > _REPORT_SECONDS:
                reported = time.monotonic()
                _logger.info("%s: %d of %d images prepared", title, written, shape[0])
    if written != shape[0]:
        raise UserError(
            f"{title}: the source holds {written} images, expected {shape[0]}; "
            "it is incomplete: delete it and fetch it again"
        )
