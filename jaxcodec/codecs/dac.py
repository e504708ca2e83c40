"""DAC's encoder and decoder. Source: dac/model/dac.py (descript-audio-codec 1.0.0).

Submodules are named after torch's, so that weights move by name.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from jaxcodec.codecs.strides import check_halved, check_strides
from jaxcodec.codecs.windows import Windows, longest
from jaxcodec.nn.conv import Conv1d, ConvTranspose1d, Dtype, mask_frames
from jaxcodec.nn.reach import Reach, reach_of, run_layers
from jaxcodec.nn.remat import remat
from jaxcodec.nn.snake import Snake

_DILATIONS = (1, 3, 9)
_WIDE = 2  # blocks next to the audio, which run in shorter windows than the others
_LONGER = 8  # how many times longer the windows of the others are


class ResidualUnit(nn.Module):
  """Snake, dilated convolution, Snake, 1x1 convolution, and a skip."""

  width: int
  dilation: int
  dtype: Dtype = jnp.float32

  def setup(self):
    self.block = [
      Snake(),
      Conv1d(self.width, 7, dilation=self.dilation, dtype=self.dtype),
      Snake(),
      Conv1d(self.width, dtype=self.dtype),
    ]

  def __call__(self, x_BxTxC, valid_B=None):
    first, wide, second, point = self.block
    return x_BxTxC + point(second(wide(first(x_BxTxC), valid_B)))

  @property
  def reach(self) -> Reach:
    return reach_of(self.block)


class EncoderBlock(nn.Module):
  """Three residual units and a strided convolution to twice the channels."""

  width: int
  stride: int
  dtype: Dtype = jnp.float32

  def setup(self):
    units = [ResidualUnit(self.width // 2, d, self.dtype) for d in _DILATIONS]
    s, pad = self.stride, math.ceil(self.stride / 2)
    down = Conv1d(self.width, 2 * s, stride=s, padding=pad, dtype=self.dtype)
    self.block = [*units, Snake(), down]

  def __call__(self, x_BxTxC, valid_B=None):
    *units, snake, down = self.block
    x_BxTxC, _ = run_layers(units, x_BxTxC, valid_B)
    return down(snake(x_BxTxC), valid_B)

  @property
  def reach(self) -> Reach:
    return reach_of(self.block)


class DecoderBlock(nn.Module):
  """A transposed convolution to half the channels and three residual units."""

  width: int
  stride: int
  exact: bool
  dtype: Dtype = jnp.float32

  def setup(self):
    up = ConvTranspose1d(self.width, self.stride, self.exact, self.dtype)
    units = [ResidualUnit(self.width, d, self.dtype) for d in _DILATIONS]
    self.block = [Snake(), up, *units]

  def __call__(self, x_BxTxC, valid_B=None):
    snake, up, *units = self.block
    x_BxTxC = up(snake(x_BxTxC), valid_B)
    return run_layers(units, x_BxTxC, up.reach.outputs(valid_B))[0]

  @property
  def reach(self) -> Reach:
    return reach_of(self.block)


class DacEncoder(nn.Module):
  """Audio (B, N, 1) to latent (B, N / hop, latent_dim).

  Attributes:
    width: channels after the first convolution, doubled at every stride.
    strides: downsampling factors; their product is the hop.
    latent_dim: D; width * 2 ** len(strides) if None.
    dtype: compute type.
    remat: whether to rematerialise each stride's block; see `nn.remat`.
  """

  width: int = 64
  strides: Sequence[int] = (2, 4, 5, 8)
  latent_dim: int | None = None
  dtype: Dtype = jnp.float32
  remat: bool = False

  channels = 1

  def __post_init__(self):
    check_strides(self.strides)
    super().__post_init__()

  @property
  def hop(self) -> int:
    return math.prod(self.strides)

  @property
  def output_dim(self) -> int:
    return self.latent_dim or self.width * 2 ** len(self.strides)

  def setup(self):
    kind = remat(EncoderBlock, self.remat)
    blocks = [
      kind(self.width * 2 ** (i + 1), stride, self.dtype)
      for i, stride in enumerate(self.strides)
    ]
    first = Conv1d(self.width, 7, dtype=self.dtype)
    last = Conv1d(self.output_dim, 3, dtype=self.dtype)
    self.block = [first, *blocks, Snake(), last]

  def __call__(self, x_BxNxC, valid_B=None, *, train=False):
    """Returns latents (B, N / hop, latent_dim) float32.

    N must be a multiple of the hop; valid_B counts samples, and zeros stand for the
    others.
    """
    if valid_B is not None:
      x_BxNxC = mask_frames(x_BxNxC, valid_B)
      valid_B = -(-valid_B // self.hop) * self.hop
    limit = longest(self.width, train)
    wide = Windows(limit, reach_of(self._layers(near_audio=True)))

    def encode(module, x, valid_B):
      x = wide(near_audio, module, x, valid_B)
      rest = module._layers(near_audio=False)
      return run_layers(rest, x, wide.reach.outputs(valid_B))[0]

    def near_audio(module, x, valid_B):
      return run_layers(module._layers(near_audio=True), x, valid_B)[0]

    cut = Windows(_LONGER * limit, self.reach)
    return cut(encode, self, x_BxNxC, valid_B).astype(jnp.float32)

  @property
  def reach(self) -> Reach:
    return reach_of(self.block)

  def _layers(self, near_audio):
    first, *blocks, snake, last = self.block
    return [first, *blocks[:_WIDE]] if near_audio else [*blocks[_WIDE:], snake, last]


class DacDecoder(nn.Module):
  """Latent (B, T, D) to audio (B, T * hop, 1) in [-1, 1].

  Attributes:
    width: channels after the first convolution, halved at every stride.
    strides: upsampling factors; their product is the hop.
    exact: see `ConvTranspose1d`.
    dtype: compute type.
    remat: whether to rematerialise each stride's block; see `nn.remat`.
  """

  width: int = 1536
  strides: Sequence[int] = (8, 5, 4, 2)
  exact: bool = True
  dtype: Dtype = jnp.float32
  remat: bool = False

  channels = 1

  def __post_init__(self):
    check_strides(self.strides)
    check_halved(self.width, self.strides)
    super().__post_init__()

  @property
  def hop(self) -> int:
    return math.prod(self.strides)

  def setup(self):
    kind = remat(DecoderBlock, self.remat)
    blocks = [
      kind(self.width // 2 ** (i + 1), stride, self.exact, self.dtype)
      for i, stride in enumerate(self.strides)
    ]
    first = Conv1d(self.width, 7, dtype=self.dtype)
    last = Conv1d(1, 7, dtype=self.dtype)
    self.model = [first, *blocks, Snake(), last]

  def __call__(self, z_BxTxD, valid_B=None, *, num_codebooks=None, train=False):
    """Returns audio (B, T * hop, 1) float32; valid_B counts frames."""
    limit = longest(self.width // 2 ** len(self.strides), train)
    seen = reach_of(self._layers(near_audio=True))
    wide = Windows(limit // seen.up, seen)

    def decode(module, z, valid_B):
      far = module._layers(near_audio=False)
      return wide(near_audio, module, *run_layers(far, z, valid_B))

    def near_audio(module, x, valid_B):
      return run_layers(module._layers(near_audio=True), x, valid_B)[0]

    cut = Windows(_LONGER * limit // self.hop, self.reach)
    return jnp.tanh(cut(decode, self, z_BxTxD, valid_B).astype(jnp.float32))

  @property
  def reach(self) -> Reach:
    return reach_of(self.model)

  def _layers(self, near_audio):
    first, *blocks, snake, last = self.model
    return [*blocks[-_WIDE:], snake, last] if near_audio else [first, *blocks[:-_WIDE]]
