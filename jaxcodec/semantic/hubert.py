"""HuBERT: hidden states of speech, which cluster by what is said.

Source: Hsu et al. 2021 (arXiv 2106.07447) and transformers' HubertModel, in the layout
of `facebook/hubert-base-ls960`. Submodules are named after transformers', so that
weights move by name.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.nn.attention import attend, bidirectional
from jaxcodec.nn.conv import Conv1d
from jaxcodec.nn.gelu import gelu
from jaxcodec.nn.norm import TimeGroupNorm

SAMPLE_RATE = 16_000


class Hubert(nn.Module):
  """Convolutions to 50 frames a second, then post-norm transformer layers.

  Attributes:
    width: of the hidden states.
    mlp_width, depth, heads: of the transformer.
    conv_width: channels of every convolution.
    kernels, strides: of the convolutions, in frames of their input.
    position_taps, position_groups: of the convolution that tells positions.
    epsilon: of the layer norms.
  """

  width: int = 768
  mlp_width: int = 3072
  depth: int = 12
  heads: int = 12
  conv_width: int = 512
  kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
  strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
  position_taps: int = 128
  position_groups: int = 16
  epsilon: float = 1e-5

  @property
  def hop(self) -> int:
    """Samples from one frame to the next."""
    return math.prod(self.strides)

  @property
  def window(self) -> int:
    """Samples that a frame of the convolutions sees."""
    samples = 1
    for kernel, stride in zip(self.kernels[::-1], self.strides[::-1], strict=True):
      samples = (samples - 1) * stride + kernel
    return samples

  def num_frames(self, samples):
    """Frames of so many samples, at least `window`: the windows that lie in them."""
    return (samples - self.window) // self.hop + 1

  @nn.compact
  def __call__(
    self,
    audio_BxN: jax.Array,
    length_B: jax.Array | None = None,
    layer: int | None = None,
  ) -> jax.Array:
    """Hidden states, (B, num_frames(N), width) float32.

    The states of a row's valid frames are those that it has alone, whatever its padding
    holds: transformers' first norm takes padding into its statistics, this one only
    valid frames. States of other frames mean nothing, but are finite.

    Args:
      audio_BxN: audio at 16 kHz, at least `window` samples.
      length_B: valid samples of each row; all if None.
      layer: after how many transformer layers, 0 to `depth`; the last if None.

    Raises:
      ValueError: no such layer, or audio shorter than one window.
    """
    layer = self.depth if layer is None else layer
    if not 0 <= layer <= self.depth:
      raise ValueError(f"layer must be in 0..{self.depth}, got {layer}")
    if audio_BxN.shape[1] < self.window:
      raise ValueError(
        f"HuBERT needs at least {self.window} samples, got {audio_BxN.shape[1]}"
      )
    x_BxTxD, valid_B = self._extracted(audio_BxN[:, :, None], length_B)
    x_BxTxD = _layer_norm(self.epsilon, "projection_norm")(x_BxTxD)
    x_BxTxD = nn.Dense(self.width, name="projection")(x_BxTxD)
    x_BxTxD = x_BxTxD + self._positions(x_BxTxD, valid_B)
    x_BxTxD = _layer_norm(self.epsilon, "encoder_norm")(x_BxTxD)
    visible_BxTxS = bidirectional(_valid(x_BxTxD.shape[1], valid_B))
    for i in range(layer):
      block = Layer(self.heads, self.mlp_width, self.epsilon, name=f"layers_{i}")
      x_BxTxD = block(x_BxTxD, visible_BxTxS)
    return x_BxTxD

  def _extracted(self, x_BxTxC, valid_B):
    """The convolutions' frames and how many of each row are valid."""
    for i, (kernel, stride) in enumerate(zip(self.kernels, self.strides, strict=True)):
      x_BxTxC = Conv1d(
        *(self.conv_width, kernel, stride),
        padding=0,
        weight_norm=False,
        use_bias=False,
        name=f"conv_layers_{i}",
      )(x_BxTxC, valid_B)
      if valid_B is not None:
        valid_B = jnp.maximum((valid_B - kernel) // stride + 1, 0)
      if i == 0:
        x_BxTxC = TimeGroupNorm(each_channel=True, name="conv_norm")(x_BxTxC, valid_B)
      x_BxTxC = gelu(x_BxTxC)
    return x_BxTxC, valid_B

  def _positions(self, x_BxTxD, valid_B):
    """What a convolution over more than two seconds says of each frame's place."""
    y_BxTxD = Conv1d(
      *(self.width, self.position_taps),
      padding=self.position_taps // 2,
      groups=self.position_groups,
      norm_axis=0,
      name="position",
    )(x_BxTxD, valid_B)
    # An even number of taps gives one frame more.
    return gelu(y_BxTxD[:, : x_BxTxD.shape[1]])


class Layer(nn.Module):
  """Attention and a feed-forward network, each followed by a norm."""

  heads: int
  mlp_width: int
  epsilon: float

  @nn.compact
  def __call__(self, x_BxTxD, visible_BxTxS):
    B, T, D = x_BxTxD.shape

    def heads(name):
      y_BxTxD = nn.Dense(D, name=name)(x_BxTxD)
      return y_BxTxD.reshape(B, T, self.heads, -1).swapaxes(1, 2)

    q, k, v = map(heads, ("q_proj", "k_proj", "v_proj"))
    y_BxTxD = attend(q, k, v, visible_BxTxS).swapaxes(1, 2).reshape(B, T, D)
    x_BxTxD = x_BxTxD + nn.Dense(D, name="out_proj")(y_BxTxD)
    x_BxTxD = _layer_norm(self.epsilon, "layer_norm")(x_BxTxD)
    y_BxTxF = gelu(nn.Dense(self.mlp_width, name="intermediate_dense")(x_BxTxD))
    x_BxTxD = x_BxTxD + nn.Dense(D, name="output_dense")(y_BxTxF)
    return _layer_norm(self.epsilon, "final_layer_norm")(x_BxTxD)


def _layer_norm(epsilon, name):
  # The fast variance is a difference of large numbers.
  return nn.LayerNorm(epsilon, use_fast_variance=False, name=name)


def _valid(frames, valid_B):
  """Which frames are valid, (B, T); B is 1 if they are in every row."""
  if valid_B is None:
    return jnp.ones((1, frames), bool)
  return jnp.arange(frames)[None] < valid_B[:, None]
