"""Measures a codec in training on held-out audio, coded whole and crop by crop.

In a crop as short as those of training a frame lacks the context that it has in a
recording. What that costs is the difference of the two.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec import losses
from jaxcodec.tasks import codec_books
from jaxcodec.types import Batch, Metrics


def measure(
  codec: nn.Module,
  variables: Any,
  batch: Batch,
  crop_samples: int,
  mel: Callable[[jax.Array, jax.Array], jax.Array],
) -> Metrics:
  """Measures held-out rows in pieces that are as long as crops of training.

  Args:
    codec: maps (B, N, 1) to its reconstruction and a `Quantized`.
    variables: the codec's.
    batch: audio_BxN, of whole crops, and length_B. A row that is shorter than a crop is
      measured with its padding, and of the others only what is audio.
    crop_samples: length of a crop.
    mel: the mel loss of (original, reconstruction), a mean over rows.

  Returns:
    mel, si_sdr: of pieces that were coded as part of their row.
    mel_crops, si_sdr_crops: of the same pieces, each coded by itself.
    weight: number of pieces; and the quantiser's metrics on whole rows, see
      `codec_books.heard_metrics`.
  """
  audio_BxN = batch["audio_BxN"]
  y_BxNx1, quantized = codec.apply(variables, audio_BxN[..., None])
  real, whole = (x.reshape(-1, crop_samples) for x in (audio_BxN, y_BxNx1))
  alone = whole
  if real.shape != audio_BxN.shape:
    alone = codec.apply(variables, real[..., None])[0][..., 0]
  valid = _is_audio(batch["length_B"], audio_BxN.shape[1], crop_samples)
  real, whole, alone = (jnp.where(valid[:, None], x, 0) for x in (real, whole, alone))
  found, weight = {}, valid.sum()
  for suffix, fake in (("", whole), ("_crops", alone)):
    si_sdr = jnp.where(valid, losses.si_sdr(real, fake), 0)
    found[f"mel{suffix}"] = mel(real, fake) * valid.size / weight
    found[f"si_sdr{suffix}"] = si_sdr.sum() / weight
  heard = codec_books.heard_metrics(codec, quantized, batch["length_B"])
  return {**found, **heard, "weight": weight}


def _is_audio(length_B, samples, crop_samples):
  """Returns which pieces to measure, (B * R,)."""
  end_R = jnp.arange(1, samples // crop_samples + 1) * crop_samples
  needed_R = end_R.at[0].set(1)
  return (length_B[:, None] >= needed_R[None]).reshape(-1)
