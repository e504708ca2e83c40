"""Embeddings and heads that begin with the codec's own codebooks.

Codes that are near each other sound alike. A model whose rows begin as random ones has
to find that out for each of the K * V codes.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.types import SpeechLanguageModel

# Called with a width D: rows of codes (K, V, D) for embeddings, (K, D, V) for heads.
CodeRows = Callable[[int], tuple[jax.Array, jax.Array]]

_TINY = 1e-12


def begin(
  model: SpeechLanguageModel, params: Any, rng: jax.Array, vector_KxVxC: jax.Array
) -> Any:
  """Returns the parameters with every code's rows made of its vector in the codec.

  The vectors are mapped to the model's width at random: by one map for embeddings, so
  that a frame's sum is the image of what its codes add up to, and by one for heads.

  Args:
    model: has `with_codebooks`, which is given its parameters and a `CodeRows`.
    params: its parameters, which keep what isn't of codes.
    rng: draws the maps.
    vector_KxVxC: what each code adds to the codec's latent.
  """
  whitened, (embed_key, head_key) = _whiten(vector_KxVxC), jax.random.split(rng)

  def rows(width):
    head_KxVxD = _project(head_key, whitened, width)
    return _project(embed_key, whitened, width), head_KxVxD.swapaxes(1, 2)

  return model.with_codebooks(params, rows)


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
