"""The models by name; imports no TensorFlow.

A model of this package is a file in `models/`, its hyperparameters in `models/config.py`, and one
line here. Others become known in three ways: `register_model` in this process, `register_file`
with a Python file that calls it, and a package with an entry point in the group `tfdm.models`,
whose name is the model's and whose object is its class.

A model's class is imported only when it is asked for, so that a command can check its flags and
print its help before TensorFlow loads.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfdm.errors import UserError, did_you_mean
from tfdm.models import config as model_configs
from tfdm.training.config import ModelConfig

ENTRY_POINTS = __name__.rpartition(".")[0]  # "tfdm.models", the package

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """Where a model lives and what configures it.

    Attributes:
      name: the name on the command line.
      class_name: the name of the class.
      config: the class of its hyperparameters.
      summary: one line for the help.
      model_class: the class, or `None` where it is imported from `tfdm.models.NAME`.
      source: what made the model known, for `config.json`; empty for the models of this package.
    """

    name: str
    class_name: str
    config: type[ModelConfig]
    summary: str
    model_class: type | None = None
    source: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def load(self) -> type[Any]:
        """Returns the model's class, after importing its module where that is needed."""
        if self.model_class is not None:
            return self.model_class
        return getattr(importlib.import_module(f"tfdm.models.{self.name}"), self.class_name)


def _entry(name: str, class_name: str, summary: str) -> ModelEntry:
    return ModelEntry(name, class_name, getattr(model_configs, f"{class_name}Config"), summary)


MODELS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        _entry("vae", "VAE", "variational autoencoder (eq. 3, Appendix B)"),
        _entry("dcgan", "DCGAN", "GAN with the classifier's loss (section 3)"),
        _entry("wgan_gp", "WGANGP", "Wasserstein GAN with gradient penalty"),
        _entry("aae", "AAE", "adversarial autoencoder (section 6.1)"),
        _entry("veegan", "VEEGAN", "VEEGAN, joint discriminator (section 6.2, eq. 14)"),
        _entry("aae_plus_plus", "AAEPlusPlus", "AAE with a data discriminator (eq. 10)"),
        _entry("aae_gan", "AAEGAN", "AAE++ whose samples are judged too (eq. 11, Algorithm 4)"),
    )
}
BUILT_IN = tuple(MODELS)

# What is executed now, for the entries that it registers.
_source: Mapping[str, str] = {}


def model_names() -> tuple[str, ...]:
    """Returns the names of all models, those of installed packages included; imports none."""
    return tuple(dict.fromkeys([*MODELS, *(point.name for point in _entry_points())]))


def find_model(name: str) -> ModelEntry:
    """Returns the entry of a model; the module of an entry point is imported.

    Raises:
      UserError: no model has this name, or the package that has it cannot be imported.
    """
    if name not in MODELS:
        for point in _entry_points():
            if point.name == name:
                _register_entry_point(point)
                break
        else:
            raise UserError(f"unknown model {name!r}: {did_you_mean(name, model_names())}")
    return MODELS[name]


def register_model(
    name: str, model_class: type, config_class: type[ModelConfig] | None = None, summary: str = ""
) -> None:
    """Makes a model known to every function of this process, under a name.

    A name that was registered before is given to the new class, so that a notebook's cell may
    run twice.

    Args:
      name: lower-case letters, digits and underscores; not the name of a model of this package.
      model_class: a subclass of `tfdm.training.model.GenerativeModel`.
      config_class: the class of its hyperparameters, by default its `config_class`.
      summary: one line for the help, by default the first of the class's documentation.

    Raises:
      ValueError: the name or a class is not fit for a model.
    """
    from tfdm.training.model import GenerativeModel  # With TensorFlow, as the class itself.

    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"name is {name!r}, expected lower-case letters, digits and underscores")
    if name in BUILT_IN:
        raise ValueError(f"name is {name!r}, a model of tfdm: choose another")
    if not (isinstance(model_class, type) and issubclass(model_class, GenerativeModel)):
        raise ValueError(f"model_class is {model_class!r}, expected a subclass of GenerativeModel")
    config_class = config_class or getattr(model_class, "config_class", None)
    if not (isinstance(config_class, type) and issubclass(config_class, ModelConfig)):
        raise ValueError(f"config_class is {config_class!r}, expected a subclass of ModelConfig")
    documentation = inspect.cleandoc(model_class.__doc__ or model_class.__name__)
    summary = summary or documentation.partition("\n")[0]
    source = _source or {"class": f"{model_class.__module__}.{model_class.__qualname__}"}
    MODELS[name] = ModelEntry(
        name, model_class.__name__, config_class, summary, model_class, dict(source)
    )


