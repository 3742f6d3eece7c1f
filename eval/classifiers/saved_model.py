"""A classifier from a SavedModel folder that the user names: the ImageNet Inception network.

The protocol is TF-GAN's: images in [-1, 1], scaled to 299x299 by TensorFlow's bilinear resize
without antialiasing, outputs `logits` and `pool_3`. A SavedModel is a program: it is loaded
only when its digest is the one that was asked for, or when the user waives the check.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.errors import UserError
from tfdm.eval.checks import checked_images, in_batches

INCEPTION_URL = "https://tfhub.dev/tensorflow/tfgan/eval/inception/1"
INCEPTION_SIZE = 299
LOGITS = "logits"
FEATURES = "pool_3"

_SIGNATURES = ("serving_default", "default")
_GRAPHS = ("saved_model.pb", "saved_model.pbtxt")
_BATCH = 50
_LONGEST_REASON = 200
_WHERE_TO_GET_IT = f"get {INCEPTION_URL}, unpack it and name the folder with --inception_path"


class SavedModelClassifier:
    """A loaded classifier of images; made by `load_saved_model_classifier`.

    `verified` says whether `digest` was compared with one that the user gave; `num_features` is
    None without features.
    """

    name = "inception"

    def __init__(
        self,
        outputs: Callable[[tf.Tensor], Any],
        *,
        path: str,
        digest: str,
        verified: bool,
        input_size: int,
    ) -> None:
        self.digest, self.verified, self._path = digest, verified, path
        size = f"{input_size}x{input_size}"
        self.resizer = f"bilinear to {size}, not antialiased"

        def run(images: tf.Tensor) -> dict[str, tf.Tensor]:
            scaled = tf.image.resize(2.0 * images - 1.0, [input_size] * 2, "bilinear")
            return _named_outputs(outputs(scaled), path)

        # AutoGraph would only wrap the messages of errors.
        specification = tf.TensorSpec([None, None, None, 3], tf.float32)
        self._run = tf.function(run, input_signature=[specification], autograph=False)
        try:
            # Two, so that a network for single images is refused here.
            trial = self._run(tf.zeros([2, input_size, input_size, 3]))
        except UserError:
            raise
        except Exception as error:  # Whatever a foreign graph raises.
            raise UserError(
                f"the network in {path} cannot be run on images {size}x3: name a classifier that "
                f"takes them ({_reason(error)})"
            ) from error
        self.num_classes = int(trial[LOGITS].shape[1])
        self.num_features = int(trial[FEATURES].shape[1]) if FEATURES in trial else None

    def __call__(self, images: npt.ArrayLike) -> np.ndarray:
        """Returns the logits of images, float32 [n, K]; see `logits_and_features`."""
        return self._outputs(images, LOGITS)[0]

    def logits_and_features(self, images: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Returns logits and features, float32 [n, K] and [n, d].

        Images are uint8, or floating in [0, 1], [n, H, W, 1 or 3], else a `ValueError`. A network
        without features is a `UserError`.
        """
        if self.num_features is None:
            raise UserError(
                f"the network in {self._path} has no output {FEATURES}, which features need: "
                f"get one that has it from {INCEPTION_URL}"
            )
        logits, features = self._outputs(images, LOGITS, FEATURES)
        return logits, features

    def _outputs(self, images: npt.ArrayLike, *names: str) -> list[np.ndarray]:
        def network(batch: np.ndarray) -> list[np.ndarray]:
            outputs = self._run(tf.constant(batch))
            return [outputs[name].numpy() for name in names]

        return in_batches(network, checked_images(images), _BATCH)


