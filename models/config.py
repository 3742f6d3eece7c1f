"""The hyperparameters of the models, one frozen dataclass each; imports no TensorFlow.

The defaults lie inside the sweeps of the paper (Appendix K, Table 5). Where the paper is silent,
the field says what was chosen.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tfdm.fields import adam_rate, setting
from tfdm.training.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class VAEConfig(ModelConfig):
    """Variational autoencoder: eq. 3, and the marginal KL term of Appendix B."""

    likelihood: str = setting(
        "bernoulli", "pixel distribution p(x|z)", choices=("bernoulli", "quantized_normal")
    )
    beta: float = setting(1.0, "coefficient β of KL[q(z|x) ‖ p(z)]", minimum=0.0)
    marginal_kl_weight: float = setting(
        0.0, "coefficient λ of KL[q(z) ‖ p(z)] by a code discriminator; 0 is off", minimum=0.0
    )
    scale_sharing: str = setting(
        "global", "what shares a learned scale of the quantized normal", choices=("global", "pixel")
    )
    learning_rate: float = adam_rate(5e-4, "encoder and decoder")
    code_discriminator_learning_rate: float = adam_rate(5e-4, "code discriminator")


@dataclasses.dataclass(frozen=True)
class DCGANConfig(ModelConfig):
    """Generative adversarial network with the classifier's loss (section 3)."""

    generator_loss: str = setting(
        "non_saturating",
        "loss of the generator as a function of the discriminator's logit",
        choices=("non_saturating", "saturating", "reverse_kl"),
    )
    dropout_rate: float = setting(
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

    gradient_penalty: float = setting(10.0, "coefficient λ of the penalty", minimum=0.0)
    critic_steps: int = setting(
        5, "critic updates before each generator update", minimum=1, maximum=100
    )
    critic_normalization: str = setting(
        "none",
        "normalisation inside the critic; batch norm breaks the penalty of a single example",
        choices=("none", "layer", "batch"),
    )
    generator_learning_rate: float = adam_rate(2e-4, "generator")
    critic_learning_rate: float = adam_rate(2e-4, "critic")


def _encoder_kind(default: str) -> Any:
    return setting(
        default,
        "q(z|x): a function, a diagonal Gaussian, or a function of x and noise without density",
        choices=("deterministic", "gaussian", "implicit"),
    )


def _reduction(default: str) -> Any:
    return setting(
        default,
        "whether the reconstruction error of an example is summed or averaged over its elements",
        choices=("sum", "mean"),
    )


def _l1_weight(of: str) -> Any:
    text = f"coefficient of the {of}'s L1 reconstruction error; swept 1, 5, 10, 50"
    return setting(50.0, text, minimum=0.0)


@dataclasses.dataclass(frozen=True)
class AAEConfig(ModelConfig):
    """Adversarial autoencoder (Makhzani et al., 2015; section 6.1)."""

    encoder: str = _encoder_kind("deterministic")
    reconstruction_weight: float = setting(
        1.0, "coefficient of the squared reconstruction error", minimum=0.0
    )
    reconstruction_reduction: str = _reduction("sum")
    learning_rate: float = adam_rate(5e-4, "encoder and generator")
    code_discriminator_learning_rate: float = adam_rate(5e-5, "code discriminator")


@dataclasses.dataclass(frozen=True)
class VEEGANConfig(ModelConfig):
    """VEEGAN (Srivastava et al., 2017; section 6.2, eq. 14, Table 8)."""

    encoder: str = _encoder_kind("deterministic")
    code_reconstruction_weight: float = setting(
        1.0, "coefficient of the L1 reconstruction error of the codes", minimum=0.0
    )
    reconstruction_reduction: str = _reduction("sum")
    # Without it nothing draws F(x) towards the prior, and T tells pairs apart by the code alone.
    reconstructor_adversarial_weight: float = setting(
        1.0, "coefficient of the adversarial term of the reconstructor on real pairs", minimum=0.0
    )
    head_maps: int = setting(512, "feature maps of the joint head", minimum=1)
    learning_rate: float = adam_rate(5e-4, "generator and reconstructor")
    discriminator_learning_rate: float = adam_rate(1e-4, "joint discriminator")


@dataclasses.dataclass(frozen=True)
class AAEPlusPlusConfig(ModelConfig):
    """AAE++: eq. 10, Algorithm 4 without its terms on samples."""

    encoder: str = _encoder_kind("deterministic")
    encoder_reconstruction_weight: float = _l1_weight("encoder")
    generator_reconstruction_weight: float = _l1_weight("generator")
    reconstruction_reduction: str = _reduction("mean")
    updates: str = setting(
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
