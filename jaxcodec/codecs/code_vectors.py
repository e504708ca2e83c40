"""What each code of a codec adds to its latent."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.codecs.codec import Codec


def code_vectors(codec: Codec, variables: Any) -> jax.Array:
  """Returns what each code adds to the latent, (K, V, C).

  Codebook k's are those that it adds to codes 0 of the codebooks before.
  """
  spec = codec.spec

  def of_level(level):
    codes_VxK = jnp.zeros((spec.codebook_size, level + 1), jnp.int32)
    codes_VxK = codes_VxK.at[:, level].set(jnp.arange(spec.codebook_size))
    return codec.apply(variables, codes_VxK[None], method=_decode_latent)[0]

  total = [of_level(level) for level in range(spec.num_codebooks)]
  before = [jnp.zeros((1, 1)), *(x_VxC[:1] for x_VxC in total[:-1])]
  return jnp.stack([x - y for x, y in zip(total, before, strict=True)])


def _decode_latent(codec, codes_BxTxK):
  return codec.quantizer.decode(codes_BxTxK)