def name_of(model: str | type) -> str:
    """Returns the name of a model; a class that has none is registered under one made of its own.

    Args:
      model: a name, which is returned as it is, or a class: `MyVAE` becomes `my_vae`.

    Raises:
      ValueError: the class is no model, or its name is another model's.
    """
    if isinstance(model, str):
        return model
    if not isinstance(model, type):
        raise ValueError(f"model is {model!r}, expected a name or a class")
    for entry in MODELS.values():
        # A class of this package is at hand only if its module was imported.
        home = sys.modules.get(f"tfdm.models.{entry.name}")
        if model is (entry.model_class or getattr(home, entry.class_name, None)):
            return entry.name
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", model.__name__).lower()
    taken = MODELS.get(name)
    if taken and taken.source != {"class": f"{model.__module__}.{model.__qualname__}"}:
        raise ValueError(
            f"{model.__name__} would be called {name!r}, which is another model: give it a name "
            "by tfdm.register_model"
        )
    register_model(name, model)
    return name


def register_file(path: str | os.PathLike[str]) -> None:
    """Executes a Python file that makes models known by `tfdm.register_model`.

    The entries remember the file's name and SHA-256, and so does a run's `config.json`. A file
    is executed once.

    Raises:
      UserError: the file cannot be read, fails, or registers nothing.
    """
    global _source
    file = Path(path).expanduser()
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from None
    source = {"file": file.name, "sha256": digest}
    if any(entry.source == source for entry in MODELS.values()):
        return
    # Under a name of its own, so that Keras and pickle find its classes.
    module_name = f"tfdm_registered_{digest[:16]}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    _source = source
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # Whatever the file does.
        raise UserError(f"{file} fails: {_one_line(error)}") from error
    finally:
        _source = {}
    if not any(entry.source == source for entry in MODELS.values()):
        raise UserError(f"{file} registers no model: call tfdm.register_model in it")


def unknown_model_advice(name: str, source: Mapping[str, str] | None) -> str:
    """Says how a model that made a run, and is not known here, can be made known.

    Args:
      name: the model's name.
      source: what `ModelEntry.source` was when the run was made.
    """
    source = source or {}
    if "file" in source:
        file, digest = source["file"], source["sha256"][:16]
        how = (
            f"{file} (SHA-256 {digest}) made it known: pass --register={file}, or call "
            "tfdm.models.registry.register_file"
        )
    elif "package" in source:
        how = f"it comes with the package {source['package']} {source['version']}"
    elif "class" in source:
        how = (
            f"it was the class {source['class']}: call tfdm.register_model, or pass "
            "--register=FILE.py with a file that does"
        )
    else:
        return f"unknown model {name!r}: {did_you_mean(name, model_names())}"
    return f"the model {name!r} is not known here; {how}"


def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=ENTRY_POINTS)


def _register_entry_point(point: importlib.metadata.EntryPoint) -> None:
    global _source
    package = point.dist.name if point.dist is not None else point.module
    version = point.dist.version if point.dist is not None else "?"
    _source = {"package": package, "version": version}
    try:
        register_model(point.name, point.load())
    except Exception as error:  # Whatever the package does.
        raise UserError(
            f"the model {point.name!r} of the package {package} cannot be loaded "
            f"({_one_line(error)}): repair or remove the package"
        ) from error
    finally:
        _source = {}


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
