"""The models of the paper, one file each: losses, players and a `train_step`.

Every model is a plain Keras model that works with `compile`, `fit` and `save` in any script:
`from tfdm.models import VAE`. The names come from the registry; a model's module, and with it
TensorFlow, is imported when the name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfdm.lazy import lazy_attributes

if TYPE_CHECKING:
    from tfdm.models.aae import AAE as AAE
    from tfdm.models.aae_gan import AAEGAN as AAEGAN
    from tfdm.models.aae_plus_plus import AAEPlusPlus as AAEPlusPlus
    from tfdm.models.ali import ALI as ALI
    from tfdm.models.avb import AVB as AVB
    from tfdm.models.dcgan import DCGAN as DCGAN
    from tfdm.models.draw import DRAW as DRAW
    from tfdm.models.vae import VAE as VAE
    from tfdm.models.veegan import VEEGAN as VEEGAN
    from tfdm.models.wae import WAE as WAE
    from tfdm.models.wgan_gp import WGANGP as WGANGP

__getattr__, __dir__, __all__ = lazy_attributes(__name__)
