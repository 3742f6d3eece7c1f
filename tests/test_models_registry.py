"""Models by name: those of the package, and three ways in which others become known."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import tfdm
from tests.tiny_training import TinyAutoencoder
from tfdm.errors import UserError
from tfdm.experiments.config import RunConfig
from tfdm.models import registry
from tfdm.models.config import AAEConfig, VAEConfig
from tfdm.models.registry import BUILT_IN, MODELS, find_model, register_file

FILE = """
import tfdm
from tests.tiny_training import TinyAutoencoder
from tfdm.models.config import AAEConfig

class Mine(TinyAutoencoder):
    "My own."

tfdm.register_model("mine", Mine, AAEConfig)
"""


@pytest.fixture(autouse=True)
def nothing_stays_registered():
    before = dict(MODELS)
    yield
    MODELS.clear()
    MODELS.update(before)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_registry_names_class_and_configuration(name):
    entry = find_model(name)
    assert entry.name == name and entry.summary and not entry.source
    model_class = entry.load()
    assert model_class.__module__ == f"tfdm.models.{name}"
    assert model_class.__name__ == entry.class_name
    assert model_class.config_class is entry.config
    assert registry.name_of(model_class) == registry.name_of(name) == name


def test_a_registered_model_is_one_of_them():
    tfdm.register_model("mine", TinyAutoencoder, AAEConfig)
    entry = find_model("mine")
    assert entry.load() is TinyAutoencoder and entry.config is AAEConfig
    assert entry.summary.startswith("Two players")
    assert entry.source == {"class": "tests.tiny_training.TinyAutoencoder"}
    assert "mine" in registry.model_names()
    tfdm.register_model("mine", TinyAutoencoder, summary="once more, as a notebook does")
    assert find_model("mine").summary == "once more, as a notebook does"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("My-Model", TinyAutoencoder), "name is 'My-Model', expected lower-case letters"),
        (("vae", TinyAutoencoder), "name is 'vae', a model of tfdm"),
        (("mine", VAEConfig), "expected a subclass of GenerativeModel"),
        (("mine", TinyAutoencoder, dict), "expected a subclass of ModelConfig"),
    ],
)
def test_what_is_no_model_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        tfdm.register_model(*arguments)
    assert "mine" not in registry.model_names()


def test_a_class_is_registered_under_its_own_name():
    assert registry.name_of(TinyAutoencoder) == "tiny_autoencoder"
    assert registry.name_of(TinyAutoencoder) == "tiny_autoencoder"
    other = type("TinyAutoencoder", (TinyAutoencoder,), {"__module__": "elsewhere"})
    with pytest.raises(ValueError, match="called 'tiny_autoencoder', which is another model"):
        registry.name_of(other)
    with pytest.raises(ValueError, match="expected a name or a class"):
        registry.name_of(TinyAutoencoder.build_networks)
    assert registry.name_of(type("MyVAEGan2", (TinyAutoencoder,), {})) == "my_vae_gan2"


def test_a_file_makes_its_models_known(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    register_file(path)
    entry = find_model("mine")
    digest = hashlib.sha256(FILE.encode()).hexdigest()
    assert entry.source == {"file": "mine.py", "sha256": digest} and entry.summary == "My own."
    register_file(str(path))
    assert find_model("mine") is entry  # executed once


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.py", None, "cannot read .*absent.py: No such file"),
        ("mine.txt", "", "is not a Python file"),
        ("mine.py", "x = 1", "registers no model: call tfdm.register_model"),
        ("mine.py", "1 /\n0", "fails: SyntaxError"),
        ("mine.py", "import sys; sys.exit(3)", "fails: SystemExit: 3"),
        ("mine.py", "import tfdm; tfdm.register_model('vae', int)", "fails: ValueError: name is"),
    ],
)
def test_a_file_that_registers_nothing_is_one_line(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        register_file(tmp_path / name)
    assert "\n" not in str(caught.value)


def install(site: Path, **models: str) -> None:
    """A package `plugin` 2.0 with entry points."""
    folder = site / "plugin-2.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 2.0\n")
    lines = [f"{name} = {value}" for name, value in models.items()]
    (folder / "entry_points.txt").write_text("\n".join(["[tfdm.models]", *lines]))


def test_the_models_of_installed_packages_are_known(tmp_path, monkeypatch):
    install(tmp_path, broken="no_such_module:Model", plug="tests.tiny_training:TinyAutoencoder")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert {"broken", "plug"} <= set(registry.model_names())
    assert find_model("plug").load() is TinyAutoencoder
    assert find_model("plug").source == {"package": "plugin", "version": "2.0"}
    with pytest.raises(UserError, match="'broken' of the package plugin cannot be loaded"):
        find_model("broken")
    with pytest.raises(UserError, match="unknown model 'plugg': did you mean plug"):
        find_model("plugg")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"file": "mine.py", "sha256": "abcdef" * 4},
            r"mine.py \(SHA-256 abcdefabcdefabcd\) made it known: pass --register=mine.py",
        ),
        ({"package": "plugin", "version": "2.0"}, "it comes with the package plugin 2.0"),
        ({"class": "notebook.Mine"}, "it was the class notebook.Mine: call tfdm.register_model"),
    ],
)
def test_a_run_of_an_unknown_model_says_how_it_was_known(source, message):
    flat = {**RunConfig().flat(), "model": "mine", "model_source": source}
    with pytest.raises(UserError, match=f"the model 'mine' is not known here.*{message}") as caught:
        RunConfig.from_flat(flat)
    assert "\n" not in str(caught.value)
