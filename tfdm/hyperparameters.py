"""Hyperparameters of the models: typed, ranged, documented fields, without TensorFlow.

Every model has a frozen dataclass here. Its defaults lie inside the sweeps of the paper
(Appendix K, Table 5); where the paper is silent the field says what was chosen.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any


def hyperparameter(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """Declares a dataclass field with its documentation and its admissible values.

    Args:
      default: the default value; its type is the type of the field.
      help: one line for the command's help.
      minimum: smallest admissible value, inclusive.
      maximum: largest admissible value, inclusive.
      choices: all admissible values.
    """
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


def check_value(field: dataclasses.Field, value: Any) -> Any:
    """Returns `value` as the field's type, or raises `ValueError` that says what is admissible."""
    kind: type = type(field.default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise ValueError(f"{field.name} is {value!r}, expected a value of type {kind.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{field.name} is {value!r}, expected a finite number")
    choices = field.metadata.get("choices")
    if choices is not None and value not in choices:
        allowed = ", ".join(str(choice) for choice in choices)
        raise ValueError(f"{field.name} is {value!r}, expected one of {allowed}")
    minimum, maximum = field.metadata.get("minimum"), field.metadata.get("maximum")
    if minimum is not None and value < minimum:
        raise ValueError(f"{field.name} is {value!r}, expected at least {minimum}")
    if maximum is not None and value > maximum:
        raise ValueError(f"{field.name} is {value!r}, expected at most {maximum}")
    return value


def parse_value(field: dataclasses.Field, text: str) -> Any:
    """Reads `text`, as it stands on a command line, as a value of the field.

    Raises:
      ValueError: `text` is not of the field's type, or the value is not admissible.
    """
    kind: type = type(field.default)
    readers: dict[type, Callable[[str], Any]] = {
        bool: _parse_bool,
        int: int,
        float: float,
        str: str,
    }
    try:
        value = readers[kind](text)
    except ValueError:
        names = {bool: "true or false", int: "a whole number", float: "a number"}
        raise ValueError(f"{field.name} is {text!r}, expected {names[kind]}") from None
    return check_value(field, value)


def _parse_bool(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in known:
        raise ValueError(text)
    return known[text.lower()]


def adam_rate(default: float, of: str) -> Any:
    """Declares the Adam learning rate `of` a player (Table 5)."""
    return hyperparameter(default, f"Adam learning rate of the {of}", minimum=0.0, maximum=1.0)


@dataclasses.dataclass(frozen=True)
class CheckedConfig:
    """A frozen group of fields that `hyperparameter` declared, each checked when it is made."""

    def __post_init__(self) -> None:
        """Checks every field; raises `ValueError` with the value and what was expected."""
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, check_value(field, getattr(self, field.name)))

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a plain dictionary that JSON can hold."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class ModelConfig(CheckedConfig):
    """What all models share: sizes, normalisation and the optimiser (Appendix K)."""

    latent_dim: int = hyperparameter(50, "dimension L of the codes z", minimum=1)
    width: float = hyperparameter(
        1.0, "factor on the feature maps and units of every network", minimum=1 / 64, maximum=16.0
    )
    batch_norm_momentum: float = hyperparameter(
        0.9, "share of the old value in the moving averages of batch norm", minimum=0.0, maximum=1.0
    )
    adam_beta_1: float = hyperparameter(
        0.5, "decay of Adam's first moment", minimum=0.0, maximum=0.999999
    )
    adam_beta_2: float = hyperparameter(
        0.9, "decay of Adam's second moment", minimum=0.0, maximum=0.999999
    )
    ema_decay: float = hyperparameter(
        0.0,
        "decay a step of a moving average of the generator's weights, used for samples; 0 is off",
        minimum=0.0,
        maximum=0.999999,
    )


@dataclasses.dataclass(frozen=True)
class VAEConfig(ModelConfig):
    """Variational autoencoder: eq. 3, and the marginal KL term of Appendix B."""

    likelihood: str = hyperparameter(
        "bernoulli", "pixel distribution p(x|z)", choices=("bernoulli", "quantized_normal")
    )
    beta: float = hyperparameter(1.0, "coefficient β of KL[q(z|x) ‖ p(z)]", minimum=0.0)
    marginal_kl_weight: float = hyperparameter(
        0.0, "coefficient λ of KL[q(z) ‖ p(z)] by a code discriminator; 0 is off", minimum=0.0
    )
    scale_sharing: str = hyperparameter(
        "global",
        "what shares a learned scale of the quantized normal",
        choices=("global", "pixel"),
    )
    learning_rate: float = adam_rate(5e-4, "encoder and decoder")
    code_discriminator_learning_rate: float = adam_rate(5e-4, "code discriminator")


@dataclasses.dataclass(frozen=True)
class DCGANConfig(ModelConfig):
    """Generative adversarial network with the classifier's loss (section 3)."""

    generator_loss: str = hyperparameter(
        "non_saturating",
        "loss of the generator as a function of the discriminator's logit",
        choices=("non_saturating", "saturating", "reverse_kl"),
    )
    dropout_rate: float = hyperparameter(
        0.2,
        "dropout after the last convolution of the 28x28 discriminator (Table 6: keep 0.8)",
        minimum=0.0,
        maximum=0.95,
    )
    generator_learning_rate: float = adam_rate(2e-4, "generator")
    discriminator_learning_rate: float = adam_rate(2e-4, "discriminator")


@dataclasses.dataclass(frozen=True)
class WGANGPConfig(ModelConfig):
    """Wasserstein GAN with gradient penalty (Gulrajani et al., 2017; Appendix K.1 and K.3)."""

    gradient_penalty: float = hyperparameter(10.0, "coefficient λ of the penalty", minimum=0.0)
    critic_steps: int = hyperparameter(
        5, "critic updates before each generator update", minimum=1, maximum=100
    )
    critic_normalization: str = hyperparameter(
        "none",
        "normalisation inside the critic; batch norm breaks the penalty of a single example",
        choices=("none", "layer", "batch"),
    )
    generator_learning_rate: float = adam_rate(2e-4, "generator")
    critic_learning_rate: float = adam_rate(2e-4, "critic")


def _encoder_kind(default: str) -> Any:
    return hyperparameter(
        default,
        "q(z|x): a function, a diagonal Gaussian, or a function of x and noise without density",
        choices=("deterministic", "gaussian", "implicit"),
    )


def _reduction(default: str) -> Any:
    return hyperparameter(
        default,
        "whether the reconstruction error of an example is summed or averaged over its elements",
        choices=("sum", "mean"),
    )


@dataclasses.dataclass(frozen=True)
class AAEConfig(ModelConfig):
    """Adversarial autoencoder (Makhzani et al., 2015; section 6.1)."""

    encoder: str = _encoder_kind("deterministic")
    reconstruction_weight: float = hyperparameter(
        1.0, "coefficient of the squared reconstruction error", minimum=0.0
    )
    reconstruction_reduction: str = _reduction("sum")
    learning_rate: float = adam_rate(5e-4, "encoder and generator")
    code_discriminator_learning_rate: float = adam_rate(5e-5, "code discriminator")


@dataclasses.dataclass(frozen=True)
class VEEGANConfig(ModelConfig):
    """VEEGAN (Srivastava et al., 2017; section 6.2, eq. 14, Table 8)."""

    encoder: str = _encoder_kind("deterministic")
    code_reconstruction_weight: float = hyperparameter(
        1.0, "coefficient of the L1 reconstruction error of the codes", minimum=0.0
    )
    reconstruction_reduction: str = _reduction("sum")
    # Without it nothing draws F(x) towards the prior, and T tells pairs apart by the code alone.
    reconstructor_adversarial_weight: float = hyperparameter(
        1.0,
        "coefficient of the adversarial term of the reconstructor on real pairs",
        minimum=0.0,
    )
    head_maps: int = hyperparameter(512, "feature maps of the joint head", minimum=1)
    learning_rate: float = adam_rate(5e-4, "generator and reconstructor")
    discriminator_learning_rate: float = adam_rate(1e-4, "joint discriminator")


@dataclasses.dataclass(frozen=True)
class AAEPlusPlusConfig(ModelConfig):
    """AAE++: eq. 10, Algorithm 4 without its terms on samples."""

    encoder: str = _encoder_kind("deterministic")
    encoder_reconstruction_weight: float = hyperparameter(
        50.0,
        "coefficient of the encoder's L1 reconstruction error; swept 1, 5, 10, 50",
        minimum=0.0,
    )
    generator_reconstruction_weight: float = hyperparameter(
        50.0,
        "coefficient of the generator's L1 reconstruction error; swept 1, 5, 10, 50",
        minimum=0.0,
    )
    reconstruction_reduction: str = _reduction("mean")
    updates: str = hyperparameter(
        "simultaneous",
        "all players move from one forward pass, or one after the other as Algorithm 4 prints",
        choices=("simultaneous", "sequential"),
    )
    learning_rate: float = adam_rate(5e-4, "encoder and generator")
    discriminator_learning_rate: float = adam_rate(5e-4, "data discriminator")
    code_discriminator_learning_rate: float = adam_rate(5e-4, "code discriminator")


@dataclasses.dataclass(frozen=True)
class AAEGANConfig(AAEPlusPlusConfig):
    """AAE-GAN: eq. 11, Algorithm 4; samples are fake to the data discriminator too."""
