"""The command that generates images: what it writes, and that it says what it replaces."""

from __future__ import annotations

import types
from pathlib import Path

import numpy as np
import pytest

from tfdm.cli import sample


def test_samples_of_before_are_replaced_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def generate(noise: np.ndarray) -> np.ndarray:
        return np.broadcast_to(noise[:, :1, None, None], [len(noise), 8, 8, 3]) / 4

    model = types.SimpleNamespace(latent_dim=2, image_shape=(8, 8, 3), generate=generate)
    run = types.SimpleNamespace(model=model)
    monkeypatch.setattr("tfdm.experiments.sample.load_run", lambda path: run)
    arguments = [f"--run={tmp_path}", "--num=4", "--seed=3"]
    names = ["samples.png", "samples.npz", "interpolations.png"]
    for message in ("", f"replacing {', '.join(names)} in {tmp_path}/generated\n"):
        assert sample.main(arguments) == 0
        shown = capsys.readouterr()
        assert shown.out.splitlines() == [f"{tmp_path}/generated/{name}" for name in names]
        assert shown.err == message
    arrays = np.load(tmp_path / "generated" / "samples.npz")
    images = np.rint(np.clip(generate(arrays["noise"]), 0.0, 1.0) * 255.0)
    np.testing.assert_array_equal(arrays["images"], images)
