"""`evaluate` repeated in a folder: what is kept, measured anew or refused; and side by side."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tests.tiny_evaluation import DATA, TINY, content, measure, stub_run
from tfdm.errors import UserError
from tfdm.experiments.compare import compare

# --- What is kept -----------------------------------------------------------------------------


def test_records_of_equal_samples_are_kept(images, file, tmp_path, caplog):
    caplog.set_level("INFO", logger="tfdm")
    options = {**DATA, "output_dir": str(tmp_path / "out")}
    first = measure(file, "ms_ssim", **{**options, "classifier": None})["ms_ssim"]
    found = measure(file, "inception_score", **options)
    assert list(found.metrics) == ["ms_ssim", "inception_score"]
    assert found["ms_ssim"] == first
    # Other fields are another measurement. Images that were moved are the same images.
    moved = file.rename(tmp_path / "mine too.npz")
    three = {"inception_score": {"num_splits": 3}}
    found = measure(moved, "ms_ssim", "inception_score", fields=three, **options)
    assert found["ms_ssim"] == first
    assert found["inception_score"].num_splits == 3
    path = tmp_path / "out" / "evaluation.json"
    assert caplog.messages == [f"{path} holds ms_ssim already: not measured again"]


def test_a_record_of_an_older_format_is_measured_again(images, tmp_path):
    options = {"dataset": TINY, "output_dir": str(tmp_path)}
    found = measure(images, "ms_ssim", **options)
    for changes, kept in (({}, True), ({"format": 2}, False)):
        record = {**found["ms_ssim"], **changes, "diversity": -1.0}
        written = {**found.to_dict(), "metrics": {"ms_ssim": record}}
        (tmp_path / "evaluation.json").write_text(json.dumps(written))
        again = measure(images, "ms_ssim", **options)["ms_ssim"].diversity
        assert again == (-1.0 if kept else found["ms_ssim"].diversity)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_samples": 10}, "num_samples: 20 -> 10"),
        ({"seed": 3}, "seed: 0 -> 3"),
        ({"noise": 0.1}, "noise_scale: absent -> 0.1"),
        ({"samples": np.zeros([20, 28, 28, 1], np.uint8)}, "their pixels differ"),
    ],
)
def test_other_samples_are_not_mixed_in(images, tmp_path, change, words):
    options = {"samples": images, "dataset": TINY, "output_dir": str(tmp_path)}
    samples = options.pop("samples")
    measure(samples, "ms_ssim", **options)
    before = (tmp_path / "evaluation.json").read_bytes()
    samples = change.pop("samples", samples)
    with pytest.raises(UserError, match="is about other samples") as raised:
        measure(samples, "ms_ssim", **options, **change)
    assert words in str(raised.value)
    assert (tmp_path / "evaluation.json").read_bytes() == before


def test_a_damaged_evaluation_is_not_overwritten(images, tmp_path):
    options = {"dataset": TINY, "output_dir": str(tmp_path / "out")}
    (tmp_path / "out").mkdir()
    for text in ("{", "[]", "{}"):
        (tmp_path / "out" / "evaluation.json").write_text(text)
        for call in (
            lambda: measure(images, "ms_ssim", **options),
            lambda: compare([tmp_path / "out"]),
        ):
            with pytest.raises(UserError, match="is damaged"):
                call()
    shutil.rmtree(tmp_path / "out")
    measure(images, "ms_ssim", **options)


# --- Side by side -----------------------------------------------------------------------------


def test_evaluations_are_compared_on_a_page(tmp_path):
    run, real, page = (tmp_path / name for name in ("run", "real", "page"))
    of_run = {"num_samples": 30, "output_dir": str(run), "classifier": "color_mnist"}
    measure(stub_run(run, TINY), "frechet_distance", **of_run)
    measure("test", "frechet_distance", output_dir=str(real), **DATA)
    comparison = compare([run, real], page)
    table = comparison.table()
    assert (page / "evaluations.md").read_text() == table
    assert [line.split(" |")[0] for line in table.splitlines()[2:4]] == ["| dcgan", "| tiny, test"]
    assert (page / "evaluations.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads((page / "evaluations.json").read_text())
    assert rows["dcgan"]["metrics"] == content(run)["metrics"]
    # A page is of one version of the data.
    for change in ({"dataset_digest": "f" * 64}, {"image_shape": [14, 14, 3]}):
        (real / "evaluation.json").write_text(json.dumps({**content(run), **change}))
        with pytest.raises(UserError, match="2 versions of tiny"):
            compare([run, real])
    with pytest.raises(UserError, match=r"nowhere holds no evaluation\.json"):
        compare([tmp_path / "nowhere"])
