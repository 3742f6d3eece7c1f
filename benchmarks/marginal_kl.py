"""Microseconds a sample of the Monte Carlo estimate of KL[q(z) ‖ p(z)], beside its floor.

    python benchmarks/marginal_kl.py [--posterior=FILE.npz] [--samples=32768] [--output=FILE]

The floor is the time of the matrix product alone plus that of the exponentials alone, for the same
counts; the baseline is the broadcast log-density of `tfd.MixtureSameFamily`, traced, for several
numbers of codes at once. All are measured in turns in one process, the best of several turns
counts, so that ratios hold on a machine whose speed wanders. The cost for more samples and for more
data points stands below. Without a file of posteriors (`loc`, `scale`, [N, L]) they are drawn:
means N(0, 1), log-normal scales.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import resource
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfdm.estimators import monte_carlo_kl

TURNS = 4
# Sizes of the floor's blocks, components; the fastest counts.
FLOOR_BLOCKS = (512, 1024, 4000)
FLOOR_POINTS = 1024
BROADCAST_SAMPLES = (1, 4, 16, 64)


def posteriors(num_data: int, latent_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns drawn means and scales [N, L], with scales as a VAE's: a third of them small."""
    rng = np.random.default_rng(0)
    loc = rng.normal(size=(num_data, latent_dim))
    typical = np.where(np.arange(latent_dim) % 3 == 0, 0.2, 0.9)
    return loc, typical * np.exp(rng.normal(0.0, 0.2, size=loc.shape))


def floor(latent_dim: int, block: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Returns a product and an exponential of one block, each as a traced function."""
    features = tf.random.stateless_normal([FLOOR_POINTS, 2 * latent_dim + 1], [0, 1])
    natural = tf.random.stateless_normal([2 * latent_dim + 1, block], [0, 2])
    logits = tf.random.stateless_normal([FLOOR_POINTS, block], [0, 3])
    product = tf.function(lambda: tf.matmul(features, natural), autograph=False)
    exponential = tf.function(lambda: tf.exp(logits), autograph=False)
    return product, exponential


def broadcast(loc: np.ndarray, scale: np.ndarray, samples: int) -> Callable[[], Any]:
    """Returns the baseline: log q(z) of some codes by a broadcast mixture in float32."""
    mixture = tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.zeros([len(loc)])),
        tfd.MultivariateNormalDiag(loc.astype(np.float32), scale.astype(np.float32)),
    )
    codes = tf.constant(loc[:samples], tf.float32)
    return tf.function(lambda: mixture.log_prob(codes), autograph=False)


estimate = functools.partial(monte_carlo_kl, progress=False)


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posterior", help=".npz with loc and scale, [N, L]")
    parser.add_argument("--num_data", type=int, default=60_000)
    parser.add_argument("--latent_dim", type=int, default=50)
    parser.add_argument("--samples", type=int, default=32_768)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.posterior:
        with np.load(options.posterior, allow_pickle=False) as arrays:
            loc, scale = arrays["loc"].astype(np.float64), arrays["scale"].astype(np.float64)
    else:
        loc, scale = posteriors(options.num_data, options.latent_dim)
    (num_data, latent_dim), samples = loc.shape, options.samples

    few, narrow = samples // 4, scale * 0.03  # what float32 cannot resolve: the exact route
    runs: dict[str, tuple[Callable[[], Any], float]] = {
        # What is called, and how many samples against all data points one call stands for.
        "monte_carlo": (lambda: estimate(loc, scale, samples), samples),
        "leave_one_out": (lambda: estimate(loc, scale, few, leave_one_out=True), few),
        "small scales (float64)": (lambda: estimate(loc, narrow, few), few),
        **{f"broadcast {size}": (broadcast(loc, scale, size), size) for size in BROADCAST_SAMPLES},
    }
    for block in FLOOR_BLOCKS:
        product, exponential = floor(latent_dim, block)
        count = FLOOR_POINTS * block / num_data
        runs[f"product {block}"] = (lambda f=product: [f() for _ in range(20)], 20 * count)
        runs[f"exponential {block}"] = (lambda f=exponential: [f() for _ in range(20)], 20 * count)

    memory = {}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(TURNS + 1):
        for name, (run, count) in runs.items():
            elapsed = timeit.timeit(run, number=1)
            if turn:  # the first one traces
                times[name].append(1e6 * elapsed / count)
            memory.setdefault(name, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    best = {name: min(values) for name, values in times.items()}
    lowest = {
        kind: min(best[f"{kind} {block}"] for block in FLOOR_BLOCKS)
        for kind in ("product", "exponential")
    }
    bottom = sum(lowest.values())
    shown = [name for name in runs if not name.startswith(("product", "exponential"))]
    baseline = min(best[f"broadcast {size}"] for size in BROADCAST_SAMPLES)

    result: dict[str, Any] = {
        "num_data": num_data,
        "num_latents": latent_dim,
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "tensorflow": tf.__version__,
        "microseconds_a_sample": {
            **{name: best[name] for name in shown},
            "floor": {**lowest, "sum": bottom},
        },
        "monte_carlo_over_floor": best["monte_carlo"] / bottom,
        "broadcast_over_monte_carlo": baseline / best["monte_carlo"],
        "peak_gib_after_monte_carlo": memory["monte_carlo"],
        "scaling": [],
    }
    print(f"{num_data} posteriors of {latent_dim} latents; microseconds a sample, best of {TURNS}")
    for name in shown:
        print(f"  {name:26}{best[name]:10.1f}{best[name] / bottom:10.2f} x floor")
    print(f"  {'floor':26}{bottom:10.1f} = product {lowest['product']:.1f} + exp", end=" ")
    print(f"{lowest['exponential']:.1f}")
    print(f"  broadcast / monte_carlo   {result['broadcast_over_monte_carlo']:10.1f}")
    print(f"  peak memory after monte_carlo {memory['monte_carlo']:.2f} GiB")

    # Alternating sizes; the fixed cost is seen as a deviation from proportion.
    for n, s in [(num_data, few), (num_data, samples // 2), (num_data, samples),
                 (num_data // 4, samples), (num_data // 2, samples)]:  # fmt: skip
        elapsed = min(
            timeit.repeat(lambda n=n, s=s: estimate(loc[:n], scale[:n], s), number=1, repeat=2)
        )
        nanoseconds = 1e9 * elapsed / n / s
        result["scaling"].append(
            {"num_data": n, "samples": s, "seconds": elapsed, "nanoseconds_a_pair": nanoseconds}
        )
        print(f"  N {n:6}  S {s:6}  {elapsed:7.2f} s  {nanoseconds:6.3f} ns a pair")
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
