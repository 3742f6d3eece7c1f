"""The contract of every metric in the registry, on random bytes and on real digits."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests import tiny_training
from tests.tiny_evaluation import FIELDS, measure
from tfdm.errors import UserError
from tfdm.eval.inputs import Inputs
from tfdm.eval.metrics import METRICS, Metric

TINY: dict[str, Any] = {"dataset": tiny_training.tiny_dataset(), "classifier": "color_mnist"}
# So that quality shows on 500 digits.
DIGITS = {
    "inception_score": {"num_splits": 1},
    "ms_ssim": {"num_batches": 4},
    "wasserstein_critic": {
        "steps": 60, "batch_size": 32, "num_seeds": 1, "width": 0.25, "learning_rate": 1e-3,
    },
}  # fmt: skip

each = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def _options(metric: Metric) -> dict[str, Any]:
    return {"dataset": TINY["dataset"]} | (TINY if metric.needs_classifier else {})


@pytest.fixture(scope="module")
def digits():
    """All metrics of 500 test digits, as they are and with noise."""
    return tuple(
        measure("test", dataset="color_mnist_5k", noise=noise, seed=1, fields=DIGITS)
        for noise in (0.0, 0.2)
    )


@each
def test_a_record_is_json_and_a_function_of_the_seed(metric, images):
    records = [
        measure(images, metric.name, seed=seed, **_options(metric)).metrics for seed in (3, 3, 4)
    ]
    for found in records:
        assert list(found) == [metric.name]
        found[metric.name].pop("wall_seconds")
        json.dumps(found, allow_nan=False)
    assert records[0] == records[1]
    assert records[2][metric.name].seed == 4
    record = records[0][metric.name]
    assert record.config == metric.config.of(FIELDS.get(metric.name)).to_dict()
    for quantity in metric.quantities:
        assert np.isfinite(record[quantity.field])
        assert quantity.error is None or quantity.error in record


@each
def test_what_a_metric_needs_is_what_it_says(metric, images):
    assert not metric.needs_features or metric.needs_classifier
    needs = {
        "dataset": metric.needs_dataset or metric.needs_features,
        "classifier": metric.needs_classifier,
    }
    for name, needed in needs.items():
        options = {key: value for key, value in _options(metric).items() if key != name}
        if needed:
            with pytest.raises(UserError, match=f"{metric.name} needs"):
                measure(images, metric.name, **options)
        else:
            measure(images, metric.name, **options)
    if any(needs.values()):
        with pytest.raises(ValueError, match="which the metric needs"):
            metric.measure(Inputs(images=images, seed=0), metric.config())


@each
def test_real_digits_are_preferred(metric, digits):
    for quantity in metric.quantities:
        clean, noised = (found[metric.name][quantity.field] for found in digits)
        if quantity.higher_is_better is None:
            assert noised > clean  # Noise is diverse.
        elif quantity.higher_is_better:
            assert clean > 1.02 * noised
        else:
            assert noised > 2 * abs(clean)
