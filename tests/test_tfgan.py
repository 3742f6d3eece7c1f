"""The loader of TF-GAN's statistics leaves `sys.modules` as it found it."""

from __future__ import annotations

import sys
import types

import pytest

from tfdm.errors import UserError
from tfdm.eval import tfgan

_NAME = "tensorflow_gan.python.eval.classifier_metrics"


@pytest.fixture
def no_tfgan(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sys.modules` as if TF-GAN had never been imported."""
    for name in _loaded():
        monkeypatch.delitem(sys.modules, name)


def _loaded() -> dict[str, types.ModuleType]:
    return {name: module for name, module in sys.modules.items() if "tensorflow_gan" in name}


def _load() -> types.ModuleType:
    """Loads anew, past the cache."""
    return tfgan.classifier_metrics.__wrapped__()


@pytest.mark.usefixtures("no_tfgan")
def test_nothing_half_made_stays_behind() -> None:
    module = _load()
    assert module.__name__ == _NAME
    assert module.__file__ is not None
    assert callable(module.kernel_classifier_distance_and_std_from_activations)
    assert _loaded() == {}


@pytest.mark.usefixtures("no_tfgan")
def test_modules_imported_before_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    # The second has a name that the loader needs itself.
    fakes = {name: types.ModuleType(name) for name in ("tensorflow_gan", _NAME)}
    similar = types.ModuleType("tensorflow_gang")
    for name, module in {**fakes, "tensorflow_gang": similar}.items():
        monkeypatch.setitem(sys.modules, name, module)
    module = _load()
    assert module not in fakes.values()
    assert callable(module.classifier_score_from_logits)
    after = _loaded()
    assert after.pop("tensorflow_gang") is similar
    assert set(after) == set(fakes)
    assert all(after[name] is fakes[name] for name in fakes)


@pytest.mark.parametrize("has_fake", [False, True])
@pytest.mark.usefixtures("no_tfgan")
def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, has_fake: bool) -> None:
    fake = types.ModuleType("tensorflow_gan")
    if has_fake:
        monkeypatch.setitem(sys.modules, "tensorflow_gan", fake)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(UserError, match="pip install tensorflow-gan") as raised:
        _load()
    assert "\n" not in str(raised.value)
    assert _loaded() == ({"tensorflow_gan": fake} if has_fake else {})
