"""The table and the plot of estimates: what stands in them, also where an estimate exploded."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import PIL.Image
import pytest

from tfdm.estimators.tables import estimates_table, plot_estimates


def _content(**estimates: dict[str, Any]) -> dict[str, Any]:
    bounds = {"average_kl": 25.0, "minimum_marginal_kl": 14.0, "log_num_data": 11.0}
    return {**bounds, "num_latents": 50, "active_latents": 38, "estimates": estimates}


def _rows(table: str) -> dict[str, list[str]]:
    lines = [line.replace(r"\|", "¦") for line in table.splitlines()[2:]]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


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
    assert rows["density_ratio"][3] == "Donsker–Varadhan bound -1e+05"
    assert rows["maf"][3] == "held-out log-likelihood -3; still improving at the step limit"
    assert rows["gmm"] == ["–", "–", "–", "no codes"]


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
