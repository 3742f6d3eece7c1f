"""Priors over codes."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd


def standard_normal(latent_dim: int) -> tfd.Distribution:
    """The prior p(z) = N(0, I) of every model (K.4).

    Codes are float32 [..., latent_dim]; `log_prob` maps them to [...], nats.

    Raises:
      ValueError: `latent_dim` is not positive.
    """
    if latent_dim < 1:
        raise ValueError(f"latent_dim is {latent_dim}, expected 1 or more")
    return tfd.MultivariateNormalDiag(
        loc=tf.zeros([latent_dim]), scale_diag=tf.ones([latent_dim]), name="standard_normal"
    )
