"""HuBERT: hidden states of speech, which cluster by what is said.

Source: Hsu et al. 2021 (arXiv 2106.07447) and transformers' HubertModel, in the layouts
of `facebook/hubert-base-ls960` and `facebook/hubert-large-ll60k`. Submodules are named
after transformers', so that weights move by name.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.nn.conv import Conv1d
from jaxcodec.nn.norm import TimeGroupNorm
from jaxcodec.nn.ops import gelu
from jaxcodec.nn.visibility import bidirectional
from jaxcodec.semantic.layer import Layer, layer_norm

SAMPLE_RATE = 16_000
# torch's default, which transformers' convolutions keep.
_CONV_EPSILON = 1e-5


class Hubert(nn.Module):
  """Convolutions to 50 frames a second, then transformer layers.

  Attributes:
    width: of the hidden states.
    mlp_width, depth, heads: of the transformer.
    conv_width: channels of every convolution.
    kernels, strides: of the convolutions, in frames of their input.
    position_taps, position_groups: of the convolution that tells positions.
    epsilon: of the layer norms.
    conv_norm: `group`, each channel of the first convolution over time, or `layer`,
      the channels of every convolution's frames.
    conv_bias: whether the convolutions have one.
    pre_norm: whether layers norm what they read, not what they give.
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
  conv_norm: str = "group"
  conv_bias: bool = False
  pre_norm: bool = False

  @property
  def hop(self) -> int:
    """Samples from one frame to the next."""
    return math.prod(self.strides)

  @property
  def window(self) -> int:
    """Samples that a frame of the convolutions depends on."""
    samples = 1
    for kernel, stride in zip(self.kernels[::-1], self.strides[::-1], strict=True):
      samples = (samples - 1) * stride + kernel
    return samples

  def num_frames(self, samples):
    """Returns how many windows fit in so many samples, at least `window`."""
    return (samples - self.window) // self.hop + 1

  def __call__(
    self,
    audio_BxN: jax.Array,
    length_B: jax.Array | None = None,
    layer: int | None = None,
  ) -> jax.Array:
    """Returns the last of `states`, (B, num_frames(N), width) float32."""
    return self.states(audio_BxN, length_B, layer)[-1]

  @nn.compact
  def states(
    self,
    audio_BxN: jax.Array,
    length_B: jax.Array | None = None,
    layer: int | None = None,
  ) -> list[jax.Array]:
    """Returns hidden states before the first layer and after each.

    Each is (B, num_frames(N), width). A row's valid frames don't depend on its padding:
    the first norm takes statistics of valid frames alone, where that of transformers
    includes padding. States of other frames are finite and meaningless.

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
        f"audio needs at least {self.window} samples, got {audio_BxN.shape[1]}"
      )
    x_BxTxD, valid_B = self._extract(audio_BxN[:, :, None], length_B)
    x_BxTxD = layer_norm(self.epsilon, "projection_norm")(x_BxTxD)
    x_BxTxD = nn.Dense(self.width, name="projection")(x_BxTxD)
    x_BxTxD = x_BxTxD + self._positions(x_BxTxD, valid_B)
    encoder_norm = layer_norm(self.epsilon, "encoder_norm")
    states = [x_BxTxD if self.pre_norm else encoder_norm(x_BxTxD)]
    visible_BxTxS = bidirectional(_valid(x_BxTxD.shape[1], valid_B)).dense()
    bias_HxTxS = self._bias(x_BxTxD.shape[1])
    for i in range(layer):
      block = Layer(
        self.heads,
        self.mlp_width,
        self.epsilon,
        self.pre_norm,
        name=f"layers_{i}",
      )
      states.append(block(states[-1], visible_BxTxS, bias_HxTxS))
    if self.pre_norm and layer == self.depth:
      states[-1] = encoder_norm(states[-1])
    return states

  def _extract(self, x_BxTxC, valid_B):
    """Returns the convolutions' frames and how many of each row are valid."""
    for i, (kernel, stride) in enumerate(zip(self.kernels, self.strides, strict=True)):
      x_BxTxC = Conv1d(
        self.conv_width,
        kernel,
        stride,
        padding=0,
        weight_norm=False,
        use_bias=self.conv_bias,
        name=f"conv_layers_{i}",
      )(x_BxTxC, valid_B)
      if valid_B is not None:
        valid_B = jnp.maximum((valid_B - kernel) // stride + 1, 0)
      if self.conv_norm == "layer":
        x_BxTxC = layer_norm(_CONV_EPSILON, f"conv_norms_{i}")(x_BxTxC)
      elif i == 0:
        x_BxTxC = TimeGroupNorm(each_channel=True, name="conv_norm")(x_BxTxC, valid_B)
      x_BxTxC = gelu(x_BxTxC)
    return x_BxTxC, valid_B

  def _positions(self, x_BxTxD, valid_B):
    """Returns position embeddings, by a convolution over more than two seconds."""
    y_BxTxD = Conv1d(
      self.width,
      self.position_taps,
      padding=self.position_taps // 2,
      groups=self.position_groups,
      norm_axis=0,
      name="position",
    )(x_BxTxD, valid_B)
    # An even number of taps gives one frame more.
    return gelu(y_BxTxD[:, : x_BxTxD.shape[1]])

  def _bias(self, frames):
    """Returns what layers gate and add to attention scores; None for HuBERT."""
    return None


def _valid(frames, valid_B):
  """Returns which frames are valid, (B, T), or (1, T) if all are."""
  if valid_B is None:
    return jnp.ones((1, frames), bool)
  return jnp.arange(frames)[None] < valid_B[:, None]
