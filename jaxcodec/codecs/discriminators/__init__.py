"""The discriminators of DAC, EnCodec and Vocos, and ensembles of them.

A discriminator maps audio (B, N) to its feature maps, the score last. Channels are a
multiple of `width`, so that small models keep the shape.
"""

from jaxcodec.codecs.discriminators.ensemble import (
  DacDiscriminator,
  EncodecDiscriminator,
  VocosDiscriminator,
)

__all__ = ["DacDiscriminator", "EncodecDiscriminator", "VocosDiscriminator"]
