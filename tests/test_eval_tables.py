"""Tables and plots of evaluations: the numbers of the records, in their places."""

from __future__ import annotations

import io
import re
from typing import Any

import PIL.Image
import pytest
from matplotlib.axes import Axes

from tfdm.eval.tables import comparison_table, evaluation_table, plot_comparison

CLASSIFIER = {"classifier": "c", "classifier_digest": "0123abcd4567"}


def _content(source: dict[str, Any], score: float, **metrics: Any) -> dict[str, Any]:
    return {
        "title": "a title",
        "source": source,
        "num_samples": 1000,
        "seed": 3,
        "dataset": "cifar10",
        "metrics": {
            "inception_score": {"mean": score, "std": 0.12, "num_splits": 10, **CLASSIFIER},
            **metrics,
        },
    }


def _unaligned(table: str) -> str:
    """The table with one space where it has several or a line break inside of a note."""
    return re.sub(r"(?<=[^\n])\n? +", " ", table)


CRITIC = {
    "value": 1.25, "standard_error": 0.5, "critic_gap": 0.75, "model_gap": None,
    "per_seed": [1.0, 1.5], "num_real": 50, "config": {"steps": 7},
}  # fmt: skip


def test_one_evaluation_has_a_row_for_each_number() -> None:
    pair = {"precision": 0.5, "recall": 0.25, "neighbours": 3}
    content = _content({"model": "vae"}, 4.5, precision_recall=pair, wasserstein_critic=CRITIC)
    table = evaluation_table(content)
    assert max(map(len, table.splitlines())) <= 80
    table = _unaligned(table)
    assert "1,000 samples, seed 3" in table
    assert "| inception score ↑ | 4.5 ± 0.12 |" in table
    assert "- inception_score: classifier c (0123abcd), ± over 10 splits\n" in table
    assert "| precision ↑ | 0.5 |" in table
    assert table.count("- precision_recall: neighbour 3\n") == 1
    assert "| recall ↑ | 0.25 |" in table
    assert "| Wasserstein critic ↓ | 1.25 ± 0.5 |" in table
    assert "critic's gap 0.75" in table
    assert "over 2 critics of 7 steps" in table
    assert "model's gap" not in table


def test_the_chance_of_the_images_stands_beside_distance_and_gap() -> None:
    critic = {**CRITIC, "image_standard_error": 0.03, "model_gap": 0.25}
    critic["model_gap_image_standard_error"] = 0.06
    rows = {"vae": _content({"model": "vae"}, 4.5, wasserstein_critic=critic)}
    table = _unaligned(evaluation_table(rows["vae"]))
    assert "critic's gap 0.75, model's gap 0.25, ± 0.06 over images\n" in table
    # The variances add: 0.5² + 0.03² and, with a larger chance of the images, 3² + 4².
    assert "| 1.25 ± 0.5 |" in table
    critic |= {"standard_error": 3.0, "image_standard_error": 4.0}
    assert "| 1.25 ± 5 |" in comparison_table(rows)
    assert "over 2 critics of 7 steps and over images" in comparison_table(rows)
    assert "gap" not in comparison_table(rows)


@pytest.mark.parametrize(("number", "warned"), [(384, True), (385, False)])
def test_a_distance_of_too_few_samples_says_so(number: int, warned: bool) -> None:
    record = {"value": 3.5, "num_generated": number, "num_real": 9000, "num_features": 384}
    table = _unaligned(evaluation_table(_content({"model": "vae"}, 4.5, frechet_distance=record)))
    assert "| Fréchet distance ↓ | 3.5 |" in table
    assert f"- frechet_distance: {number} samples, 9000 real images" in table
    assert ("no more samples than the 384 features: biased upwards" in table) == warned


def test_few_real_images_and_few_images_a_split_are_said() -> None:
    record = {"value": 3.5, "num_generated": 9000, "num_real": 384, "num_features": 384}
    content = _content({"model": "vae"}, 1.98, frechet_distance=record)
    content["metrics"]["inception_score"] |= {"num_samples": 29, "num_classes": 10}
    table = " ".join(evaluation_table(content).split())
    assert "no more real images than the 384 features: biased upwards" in table
    assert "over 10 splits, 2 images a split: at most 2" in table
    content["metrics"]["inception_score"]["num_classes"] = 2
    assert "a split" not in evaluation_table(content)


def test_one_critic_has_no_spread() -> None:
    critic = {**CRITIC, "per_seed": [1.25], "standard_error": None}
    table = evaluation_table(_content({"model": "vae"}, 4.5, wasserstein_critic=critic))
    assert "| 1.25 |" in _unaligned(table)
    assert "one critic of 7 steps" in table
    assert "over 1 " not in table


