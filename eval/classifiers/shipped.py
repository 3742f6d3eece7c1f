"""The classifiers that come with the package: networks, weights and model cards.

`eval/weights/NAME.npz` holds plain arrays (nothing in it can run code), `NAME.json` its card with
the SHA-256 of that file: data, recipe, error and temperature.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.errors import UserError, did_you_mean
from tfdm.eval.checks import checked_images, in_batches
from tfdm.eval.classifiers.network import image_classifier
from tfdm.eval.sources import resized, resized_words

FOLDER = Path(__file__).resolve().parents[1] / "weights"
NAMES = ("cifar10", "color_mnist")
_BATCH = 500


class ImageClassifier:
    """A trained classifier: images -> logits and features.

    `digest` is a SHA-256 (hex) of its weights; softmax(logits / `temperature`) is calibrated on the
    validation images; `feature_scale` is the root mean square of the last layer's inputs over the
    official test images.
    """

    resizer: str | None = None  # How it scales images; None: it refuses those of another size.

    def __init__(
        self, name: str, network: keras.Model, digest: str, card: Mapping[str, Any]
    ) -> None:
        self.name, self.digest, self.card = name, digest, dict(card)
        self.temperature, self.feature_scale = (
            float(card[field]) for field in ("temperature", "feature_scale")
        )
        self._network = network
        self.image_side = side = int(card["image_shape"][0])
        self.num_classes, self.num_features = (int(output.shape[-1]) for output in network.outputs)
        self._call = tf.function(
            lambda images: network(images, training=False),
            input_signature=[tf.TensorSpec([None, side, side, 3], tf.float32)],
            autograph=False,
        )

    def __call__(self, images: npt.ArrayLike) -> np.ndarray:
        """Returns logits, float32 [n, K]; see `logits_and_features`."""
        return self.logits_and_features(images)[0]

    def logits_and_features(self, images: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Returns logits, float32 [n, K], and features, float32 [n, d].

        Images are uint8 [n, H, W, C], or floating in [0, 1], of the size of the training images,
        else a `ValueError`; one channel stands for three equal ones. Features are what the last
        layer weighs, in units of `feature_scale`: under two classifiers they then have one scale.
        """
        images, side = checked_images(images), self.image_side
        if self.resizer is not None:
            images = resized(images, side, side)
        if images.shape[1:3] != (side, side):
            raise ValueError(
                f"images are {images.shape[1]}x{images.shape[2]}, the classifier {self.name!r} "
                f"expects {side}x{side}"
            )
        logits, features = in_batches(self._call, images, _BATCH)
        return logits, features / np.float32(self.feature_scale)

    def resizing(self) -> ImageClassifier:
        """Returns the same classifier for uint8 images of any size."""
        other = copy.copy(self)
        other.resizer = resized_words(self.image_side, self.image_side)
        return other


def load_classifier(
    name: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None
) -> ImageClassifier:
    """Returns a classifier that comes with the package, or one trained anew.

    `name` is "cifar10" (32x32 objects), "color_mnist" (28x28 digits, grey or coloured), or a folder
    of `tfdm-train-classifier`; with a `folder`, the files of that name in it. An unknown name, or
    files that are missing, damaged or others than their card says, are a `UserError`.
    """
    if folder is not None:
        return _load(os.fspath(name), Path(folder))
    path = Path(name).expanduser()
    if name in NAMES:
        if path.is_dir():
            raise UserError(f"{name} is a classifier and a folder: write ./{name} for the folder")
        return _packaged(os.fspath(name))
    if not path.is_dir():
        raise UserError(f"unknown classifier {name!r}: {did_you_mean(str(name), NAMES)}")
    names = [card.stem for card in path.glob("*.json") if card.with_suffix(".npz").exists()]
    if len(names) != 1:
        raise UserError(f"{path} holds {len(names)} classifiers, expected one: {_advice(path)}")
    return _load(names[0], path)


@functools.cache
def _packaged(name: str) -> ImageClassifier:
    return _load(name, FOLDER)


def _load(name: str, folder: Path) -> ImageClassifier:
    weights, card_path = folder / f"{name}.npz", folder / f"{name}.json"
    try:
        content = weights.read_bytes()
        card = json.loads(card_path.read_text(encoding="utf-8"))
        scales = [float(card[field]) for field in ("temperature", "feature_scale")]
        if min(int(card["image_shape"][0]), *_widths(card), *scales) <= 0:
            raise ValueError(f"{card_path} holds a size or a scale that is not positive")
        expected, digest = card["sha256"], hashlib.sha256(content).hexdigest()
        if digest != expected:
            raise UserError(
                f"the weights {weights} are not those of their card (SHA-256 {digest[:16]}.., "
                f"expected {str(expected)[:16]}..): {_advice(folder)}"
            )
        return classifier_from(name, content, card)
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"classifier {name!r} cannot be read ({error}): {_advice(folder)}"
        ) from None


def classifier_from(name: str, content: bytes, card: Mapping[str, Any]) -> ImageClassifier:
    """Returns the classifier that a weights file and its card are of.

    The content is what `weights_bytes` made; the card has at least `recipe` with the widths,
    `image_shape`, `temperature` and `feature_scale`. Arrays of another network are a `UserError`;
    damaged content is a `ValueError`, `EOFError` or `zipfile.BadZipFile`.
    """
    network = image_classifier(_widths(card))
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        set_weights(network, dict(archive))
    return ImageClassifier(name, network, hashlib.sha256(content).hexdigest(), card)


def _widths(card: Mapping[str, Any]) -> list[int]:
    return [int(card["recipe"][f"width{index}"]) for index in (1, 2, 3)]


def _advice(folder: Path) -> str:
    others = "name a folder that tfdm-train-classifier finished"
    return "install tfdm again" if folder == FOLDER else others


def weights_bytes(network: keras.Model) -> bytes:
    """Returns the weights of a classifier as an `.npz` file; kernels in half precision."""
    buffer = io.BytesIO()
    variables = _variables(network).items()
    np.savez(buffer, **{name: v.numpy().astype(_stored_type(name)) for name, v in variables})
    return buffer.getvalue()


def set_weights(network: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Puts the arrays of `weights_bytes` into a network; others are a `UserError`."""
    variables = _variables(network)
    if set(arrays) != set(variables):
        raise UserError(f"weights have arrays {sorted(arrays)}, expected {sorted(variables)}")
    for name, variable in variables.items():
        found, expected = arrays[name].shape, tuple(variable.shape)
        if found != expected:
            raise UserError(f"{name} has shape {found}, expected {expected}")
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"{name} holds a value that is not finite, expected trained weights")
    for name, variable in variables.items():
        variable.assign(arrays[name].astype(np.float32))


def _variables(network: keras.Model) -> dict[str, Any]:
    """The variables by `layer/variable`, in the order of the network."""
    return {f"{layer.name}/{v.name}": v for layer in network.layers for v in layer.weights}


def _stored_type(name: str) -> type[np.floating]:
    # Whitening and moments have a wide range and are small.
    is_kernel = name.endswith("/kernel") and not name.startswith("whitening/")
    return np.float16 if is_kernel else np.float32
