"""Seconds of the measures of samples: score, Fréchet distance and diversity of 50,000 images.

    python benchmarks/evaluation.py [--classifier=cifar10] [--samples=50000] [--output=FILE]

Images are drawn at random, since no measure's time depends on what they show. The features of the
classifier are timed apart from the statistics, and set against a matrix product that is timed just
before and just after them in the same process, so that the share holds on a machine whose speed
wanders. Operations of the network are counted from its convolutions; taps that meet padding count.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from tfdm.eval import (
    FeatureMoments,
    frechet_distance,
    inception_score_from_logits,
    kernel_distance,
    load_classifier,
    ms_ssim_diversity,
    precision_recall,
)
from tfdm.eval.classifiers.network import image_classifier

MATRIX = 4096
BLOCK = 500
PAIRED = 10_000


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Returns how long one call takes, and what it returns."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def operations(network: keras.Model, side: int) -> int:
    """Returns the floating point operations of one image, two for a multiplication and its sum."""
    total = 0
    shape = (1, side, side, 3)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.MaxPooling2D):
            shape = layer.compute_output_shape(shape)
        if isinstance(layer, keras.layers.Conv2D):
            total += 2 * int(np.prod(shape[1:])) * int(np.prod(layer.kernel.shape[:-1]))
    return total


def measure(name: str, number: int) -> dict[str, Any]:
    """Measures everything once, the floor before and after."""
    classifier = load_classifier(name)
    side = classifier.card["image_shape"][0]
    recipe = classifier.card["recipe"]
    network = image_classifier([recipe[f"width{index}"] for index in (1, 2, 3)])
    matrix = tf.random.stateless_normal([MATRIX, MATRIX], [0, 1])
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)), autograph=False)
    product()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, [number, side, side, 3], dtype=np.uint8)
    classifier.logits_and_features(images[:BLOCK])

    products = [seconds(lambda: product().numpy())[0] for _ in range(3)]
    times: dict[str, float] = {}
    times["features"], (logits, features) = seconds(lambda: classifier.logits_and_features(images))
    products += [seconds(lambda: product().numpy())[0] for _ in range(3)]
    moments = FeatureMoments.of(features[: number // 2])
    times["inception_score"], _ = seconds(lambda: inception_score_from_logits(logits))
    times["frechet_distance"], _ = seconds(lambda: frechet_distance(features, moments))
    times["ms_ssim"], _ = seconds(lambda: ms_ssim_diversity(images))
    total = sum(times.values())
    half = min(PAIRED, number // 2)
    real, generated = features[:half], features[-half:]
    times["kernel_distance"], _ = seconds(lambda: kernel_distance(real, generated))
    times["precision_recall"], _ = seconds(lambda: precision_recall(real, generated))
    peak = 2 * MATRIX**3 / min(products)
    rate = operations(network, side) * number / times["features"]
    return {
        "classifier": name,
        "samples": number,
        "image": [side, side, 3],
        "seconds": {key: round(value, 2) for key, value in times.items()},
        "seconds_score_frechet_diversity": round(total, 1),
        "pairs_precision_recall_and_kernel": half,
        "operations_per_image": operations(network, side),
        "gflops_features": round(rate / 1e9, 1),
        "gflops_matrix_product": round(peak / 1e9, 1),
        "share_of_peak": round(rate / peak, 3),
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def main() -> None:
    """Measures, prints, and writes where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classifier", default="cifar10")
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    record = measure(arguments.classifier, arguments.samples)
    record |= {
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.processor() or platform.machine(),
        "tensorflow": tf.__version__,
    }
    text = json.dumps(record, indent=2)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
