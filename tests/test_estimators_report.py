"""The table and the plot of estimates: what stands in them, also where an estimate exploded."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import PIL.Image
import pytest

from tfdm.estimators.tables import estimates_table, is_below_minimum, plot_estimates


def _content(**estimates: dict[str, Any]) -> dict[str, Any]:
    bounds = {"average_kl": 25.0, "minimum_marginal_kl": 14.0, "log_num_data": 11.0}
    return {**bounds, "num_latents": 50, "active_latents": 38, "estimates": estimates}


def _rows(table: str) -> dict[str, list[str]]:
    """The cells of each row behind its name, and the remark of that name as the last one."""
    assert max(map(len, table.splitlines())) <= 80
    rows, notes = table.replace(r"\|", "¦").replace("\n  ", " ").split("\n\n")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows.splitlines()]
    remarks = dict(line.removeprefix("- ").split(": ", 1) for line in notes.splitlines())
    return {row[0]: [*row[1:], remarks.get(row[0], "")] for row in cells[2:]}


def test_table_has_bounds_estimates_and_reasons() -> None:
    rows = _rows(
        estimates_table(
            _content(
                monte_carlo={
                    "kl": 14.25, "standard_error": 0.05, "mutual_information": 10.9,
                    "saturated": True,
                },
                density_ratio={"kl": 25812.8, "standard_error": 3.0, "donsker_varadhan": -1e5},
                gmm={"kl": None, "reason": "no codes"},
                maf={"kl": 12.0, "held_out_log_likelihood": -3.0, "still_improving": True},
            )
        )
    )  # fmt: skip
    assert rows["average KL[q(z¦x) ‖ p(z)]"][:3] == ["25", "", "0.5"]
    assert rows["average KL − log N"][0] == "14"
    assert rows["monte_carlo"] == [
        "14.25", "0.05", "0.285", "mutual information 10.9, saturated"
    ]  # fmt: skip
    assert rows["density_ratio"][0] == "2.581e+04"
    assert rows["density_ratio"][3] == "Donsker–Varadhan bound -1e+05"
    remarks = "held-out log-likelihood -3; still improving at the step limit"
    assert rows["maf"][3] == f"† below the minimum 14; {remarks}"
    assert rows["gmm"] == ["–", "–", "–", "no codes"]


def test_an_estimate_below_the_provable_minimum_is_marked() -> None:
    far = {"kl": 3.5, "standard_error": 0.1}
    estimates: dict[str, dict[str, Any]] = {
        "density_ratio": far,
        "gmm": {"kl": 14.1, "standard_error": 0.1},
        "monte_carlo": {"kl": 13.9, "standard_error": 0.1},
        # Of another mixture than that of the training posteriors: log N bounds nothing.
        "leave_one_out": far | {"variant": "leave_one_out"},
        "held_out": far | {"variant": "held_out"},
        # Of a subset with a bound of its own.
        "monte_carlo:subset": far
        | {"variant": "whole", "average_kl": 8.0, "log_num_data": 5.0, "saturated": False},
        "maf": {"kl": None, "reason": "diverged"},
    }
    content = _content(**estimates)
    rows = _rows(estimates_table(content))
    assert rows["density_ratio"][0] == "3.5 †"
    assert rows["density_ratio"][3] == "† below the minimum 14"
    assert rows["monte_carlo"][3] == "† below the minimum 14, within its error"
    for name in ("gmm", "leave_one_out", "held_out", "monte_carlo:subset"):
        assert "†" not in rows[name][0] + rows[name][3]
    below = {name: is_below_minimum(record, content) for name, record in estimates.items()}
    assert below == {
        "density_ratio": True, "gmm": False, "monte_carlo": True, "leave_one_out": None,
        "held_out": None, "monte_carlo:subset": False, "maf": None,
    }  # fmt: skip


@pytest.mark.parametrize("average", [5.0, None])
def test_a_divergence_below_zero_is_marked_where_the_bound_says_nothing(
    average: float | None,
) -> None:
    content = _content(maf={"kl": -0.5}) | {"average_kl": average, "log_num_data": 11.0}
    assert is_below_minimum(content["estimates"]["maf"], content) is True
    assert is_below_minimum({"kl": 0.5}, content) is False


def test_the_plot_writes_below_the_minimum_in_red() -> None:
    red = np.array((0xCC, 0x33, 0x11))

    def marked(kl: float) -> bool:
        return bool((np.abs(_pixels(_content(a={"kl": kl})) - red).sum(axis=2) < 12).any())

    assert marked(13.9) and not marked(14.1)


def _pixels(content: dict[str, Any]) -> np.ndarray:
    with PIL.Image.open(io.BytesIO(plot_estimates(content, "title"))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def _bar_height(content: dict[str, Any], color: tuple[int, int, int]) -> int:
    rows = (np.abs(_pixels(content) - np.array(color)).sum(axis=2) < 12).sum(axis=1) > 20
    return int(rows.sum())


@pytest.mark.parametrize("value", [25812.8, -9000.0, math.inf, math.nan])
def test_an_exploded_estimate_does_not_flatten_the_others(value: float) -> None:
    color = (0x66, 0xCC, 0xEE)
    alone = _bar_height(_content(a={"kl": 3.0}, b={"kl": 12.0}), color)
    beside = _bar_height(_content(a={"kl": value}, b={"kl": 12.0}), color)
    assert beside > 0.4 * alone
