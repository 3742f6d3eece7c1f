"""`tfdm-estimate-kl`: where it writes, what it prints, and what it refuses in one line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tfdm.cli import estimate_kl
from tfdm.estimators import monte_carlo_kl

ONE = np.ones((1, 1))


def test_the_help_shows_where_results_go(capsys):
    assert estimate_kl.main(["--help"]) == 0
    assert "[default the run, or FILE.npz.kl]" in " ".join(capsys.readouterr().out.split())


def test_a_file_of_posteriors_is_enough(tmp_path, rng, capsys):
    loc, scale = rng.normal(size=(30, 2)), np.full((30, 2), 0.4)
    path = tmp_path / "mine.npz"
    held_out = {"held_out_loc": loc[:5], "held_out_scale": scale[:5]}
    # What is not used is not read.
    others = {"names": np.array(["a", "b"]), "objects": np.array([{}])}
    np.savez(path, loc=loc, scale=scale, **held_out, **others)  # type: ignore[arg-type]
    arguments = [f"--posterior={path}", "--estimators=monte_carlo,held_out", "--seed=4"]
    numbers = ["--monte_carlo.num_samples=3000", "--held_out.num_samples=100"]
    assert estimate_kl.main([*arguments, *numbers]) == 0
    folder = Path(f"{path}.kl")
    content = json.loads((folder / "kl.json").read_text())
    record = content["estimates"]["monte_carlo"]
    assert record["kl"] == monte_carlo_kl(loc, scale, 3000, 4, progress=False).kl
    assert (record["num_samples"], record["seed"], record["num_latents"]) == (3000, 4, 2)
    assert content["estimates"]["held_out"]["variant"] == "held_out"
    assert content["held_out"]["num_data"] == 5
    PIL.Image.open(io.BytesIO((folder / "kl.png").read_bytes())).verify()
    assert (folder / "kl.md").read_text() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --run=DIR and --posterior"),
        (["--run=a", "--posterior=b"], "give one of --run=DIR and --posterior"),
        (["--run=nowhere"], "nowhere"),
        (["--posterior=nowhere.npz"], "nowhere.npz does not exist"),
        (["--posterior=x", "--held_out.num_samples=3"], "add held_out to --estimators"),
        (["--posterior=x", "--monte_carlo.num_samples=1"], "at least 2"),
        (["--posterior=x", "--log_likelihood_samples=5"], "needs --run"),
        (["--posterior=x.npz", "--data_dir=d"], "data_dir has no effect"),
    ],
)
def test_bad_flags_end_in_one_line(arguments, message, error_line):
    assert estimate_kl.main(arguments) == 2
    assert message in error_line()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"loc": np.zeros((2, 3))}, "lacks scale"),
        ({"loc": np.zeros((2, 3)), "scale": np.zeros((2, 3))}, "scale[0, 0] is 0.0"),
        ({"loc": np.array([{}]), "scale": np.ones((1, 1))}, "cannot be read"),
        ({"loc": np.array([["a"]]), "scale": ONE}, "loc is of type <U1, expected"),
        ({"loc": 1j * ONE, "scale": ONE}, "loc is of type complex128, expected"),
        ({"loc": ONE, "scale": -3 * ONE}, "of a log-variance v the scale is exp(v / 2)"),
        ({"loc": ONE, "scale": ONE, "codes": ONE}, "codes beside loc or scale"),
        ({"loc": ONE, "scale": ONE, "held_out_loc": ONE}, "lacks held_out_scale"),
        ({"loc": ONE, "scale": ONE, "held_out_codes": ONE}, "lacks held_out_loc and held_out_"),
        ({"codes": ONE, "held_out_codes": np.ones((3, 2))}, "held-out posteriors of"),
        (
            {"loc": ONE, "scale": ONE, "held_out_loc": ONE, "held_out_scale": 0 * ONE},
            "the held-out posteriors of",
        ),
        (None, "cannot be read"),
    ],
)
def test_bad_files_end_in_one_line(arrays, message, tmp_path, error_line):
    path = tmp_path / "bad.npz"
    path.write_bytes(b"no zip")
    if arrays is not None:
        np.savez(path, **arrays)
    assert estimate_kl.main([f"--posterior={path}"]) == 2
    assert message in error_line()


@pytest.mark.parametrize("names", ["monte_carlo", "monte_carlo,gmm"])
def test_an_estimate_that_is_not_finite_has_a_row_and_an_exit_status(names, tmp_path, capsys):
    path = tmp_path / "large.npz"
    np.savez(path, loc=np.zeros((30, 2)), scale=np.full((30, 2), 1e20))
    numbers = ["--monte_carlo.num_samples=50"]
    if "gmm" in names:
        numbers += ["--gmm.steps=2", "--gmm.num_samples=50"]
    assert estimate_kl.main([f"--posterior={path}", f"--estimators={names}", *numbers]) == 2
    shown = capsys.readouterr()
    [line] = [line for line in shown.err.splitlines() if line.startswith("error")]
    assert "error: monte_carlo: the estimate is -inf, not a finite number" in line
    assert "RuntimeWarning" not in shown.err
    folder = Path(f"{path}.kl")
    record = json.loads((folder / "kl.json").read_text())["estimates"]["monte_carlo"]
    assert (record["kl"], record["failed"]) == (None, True)
    table = (folder / "kl.md").read_text()
    assert record["reason"] in " ".join(table.split())
    assert (table in shown.out) == ("gmm" in names)
