"""The installed package as a user meets it: import, help, a short run, an export that loads.

Run from a folder outside the clone, with the Python of an environment that has the wheel alone.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

RUN = Path("run")


def command(name: str, *flags: str) -> str:
    """Runs a console command of the environment and returns what it printed."""
    path = Path(sysconfig.get_path("scripts"), name)
    print("$", name, *flags, flush=True)
    return subprocess.run([path, *flags], check=True, stdout=subprocess.PIPE, text=True).stdout


def check(condition: bool, message: str) -> None:
    """Stops with the message unless the condition holds."""
    if not condition:
        sys.exit(f"smoke test: {message}")


def main() -> None:
    """Runs all checks."""
    import tfdm

    installed = Path(tfdm.__file__).is_relative_to(sysconfig.get_path("purelib"))
    check(installed, f"tfdm comes from {tfdm.__file__}, not from the environment")
    for name in ("models", "estimators", "eval"):
        check(importlib.util.find_spec(name) is None, f"the wheel installs a bare `{name}`")
        check(importlib.util.find_spec(f"tfdm.{name}") is not None, f"tfdm.{name} is missing")

    check("--model" in command("tfdm-train", "--help"), "tfdm-train --help names no --model")
    print(
        command(
            *("tfdm-train", "--model=vae", "--steps=20", "--config.width=0.125"),
            *("--log_every=10", f"--output_dir={RUN}"),
        )
    )
    summary = json.loads((RUN / "summary.json").read_text())
    check(summary["steps"] == 20, f"summary.json has {summary}")

    few = "--monte_carlo.num_samples=100"
    print(command("tfdm-estimate-kl", f"--run={RUN}", few))
    average = json.loads((RUN / "kl.json").read_text())["average_kl"]
    check(average > 0.0, f"kl.json has an average KL of {average}")

    few = ("--num_samples=64", "--metrics=inception_score,ms_ssim,frechet_distance")
    print(command("tfdm-evaluate", f"--run={RUN}", *few))
    metrics = json.loads((RUN / "evaluation.json").read_text())["metrics"]
    score = metrics["inception_score"]["mean"]
    check(1.0 <= score <= 10.0, f"evaluation.json has an inception score of {score}")
    for name in ("cifar10", "color_mnist"):
        load = f"from tfdm.eval import load_classifier; print(load_classifier({name!r}).digest)"
        subprocess.run([sys.executable, "-c", load], check=True)

    print(command("tfdm-export", f"--run={RUN}", "--format=saved_model"))
    import tensorflow as tf

    serve = tf.saved_model.load(str(RUN / "export" / "generator")).signatures["serving_default"]
    latent_dim = json.loads((RUN / "config.json").read_text())["latent_dim"]
    images = serve(z=tf.zeros([3, latent_dim]))["images"].numpy()
    check(images.shape == (3, 28, 28, 3), f"the generator answers with shape {images.shape}")
    check(0.0 <= images.min() and images.max() <= 1.0, "the images are not in [0, 1]")
    print("The wheel works outside the clone.")


if __name__ == "__main__":
    main()
