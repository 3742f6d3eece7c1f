"""The models by name; imports no TensorFlow.

A model of this package is a file in `models/`, its hyperparameters in `models/config.py`, and one
line here. Others become known in three ways: `register_model` in this process, `register_file`
with a Python file that calls it, and a package with an entry point in the group `tfdm.models`,
whose name is the model's and whose object is its class.

A model's class is imported only when it is asked for: flags and help need no TensorFlow.
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
from collections.abc import Callable, Mapping
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

    `config` is the class of its hyperparameters and `summary` one line for the help. The class is
    imported from `tfdm.models.NAME` where `model_class` is `None`; `source` says what made the
    model known, for `config.json`, and is empty for the models of this package.
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


MODELS: dict[str, ModelEntry] = {
    name: ModelEntry(name, class_name, getattr(model_configs, f"{class_name}Config"), summary)
    for name, class_name, summary in (
        ("vae", "VAE", "variational autoencoder (eq. 3, Appendix B)"),
        ("draw", "DRAW", "convolutional DRAW, recurrent in steps (section 4.1)"),
        ("dcgan", "DCGAN", "GAN with the classifier's loss (section 3)"),
        ("wgan_gp", "WGANGP", "Wasserstein GAN with gradient penalty"),
        ("aae", "AAE", "adversarial autoencoder (section 6.1)"),
        ("veegan", "VEEGAN", "VEEGAN, joint discriminator (section 6.2, eq. 14)"),
        ("ali", "ALI", "adversarially learned inference, BiGAN (section 6.2)"),
        ("avb", "AVB", "adversarial variational Bayes (section 6.1, Appendix J)"),
        ("wae", "WAE", "Wasserstein autoencoder, by MMD or code discriminator (section 6.1)"),
        ("aae_plus_plus", "AAEPlusPlus", "AAE with a data discriminator (eq. 10)"),
        ("aae_gan", "AAEGAN", "AAE++ whose samples are judged too (eq. 11, Algorithm 4)"),
    )
}
BUILT_IN = tuple(MODELS)


def model_names() -> tuple[str, ...]:
    """Returns the names of all models, those of installed packages included; imports none."""
    return tuple(dict.fromkeys([*MODELS, *(point.name for point in _entry_points())]))


def find_model(name: str) -> ModelEntry:
    """Returns the entry of a model; the module of an entry point is imported.

    Raises:
      UserError: no model has this name, or the package that has it cannot be imported.
    """
    if name not in MODELS:
        point = next((point for point in _entry_points() if point.name == name), None)
        if point is None:
            raise UserError(f"unknown model {name!r}: {did_you_mean(name, model_names())}")
        _register_entry_point(point)
    return MODELS[name]


def register_model(
    name: str, model_class: type, config_class: type[ModelConfig] | None = None, summary: str = ""
) -> None:
    """Makes a model known to every function of this process; a name that is taken is replaced.

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
    class_name = model_class.__name__
    summary = summary or inspect.cleandoc(model_class.__doc__ or class_name).partition("\n")[0]
    source = _source_of(model_class)
    MODELS[name] = ModelEntry(name, class_name, config_class, summary, model_class, source)


def name_of(model: str | type) -> str:
    """Returns the name of a model; a class that has none is registered: `MyVAE` as `my_vae`.

    Raises `ValueError` where the class is not a model, or its name is another model's.
    """
    if isinstance(model, str):
        return model
    if not isinstance(model, type):
        raise ValueError(f"model is {model!r}, expected a name or a class")
    for entry in MODELS.values():
        # A class of this package can be meant only if its module was imported.
        home = sys.modules.get(f"tfdm.models.{entry.name}")
        if model is (entry.model_class or getattr(home, entry.class_name, None)):
            return entry.name
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", model.__name__).lower()
    if name in MODELS and MODELS[name].source != _source_of(model):
        raise ValueError(
            f"{model.__name__} would be called {name!r}, which is another model: give it a name "
            "by tfdm.register_model"
        )
    register_model(name, model)
    return name


def register_file(path: str | os.PathLike[str]) -> None:
    """Executes a Python file that makes models known by `tfdm.register_model`, once.

    The entries remember the file's name and SHA-256, and so does a run's `config.json`. `UserError`
    where the file cannot be read, fails, or registers nothing.
    """
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
        raise UserError(f"{file} is not a Python file: its name must end in .py")
    module = sys.modules[module_name] = importlib.util.module_from_spec(spec)
    try:
        _register_from(source, spec.loader.exec_module, module)
    except (Exception, SystemExit) as error:  # Whatever the file does.
        raise UserError(f"{file} fails: {_one_line(error)}") from error
    if not any(entry.source == source for entry in MODELS.values()):
        raise UserError(f"{file} registers no model: call tfdm.register_model in it")


def unknown_model_advice(name: str, source: Mapping[str, str] | None) -> str:
    """Says how a model that is not known here, and had `ModelEntry.source`, can be made known."""
    match source or {}:
        case {"file": file, "sha256": digest}:
            how = (
                f"{file} (SHA-256 {digest[:16]}) made it known: pass --register={file}, or call "
                "tfdm.models.registry.register_file"
            )
        case {"package": package, "version": version}:
            how = f"it comes with the package {package} {version}"
        case {"class": its_class}:
            how = (
                f"it was the class {its_class}: call tfdm.register_model, or pass "
                "--register=FILE.py with a file that does"
            )
        case _:
            return f"unknown model {name!r}: {did_you_mean(name, model_names())}"
    return f"the model {name!r} is not known here; {how}"


def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=ENTRY_POINTS)


def _register_entry_point(point: importlib.metadata.EntryPoint) -> None:
    package = point.dist.name if point.dist is not None else point.module
    version = point.dist.version if point.dist is not None else "?"
    source = {"package": package, "version": version}
    try:
        _register_from(source, lambda: register_model(point.name, point.load()))
    except (Exception, SystemExit) as error:  # Whatever the package does.
        raise UserError(
            f"the model {point.name!r} of the package {package} cannot be loaded "
            f"({_one_line(error)}): repair or remove the package"
        ) from error


def _register_from(source: Mapping[str, str], action: Callable[..., object], *args: Any) -> None:
    """Calls `action`; what it registers comes from `source`."""
    before = dict(MODELS)
    action(*args)
    for name, entry in MODELS.items():
        if before.get(name) is not entry:
            MODELS[name] = dataclasses.replace(entry, source=source)


def _source_of(model_class: type) -> dict[str, str]:
    return {"class": f"{model_class.__module__}.{model_class.__qualname__}"}


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