def load_saved_model_classifier(
    path: str | os.PathLike[str],
    *,
    digest: str | None = None,
    allow_unverified: bool = False,
    input_size: int = INCEPTION_SIZE,
) -> SavedModelClassifier:
    """Loads a classifier from a SavedModel folder, after looking at the folder's digest.

    The network is the loaded object where that can be called, else its signature
    `serving_default` or `default`. It takes images [n, S, S, 3] in [-1, 1], S the `input_size`, and
    gives a mapping with `logits` and, for features, `pool_3`; axes behind the first are flattened.
    `digest` is what `saved_model_digest` must give; `allow_unverified` loads a folder without it.

    `UserError` where the folder is missing or no SavedModel, its digest is another or not given, or
    it holds no such classifier. Nothing is loaded before the digest was looked at.
    """
    found = saved_model_digest(path)
    if digest is not None and digest.strip().lower() != found:
        raise UserError(
            f"the digest of {path} is {found}, not {digest.strip()}: download the folder again "
            "from where the digest is from"
        )
    if digest is None and not allow_unverified:
        raise UserError(
            f"a SavedModel can run any code; if you trust {path}, whose digest is {found}, add "
            f"--inception_digest={found} or --allow_unverified"
        )
    path = os.fspath(path)
    try:
        loaded = tf.saved_model.load(path)
    except Exception as error:  # Protobuf, files, operations that are not there, ..
        raise UserError(
            f"cannot load the SavedModel {path}: get {INCEPTION_URL} again ({_reason(error)})"
        ) from error
    network, verified = _find_callable(loaded, path), digest is not None
    return SavedModelClassifier(
        network, path=path, digest=found, verified=verified, input_size=input_size
    )


def saved_model_digest(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 (hex) of all files of a SavedModel folder; loads nothing.

    It is the SHA-256 over the files, sorted by their relative names, of the name's length, the
    name, and the SHA-256 of the content. Links count as what they lead to; one that leads out of
    the folder is a `UserError`, as is a folder that is no SavedModel or cannot be read.
    """
    root = Path(path)
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise UserError(f"{root} {state}: {_WHERE_TO_GET_IT}")
    if not any((root / name).is_file() for name in _GRAPHS):
        raise UserError(f"{root} is not a SavedModel, it lacks {_GRAPHS[0]}: {_WHERE_TO_GET_IT}")
    sha256 = hashlib.sha256()
    try:
        found = _files(root, root, (root.resolve(),))
        files = {os.fsencode(file.relative_to(root).as_posix()): file for file in found}
        for name, path in sorted(files.items()):
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            sha256.update(len(name).to_bytes(8, "big") + name + content)
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename or root} ({error.strerror}): make the folder readable"
        ) from error
    return sha256.hexdigest()


def _files(root: Path, folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """All files below a folder of `root`, through links that stay inside; `above` are real."""
    for entry in sorted(folder.iterdir()):
        real = Path(os.path.realpath(entry))
        if not real.is_relative_to(above[0]):
            raise UserError(f"{entry} is a link that leads out of {root}: put a copy there")
        if real in above:
            raise UserError(f"{entry} is a link to a folder that it is in: remove it")
        if real.is_dir():
            yield from _files(root, entry, (*above, real))
        elif real.is_file():
            yield entry
        else:
            raise UserError(f"{entry} is neither a file nor a folder: remove it")


def _find_callable(loaded: Any, path: str) -> Callable[[tf.Tensor], Any]:
    """The function images -> outputs of a loaded SavedModel, kept alive with its variables."""
    if callable(loaded):
        return loaded
    signatures = dict(getattr(loaded, "signatures", {}))
    name = next((name for name in _SIGNATURES if name in signatures), None)
    if name is None:
        raise UserError(
            f"{path} cannot be called and has no signature {' or '.join(_SIGNATURES)}, only "
            f"{', '.join(sorted(signatures)) or 'none'}: get {INCEPTION_URL}"
        )
    inputs = sorted(signatures[name].structured_input_signature[1])
    if len(inputs) != 1:
        raise UserError(
            f"signature {name} of {path} has the inputs {', '.join(inputs) or '(none)'}: "
            "name a classifier with one, the images"
        )
    # A signature does not keep the variables alive, its owner does.
    return lambda images: loaded.signatures[name](**{inputs[0]: images})


def _named_outputs(outputs: Any, path: str) -> dict[str, tf.Tensor]:
    """Logits and, where they are there, features, each float32 [n, -1]."""
    if not isinstance(outputs, Mapping):
        raise UserError(
            f"the network in {path} gives no named outputs: name one with an output {LOGITS}"
        )
    if LOGITS not in outputs:
        known = ", ".join(sorted(map(str, outputs))) or "none"
        raise UserError(
            f"the network in {path} has no output {LOGITS}, only {known}: name one that has it"
        )
    found = {name: outputs[name] for name in (LOGITS, FEATURES) if name in outputs}
    return {
        name: tf.reshape(tf.cast(rows, tf.float32), [tf.shape(rows)[0], -1])
        for name, rows in found.items()
    }


def _reason(error: Exception) -> str:
    """What an exception says, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}.."
