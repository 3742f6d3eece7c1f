"""Networks on codes: the code discriminator of Appendix K.5.3.

Shapes: B batch, L latent dimension.
"""

from __future__ import annotations

import keras

from tfdm.networks.layers import LayerFactory, logit, sequential

UNITS = 1000
NUM_LAYERS = 3


def code_features(make: LayerFactory, codes: keras.KerasTensor) -> keras.KerasTensor:
    """Three leaky layers of 1000 units, without normalisation: [B, L] -> [B, 1000]."""
    hidden = codes
    for _ in range(NUM_LAYERS):
        hidden = sequential(hidden, [make.dense(make.scaled(UNITS)), make.leaky_relu()])
    return hidden


def code_discriminator(make: LayerFactory, latent_dim: int) -> keras.Model:
    """Codes [B, L] -> logits [B], log p(z) - log q(z) at the optimum."""
    codes = keras.Input([latent_dim], name="codes")
    logits = logit(make, code_features(make, codes))
    return keras.Model(codes, logits, name=make.name)
