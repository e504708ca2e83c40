"""Embeddings and heads that begin with the codec's own codebooks.

Codes that are near each other sound alike. A model whose rows begin as random ones has
to find that out for each of the K * V codes.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.codecs.codec import Codec
from jaxcodec.types import SpeechLanguageModel

_TINY = 1e-12


def begin(
  model: SpeechLanguageModel,
  params: Any,
  rng: jax.Array,
  codec: Codec,
  variables: Any,
) -> Any:
  """Returns the parameters with every code's rows made of its vector in the codec.

  The vectors are mapped to the model's width at random: by one map for embeddings, so
  that a frame's sum is the image of what its codes add up to, and by one for heads.

  Args:
    model: has `with_codebooks`.
    params: its parameters, which keep what isn't of codes.
    rng: draws the maps.
    codec: whose codes the model is for.
    variables: the codec's.
  """
  vector_KxVxC = _whiten(code_vectors(codec, variables))
  width = model.width
  embed, head = (_project(key, vector_KxVxC, width) for key in jax.random.split(rng))
  return model.with_codebooks(params, embed, head.swapaxes(1, 2))


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


def _whiten(vector_KxVxC):
  """Returns the vectors with each codebook's mean 0 and mean squared length C."""
  centred = vector_KxVxC - vector_KxVxC.mean(1, keepdims=True)
  power = jnp.mean(centred**2, (1, 2), keepdims=True)
  return centred * jax.lax.rsqrt(power + _TINY)


def _project(rng, vector_KxVxC, width):
  """Maps to `width` channels; the expected squared length of a row becomes 1."""
  channels = vector_KxVxC.shape[2]
  scale = (channels * width) ** -0.5
  return vector_KxVxC @ (scale * jax.random.normal(rng, (channels, width)))
