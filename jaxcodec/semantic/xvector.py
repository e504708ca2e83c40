"""The head that maps WavLM's hidden states to a speaker vector.

Source: Snyder et al. 2018, "X-vectors: robust DNN embeddings for speaker recognition",
and transformers' WavLMForXVector.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.nn.conv import Conv1d, mask_frames


class XVector(nn.Module):
  """Dilated convolutions, then mean and standard deviation over the frames.

  Attributes:
    widths, kernels, dilations: of the convolutions.
    output_width: of the vector.
    weighted: whether to take a learnt mean of all hidden states, not the last one.
  """

  widths: tuple[int, ...] = (512, 512, 512, 512, 1500)
  kernels: tuple[int, ...] = (5, 3, 3, 1, 1)
  dilations: tuple[int, ...] = (1, 2, 3, 1, 1)
  output_width: int = 512
  weighted: bool = False

  @property
  def context(self) -> int:
    """Frames by which the convolutions shorten their input."""
    return sum(
      dilation * (kernel - 1)
      for kernel, dilation in zip(self.kernels, self.dilations, strict=True)
    )

  @nn.compact
  def __call__(self, states: Sequence[jax.Array], valid_B: jax.Array) -> jax.Array:
    """Returns speaker vectors (B, output_width), which aren't normalised.

    Args:
      states: hidden states before the first layer and after each, each (B, T, D).
      valid_B: valid frames of each row, at least `context` + 2.
    """
    x_BxTxC = states[-1]
    if self.weighted:
      even = nn.initializers.constant(1 / len(states))
      share_L = jax.nn.softmax(self.param("layer_weights", even, (len(states),)))
      x_BxTxC = sum(share_L[i] * state for i, state in enumerate(states))
    x_BxTxC = nn.Dense(self.widths[0], name="projector")(x_BxTxC)
    layers = zip(self.widths, self.kernels, self.dilations, strict=True)
    for i, (width, kernel, dilation) in enumerate(layers):
      conv = Conv1d(
        width,
        kernel,
        dilation=dilation,
        padding=0,
        weight_norm=False,
        name=f"tdnn_{i}",
      )
      x_BxTxC = nn.relu(conv(x_BxTxC, valid_B))
      valid_B = valid_B - dilation * (kernel - 1)
    pooled_BxC = _mean_and_deviation(x_BxTxC, valid_B)
    return nn.Dense(self.output_width, name="feature_extractor")(pooled_BxC)


def _mean_and_deviation(x_BxTxC, valid_B):
  """Returns mean and unbiased deviation over valid frames, concatenated, (B, 2 C)."""
  count_Bx1 = valid_B[:, None]
  mean_BxC = mask_frames(x_BxTxC, valid_B).sum(1) / count_Bx1
  centred_BxTxC = mask_frames(x_BxTxC - mean_BxC[:, None], valid_B)
  variance_BxC = (centred_BxTxC * centred_BxTxC).sum(1) / (count_Bx1 - 1)
  return jnp.concatenate([mean_BxC, jnp.sqrt(variance_BxC)], axis=-1)