def test_a_second_classifier_has_rows_of_its_own() -> None:
    other = {"mean": 2.0, "std": None, "classifier": "inception"}
    content = _content({"model": "vae"}, 4.5, **{"inception_score:inception": other})
    one = _unaligned(evaluation_table(content))
    assert "| inception score ↑, inception | 2 |" in one
    assert "- inception_score:inception: classifier inception\n" in one
    table = comparison_table({"vae": content, "gan": _content({"model": "gan"}, 5.0)})
    head, _, vae, gan, *_ = table.splitlines()
    assert head == "| | samples | inception score ↑ | inception score ↑, inception |"
    assert vae == "| vae | 1,000 | 4.5 ± 0.12 | 2 |"
    assert gan == "| gan | 1,000 | 5 ± 0.12 | – |"


def test_numbers_of_another_protocol_bear_a_dagger() -> None:
    longer = {**CRITIC, "value": 2.0, "config": {"steps": 9}}
    rows = {
        "a": _content({"model": "a"}, 4.5, wasserstein_critic=CRITIC),
        "b": _content({"model": "b"}, 4.5, wasserstein_critic=longer),
        "c": _content({"model": "c"}, 4.5, wasserstein_critic=CRITIC),
    }
    table = comparison_table(rows)
    assert "| a | 1,000 | 4.5 ± 0.12 | 1.25 ± 0.5 |" in table
    assert "| b | 1,000 | 4.5 ± 0.12 | 2 ± 0.5 † |" in table
    assert "- wasserstein_critic: 50 real images, ± standard error over 2 critics of 7" in table
    assert "† another protocol" in table
    rows["b"] = _content({"model": "b"}, 4.5, wasserstein_critic={**CRITIC, "num_samples": 9})
    assert "1.25 ± 0.5 †" in comparison_table(rows)
    # The images on which a critic is read off are chance.
    other = {**CRITIC, "held_out_split": "train"}
    rows["b"] = _content({"model": "b"}, 4.5, wasserstein_critic=other)
    assert "†" not in comparison_table(rows)


def test_a_measure_without_a_number_says_why() -> None:
    content = _content({"model": "vae"}, 4.5, ms_ssim={"reason": "too few", "config": {}})
    table = _unaligned(evaluation_table(content))
    assert "| diversity, 1 − MS-SSIM | – |" in table and "- ms_ssim: too few\n" in table
    assert "| 4.5 ± 0.12 | – |" in comparison_table({"vae": content})


def test_the_plot_shows_every_quantity(monkeypatch: pytest.MonkeyPatch) -> None:
    dots, boxes, lines = [], [], []
    plot, boxplot, axhline = Axes.plot, Axes.boxplot, Axes.axhline
    monkeypatch.setattr(Axes, "plot", lambda s, *a, **k: (dots.append(a[:2]), plot(s, *a, **k))[1])
    monkeypatch.setattr(
        Axes,
        "boxplot",
        lambda s, x, **k: (boxes.append((x, k["positions"])), boxplot(s, x, **k))[1],
    )
    monkeypatch.setattr(Axes, "axhline", lambda s, y, **k: (lines.append(y), axhline(s, y, **k))[1])
    better = {**CRITIC, "value": 0.5}
    rows = {
        "vae": _content({"model": "vae"}, 4.5, wasserstein_critic=CRITIC),
        "vae (2)": _content({"model": "vae"}, 4.0, wasserstein_critic=better),
        "gan": _content({"model": "gan"}, 5.0),
        "test": _content({"split": "test"}, 9.0),
    }
    picture = plot_comparison(rows, "a title")
    with PIL.Image.open(io.BytesIO(picture)) as image:
        assert image.format == "PNG"
    # The best of two runs is a dot over their box; the critic is drawn negated, as in Figure 4.
    single = [d for d in dots if len(d) == 2 and not hasattr(d[1], "__len__")]
    assert single == [(0, 4.5), (1, 5.0), (0, -0.5)]
    assert boxes == [([[4.5, 4.0]], [0]), ([[-1.25, -0.5]], [0])]
    assert 9.0 in lines
    boxes.clear()
    rows["vae (2)"]["source"]["noise_scale"] = 0.1
    plot_comparison(rows, "a title")
    assert not boxes


def test_the_plot_leaves_out_numbers_of_another_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, axhline = [], Axes.axhline
    monkeypatch.setattr(Axes, "axhline", lambda s, y, **k: (lines.append(y), axhline(s, y, **k))[1])
    real = {**CRITIC, "real_split": "train"}
    rows = {name: _content({"model": name}, 4.5, wasserstein_critic=CRITIC) for name in "ab"}
    rows["test"] = _content({"split": "test"}, 9.0, wasserstein_critic=real)
    plot_comparison(rows, "a title")
    assert lines == [9.0]
    empty = {**_content({"model": "vae"}, 1.0), "metrics": {}}
    assert plot_comparison({"vae": empty}, "none").startswith(b"\x89PNG")
