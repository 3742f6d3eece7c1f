"""The artifacts as data, and the engine that makes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tfdm
from tfdm.errors import UserError
from tfdm.estimators.registry import ESTIMATORS
from tfdm.eval.metrics import METRICS
from tfdm.reproduction.artifacts import ARTIFACTS
from tfdm.reproduction.scales import SCALES
from tfdm.reproduction.work import Evaluation, Gaussians, KLEstimate, Training, Work, Workspace

WORKS: dict[str, Work] = {work.name: work for a in ARTIFACTS.values() for work in a.works}


def test_every_table_and_figure_of_the_paper_is_there() -> None:
    tables = [f"table{number}" for number in range(1, 5)]
    figures = [f"figure{number}" for number in range(1, 18)]
    assert list(ARTIFACTS) == [*tables, *figures]


def test_works_of_one_name_are_one_work() -> None:
    for artifact in ARTIFACTS.values():
        for work in artifact.works:
            assert work == WORKS[work.name]


@pytest.mark.parametrize("scale", SCALES)
def test_every_work_is_admissible_at_every_scale(scale: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, SCALES[scale])
    for work in WORKS.values():
        assert all(needed.name in WORKS for needed in work.needs)
        assert not (work.result(workspace) or {}).get("steps")  # Nothing is done yet.
        if isinstance(work, Training):
            assert work.config(workspace).steps > 0
        elif isinstance(work, KLEstimate):
            fields = {**SCALES[scale].estimators[work.estimator], **dict(work.options)}
            ESTIMATORS[work.estimator].config.of(fields)
        elif isinstance(work, Evaluation):
            METRICS[work.metric].config.of(SCALES[scale].metrics.get(work.metric))


def test_the_papers_values_stand_beside_ours() -> None:
    printed = {
        name: [cell.paper for cell in ARTIFACTS[name].cells if cell.paper is not None]
        for name in ("table1", "table2", "table3", "table4", "figure5", "figure7")
    }
    assert printed == {
        "table1": [
            0.468, 0.244, 0.238, 0.129, 1.1237, 1.0039, 0.575, 0.5138, 0.447, 0.334, 0.221, 0.164,
            0.0872, 0.0870,
        ],
        "table2": [12.3, 2.3, 3.3, 25812.8, 3.05],
        "table3": [100.3, 17.74, 720140.922, 14.83, 18.82, 19.01, 18.02, 18.12],
        "table4": [23.4, 12.2, 22.52, 11.57, 22.34, 11.4, 22.23, 11.29],
        "figure5": [0.621, 9.18, 5.16],
        "figure7": [44.7, 256.7],
    }  # fmt: skip


def test_a_second_call_does_nothing_and_a_stopped_one_is_resumed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, results = tmp_path / "work", tmp_path / "results"
    options = {"artifact": ("figure2",), "output_dir": str(folder), "progress": False}
    done = Gaussians.do

    def stop(work: Gaussians, workspace: Workspace) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Gaussians, "do", stop)
    with pytest.raises(KeyboardInterrupt):
        tfdm.reproduce(**options)
    monkeypatch.setattr(Gaussians, "do", done)
    first = tfdm.reproduce(**options, results_dir=str(results))
    assert first.problems == {}
    assert "| d = 10 |" in first.page
    assert "![Figure 2, learning](figure2-learning.png)" in first.page
    files = {"README.md", "figure2.md", "figure2.json", "figure2-learning.png"}
    assert {path.name for path in results.iterdir()} - {".lock"} == files
    record = json.loads((folder / "figure2.json").read_text())
    assert {"scale": "smoke", "seed": 0, "open": {}}.items() <= record.items()
    # d = 100 and 1000 are not part of this scale.
    ours = {value["row"]: value["ours"] for value in record["values"]}
    assert (ours["d = 10"] is None, ours["d = 1000"] is None) == (False, True)

    monkeypatch.setattr(Gaussians, "do", stop)
    before = (folder / "figure2-learning.png").stat().st_mtime_ns
    assert tfdm.reproduce(**options).problems == {}
    assert (folder / "figure2-learning.png").stat().st_mtime_ns == before


def test_what_cannot_be_made_stays_open_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_data(work: Training, workspace: Workspace) -> None:
        raise UserError("no CelebA results yet: prepare it")

    monkeypatch.setattr(Training, "do", no_data)
    result = tfdm.reproduce(artifact=("table3",), output_dir=str(tmp_path), progress=False)
    run = "vae-celeb_a-latent_dim=100"
    assert result.problems[run] == "no CelebA results yet: prepare it"
    assert f"- open: {run}: no CelebA results yet: prepare it" in result.page
    assert result.problems[f"{run}: monte_carlo"] == f"needs {run}"
    assert "| Monte Carlo | open | 100.3 |" in result.page


@pytest.mark.slow
def test_a_table_of_runs_is_made_from_nothing(tmp_path: Path) -> None:
    options = {"artifact": ("table4", "figure3"), "output_dir": str(tmp_path), "progress": False}
    result = tfdm.reproduce(**options)
    assert result.problems == {}
    values = json.loads((tmp_path / "table4.json").read_text())["values"]
    assert all(value["ours"] > 0 for value in values)
    assert (tmp_path / "figure3-players.png").is_file()
    plan = tfdm.reproduce(**options, dry_run=True).page
    assert plan.count("complete") == 8
    # More steps of the same run count; another run does not.
    workspace = Workspace(tmp_path, SCALES["reduced"])
    assert WORKS["vae-color_mnist-latent_dim=50"].result(workspace) is None
