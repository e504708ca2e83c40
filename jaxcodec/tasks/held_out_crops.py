"""Held-out audio through a codec in training, whole and in crops.

In a crop as short as those of training a frame lacks the context that it has in a
recording. What that costs is the difference of the two.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.types import Batch, Metrics


class Coded(NamedTuple):
  """Pieces (B * R, N / R) of held-out rows (B, N), cut as crops of training are.

  Attributes:
    real: the originals.
    whole: reconstructed as part of the whole rows.
    alone: each piece reconstructed by itself.
    valid: (B * R,), which are audio; those behind a row's end aren't.
    metrics: of the quantiser, on whole rows.
  """

  real: jax.Array
  whole: jax.Array
  alone: jax.Array
  valid: jax.Array
  metrics: Metrics


def code(codec: nn.Module, variables: Any, batch: Batch, crop_samples: int) -> Coded:
  """Reconstructs a held-out batch in both ways; what isn't valid comes out as 0.

  Args:
    codec: maps (B, N, 1) to its reconstruction and a `Quantized`.
    variables: the codec's.
    batch: audio_BxN, of whole crops, and length_B.
    crop_samples: length of a crop.
  """
  audio_BxN, length_B = batch["audio_BxN"], batch["length_B"]
  y_BxNx1, quantized = codec.apply(variables, audio_BxN[..., None])
  real, whole = (x.reshape(-1, crop_samples) for x in (audio_BxN, y_BxNx1))
  alone = whole
  if real.shape != audio_BxN.shape:
    alone = codec.apply(variables, real[..., None])[0][..., 0]
  end_R = jnp.arange(1, audio_BxN.shape[1] // crop_samples + 1) * crop_samples
  # A row that is shorter than a crop is measured with its padding.
  needed_R = end_R.at[0].set(1)
  valid = (length_B[:, None] >= needed_R[None]).reshape(-1)
  real, whole, alone = (jnp.where(valid[:, None], x, 0) for x in (real, whole, alone))
  return Coded(real, whole, alone, valid, quantized.metrics)
