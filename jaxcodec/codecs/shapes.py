"""A codec's variables: their shapes, and their form for inference."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.vocoder import Vocoder
from jaxcodec.nn import folding


def variable_shapes(codec: Codec | Vocoder) -> Any:
  """Returns the variables as nested dicts of `ShapeDtypeStruct`s."""
  return jax.eval_shape(codec.init, jax.random.key(0), silence(codec))


def silence(codec: Codec | Vocoder) -> jax.Array:
  """Returns the shortest audio that initialises it."""
  if isinstance(codec, Vocoder):
    return jnp.zeros((1, codec.mel.n_fft))
  return jnp.zeros((1, codec.spec.hop, codec.num_channels))


def fold_for_inference(codec: Codec | Vocoder, params: Any) -> dict[str, Any]:
  """Returns its parameters as inference reads them; see `folding.fold_kernels`."""
  return folding.fold_kernels(params, folding.declared_uses(codec, silence(codec)))
