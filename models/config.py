"""The hyperparameters of the models, one frozen dataclass each; imports no TensorFlow.

The defaults lie inside the sweeps of the paper (Appendix K, Table 5). Where the paper is silent,
the field says what was chosen.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Self

from tfdm.fields import adam_rate, setting
from tfdm.training.config import ModelConfig


def _likelihood() -> Any:
    return setting(
        "bernoulli", "pixel distribution p(x|z)", choices=("bernoulli", "quantized_normal")
    )


def _scale_sharing() -> Any:
    return setting(
        "global", "what shares a learned scale of the quantized normal", choices=("global", "pixel")
    )


@dataclasses.dataclass(frozen=True)
class VAEConfig(ModelConfig):
    """Variational autoencoder: eq. 3, and the marginal KL term of Appendix B."""

    likelihood: str = _likelihood()
    beta: float = setting(1.0, "coefficient β of KL[q(z|x) ‖ p(z)]", minimum=0.0)
    marginal_kl_weight: float = setting(
        0.0, "coefficient λ of KL[q(z) ‖ p(z)] by a code discriminator; 0 is off", minimum=0.0
    )
    scale_sharing: str = _scale_sharing()
    prior: str = setting(
        "standard_normal",
        "p(z): N(0, I), a mixture of q(z|u) over learned images u, or a masked autoregressive flow",
        choices=("standard_normal", "vamp", "flow"),
    )
    prior_player: str = setting(
        "autoencoder",
        "whose step moves the pseudo-inputs or the flow: the autoencoder's, or one of their own",
        choices=("autoencoder", "prior"),
    )
    num_pseudo_inputs: int = setting(500, "images u of the prior vamp", minimum=1)
    num_flows: int = setting(2, "flows of the prior flow", minimum=1)
    flow_layers: int = setting(1, "hidden layers of each flow", minimum=1)
    flow_width: int = setting(256, "units of a hidden layer of a flow", minimum=1)
    learning_rate: float = adam_rate(5e-4, "encoder and decoder")
    code_discriminator_learning_rate: float = adam_rate(5e-4, "code discriminator")
    prior_learning_rate: float = adam_rate(5e-4, "learned prior where it is a player")


# Sides of images below which DRAW's sizes are small: 28x28.
_SMALL_SIDE = 32


@dataclasses.dataclass(frozen=True)
class DRAWConfig(ModelConfig):
    """Convolutional DRAW (Gregor et al., 2015 and 2016; section 4.1).

    Sizes that are `None` follow from the images: `for_images` gives their numbers.
    """

    latent_dim: int = setting(
        None,
        "dimension L of the codes z, num_steps x half the height x half the width x latent_maps",
        kind=int,
        minimum=1,
        shown_default="that product",
    )
    num_steps: int = setting(
        None, "steps T", kind=int, minimum=1, maximum=1000, shown_default="16; 8 below 32x32"
    )
    latent_maps: int = setting(
        None, "maps of latents of a step", kind=int, minimum=1, shown_default="12; 2 below 32x32"
    )
    hidden_maps: int = setting(
        None,
        "hidden maps of both cells, before the factor width",
        kind=int,
        minimum=1,
        shown_default="160; 16 below 32x32",
    )
    kernel_size: int = setting(5, "side of the kernels of both cells", minimum=1, maximum=31)
    prior: str = setting(
        "standard_normal",
        "p(z): N(0, I), or learned step by step from the decoder's state",
        choices=("standard_normal", "autoregressive"),
    )
    likelihood: str = _likelihood()
    scale_sharing: str = _scale_sharing()
    learning_rate: float = adam_rate(1e-4, "encoder, decoder and learned prior")

    def for_images(self, image_shape: tuple[int, int, int]) -> Self:
        """Returns the sizes for images [H, W, C], on a grid of half their sides.

        Raises:
          ValueError: a side is odd, or `latent_dim` is given and is another.
        """
        height, width, _ = image_shape
        if height % 2 or width % 2:
            raise ValueError(f"image_shape is {image_shape}, expected even sides")
        small = min(height, width) < _SMALL_SIDE
        num_steps = self.num_steps or (8 if small else 16)
        latent_maps = self.latent_maps or (2 if small else 12)
        latent_dim = num_steps * (height // 2) * (width // 2) * latent_maps
        if self.latent_dim not in (None, latent_dim):
            raise ValueError(
                f"latent_dim is {self.latent_dim}, expected {latent_dim} = {num_steps} steps x "
                f"{height // 2} x {width // 2} x {latent_maps} maps: leave it out, or change these"
            )
        return dataclasses.replace(
            self,
            latent_dim=latent_dim,
            num_steps=num_steps,
            latent_maps=latent_maps,
            hidden_maps=self.hidden_maps or (16 if small else 160),
        )


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


def _head_maps() -> Any:
    return setting(512, "feature maps of the joint head (Table 8)", minimum=1)


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
    head_maps: int = _head_maps()
    learning_rate: float = adam_rate(5e-4, "generator and reconstructor")
    discriminator_learning_rate: float = adam_rate(1e-4, "joint discriminator")


@dataclasses.dataclass(frozen=True)
class ALIConfig(ModelConfig):
    """Adversarially learned inference (Dumoulin et al., 2017), BiGAN (Donahue et al., 2017)."""

    encoder: str = _encoder_kind("gaussian")
    head_maps: int = _head_maps()
    learning_rate: float = adam_rate(5e-4, "encoder and generator")
    discriminator_learning_rate: float = adam_rate(1e-4, "joint discriminator")


@dataclasses.dataclass(frozen=True)
class AVBConfig(ModelConfig):
    """Adversarial variational Bayes (Mescheder et al., 2017; section 6.1, Appendix J)."""

    likelihood: str = _likelihood()
    scale_sharing: str = _scale_sharing()
    noise_dim: int = setting(32, "dimension M of the noise of q(z|x)", minimum=1)
    adaptive_contrast: bool = setting(
        False, "whether T contrasts the codes, standardised by the moments of q(z|x), with N(0, I)"
    )
    contrast_samples: int = setting(
        8, "codes an image that the moments of the adaptive contrast are taken over", minimum=2
    )
    log_prior_in_adversary: bool = setting(
        True, "whether log p(z) is a term of T, so that its network has to learn log q(z|x) alone"
    )
    head_maps: int = _head_maps()
    learning_rate: float = adam_rate(5e-4, "encoder and decoder")
    adversary_learning_rate: float = adam_rate(1e-4, "adversary")


@dataclasses.dataclass(frozen=True)
class WAEConfig(ModelConfig):
    """Wasserstein autoencoder (Tolstikhin et al., 2018; section 6.1).

    What is `None` follows from the images: `for_images` gives the authors' numbers, those for MNIST
    below 32x32 and those for CelebA from there.
    """

    encoder: str = _encoder_kind("deterministic")
    penalty: str = setting(
        "mmd",
        "what draws q(z) towards p(z): the maximum mean discrepancy, or a code discriminator",
        choices=("mmd", "gan"),
    )
    penalty_weight: float = setting(
        None,
        "coefficient λ of the penalty beside the summed squared error on [-1, 1]",
        kind=float,
        minimum=0.0,
        shown_default="200; 800 below 32x32",
    )
    learning_rate: float = setting(
        None,
        "Adam learning rate of the encoder and generator",
        kind=float,
        minimum=0.0,
        maximum=1.0,
        shown_default="1e-4; 1e-3 below 32x32",
    )
    code_discriminator_learning_rate: float = setting(
        None,
        "Adam learning rate of the code discriminator",
        kind=float,
        minimum=0.0,
        maximum=1.0,
        shown_default="5e-5; 5e-4 below 32x32",
    )

    def for_images(self, image_shape: tuple[int, int, int]) -> Self:
        """Returns λ and the rates for images [H, W, C]."""
        numbers = (800.0, 1e-3, 5e-4) if min(image_shape[:2]) < _SMALL_SIDE else (200.0, 1e-4, 5e-5)
        names = ("penalty_weight", "learning_rate", "code_discriminator_learning_rate")
        filled: dict[str, Any] = {
            name: number
            for name, number in zip(names, numbers, strict=True)
            if getattr(self, name) is None
        }
        return dataclasses.replace(self, **filled)


@dataclasses.dataclass(frozen=True)
class AAEPlusPlusConfig(ModelConfig):
    """AAE++: eq. 10, Algorithm 4 without its terms on samples."""

    encoder: str = _encoder_kind("deterministic")
    encoder_reconstruction_weight: float = _l1_weight("encoder")
    generator_reconstruction_weight: float = _l1_weight("generator")
    reconstruction_reduction: str = _reduction("mean")
    updates: str = setting(
        "simultaneous",
        "update all players from one forward pass, or one after the other as in Algorithm 4",
        choices=("simultaneous", "sequential"),
    )
    learning_rate: float = adam_rate(5e-4, "encoder and generator")
    discriminator_learning_rate: float = adam_rate(5e-4, "data discriminator")
    code_discriminator_learning_rate: float = adam_rate(5e-4, "code discriminator")


@dataclasses.dataclass(frozen=True)
class AAEGANConfig(AAEPlusPlusConfig):
    """AAE-GAN: eq. 11, Algorithm 4; samples are fake to the data discriminator too."""
