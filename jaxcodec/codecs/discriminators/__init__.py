"""The discriminators of DAC, EnCodec and Vocos, and ensembles of them.

A discriminator maps audio (B, N) to its feature maps, the score last. Layers have
multiples of `width` channels, so that a small model is the original in miniature.
"""

from jaxcodec.codecs.discriminators.ensemble import (
  DacDiscriminator,
  EncodecDiscriminator,
  VocosDiscriminator,
)

__all__ = ["DacDiscriminator", "EncodecDiscriminator", "VocosDiscriminator"]
