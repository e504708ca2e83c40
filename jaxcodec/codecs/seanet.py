"""SEANet, EnCodec's encoder and decoder. Source: encodec/modules (encodec 0.1.1).

Submodules are named after torch's, so that weights move by name.
"""

import dataclasses
import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from jaxcodec.codecs.seanet_layers import (
  Elu,
  ResidualBlock,
  SeanetConv,
  SeanetConvTranspose,
  Style,
)
from jaxcodec.codecs.strides import check_halved, check_strides
from jaxcodec.codecs.windows import Rows, Windows, longest
from jaxcodec.nn.conv import Dtype, mask_frames
from jaxcodec.nn.lstm import ResidualLstm
from jaxcodec.nn.reach import Reach, reach_of, run_layers
from jaxcodec.nn.remat import remat
from jaxcodec.nn.stepping import step_layers

_VARIANCE_KEPT = nn.initializers.lecun_uniform()


class _Seanet(nn.Module):
  """Base of encoder and decoder.

  Attributes:
    width: channels after the first convolution.
    strides: factors in the order in which they are applied; their product is the hop.
    channels: of the audio.
    residual_layers: residual blocks at every stride, of dilations 1, 2, 4, ...
    compress: factor by which residual blocks are narrower inside.
    true_skip: whether to add a block's input as it is, not through a 1x1 convolution.
    lstm_layers: between the strides and the latent; 0 is none.
    norm: `weight_norm` or `time_group_norm`.
    causal: whether no convolution looks ahead.
    pad_mode: `reflect` or `constant`.
    dtype: compute type.
    remat: whether to rematerialise each residual block; see `nn.remat`.
  """

  width: int = 32
  strides: Sequence[int] = (2, 4, 5, 8)
  channels: int = 1
  residual_layers: int = 1
  compress: int = 2
  true_skip: bool = False
  lstm_layers: int = 2
  norm: str = "weight_norm"
  causal: bool = True
  pad_mode: str = "reflect"
  dtype: Dtype = jnp.float32
  remat: bool = False

  def __post_init__(self):
    check_strides(self.strides)
    self._style()
    super().__post_init__()

  @property
  def hop(self) -> int:
    return math.prod(self.strides)

  def _style(self):
    return Style(self.norm, self.causal, self.pad_mode, self.dtype)

  def _residual_blocks(self, width):
    options = dict(compress=self.compress, true_skip=self.true_skip)
    kind = remat(ResidualBlock, self.remat)
    return [
      kind(width, self._style(), 2**i, **options) for i in range(self.residual_layers)
    ]

  @property
  def reach(self) -> Reach:
    return reach_of(self.model)

  def _lstm(self):
    return [ResidualLstm(self.lstm_layers, self.dtype)] if self.lstm_layers else []

  def _convolve(self, layers: slice, limit, x, valid_B):
    """Runs layers without an LSTM in windows of so many frames."""
    seen = reach_of(self.model[layers])
    cut = Rows(limit) if seen.sees_all else Windows(limit, seen)

    def convolve(module, x, valid_B):
      return run_layers(module.model[layers], x, valid_B)[0]

    return cut(convolve, self, x, valid_B), seen.outputs(valid_B)


class SeanetEncoder(_Seanet):
  """Audio (B, N, C) to latent (B, N / hop, latent_dim). Attributes: see `_Seanet`.

  The width is doubled at every stride. Initial weights give latents of about the
  audio's size. Those of the original, torch's defaults, give a hundredth of it: at a
  high learning rate all frames then soon share a constant that is many times larger
  than their differences, and all get the same code.
  """

  latent_dim: int = 128

  @property
  def output_dim(self) -> int:
    return self.latent_dim

  def setup(self):
    style, width = self._style(), self.width
    model = [SeanetConv(width, style, 7)]
    for stride in self.strides:
      model += [*self._residual_blocks(width), Elu()]
      width *= 2
      model.append(SeanetConv(width, style, 2 * stride, stride))
    last = SeanetConv(self.latent_dim, style, 7)
    self.model = [*model, *self._lstm(), Elu(), last]

  def _style(self):
    return dataclasses.replace(super()._style(), kernel_init=_VARIANCE_KEPT)

  def __call__(self, x_BxNxC, valid_B=None, *, train=False):
    """Returns latents (B, N / hop, latent_dim) float32.

    N must be a multiple of the hop; valid_B counts samples.
    """
    x = mask_frames(x_BxNxC, valid_B)
    count = 1 + len(self.strides) * (self.residual_layers + 2)  # before the LSTM
    limit = longest(self.width, train)
    x, valid_B = self._convolve(slice(count), limit, x, valid_B)
    return run_layers(self.model[count:], x, valid_B)[0].astype(jnp.float32)

  def step(self, x_BxNxC, states=None, valid_B=None):
    """Encodes the next samples of a stream, if it is causal; see `nn.stepping`."""
    x = mask_frames(x_BxNxC, valid_B)
    z_BxTxD, states, _ = step_layers(self.model, x, states, valid_B)
    return z_BxTxD.astype(jnp.float32), states


class SeanetDecoder(_Seanet):
  """Latent (B, T, D) to audio (B, T * hop, C). Attributes: see `_Seanet`.

  The width is halved at every stride.

  Attributes:
    final_tanh: whether a tanh bounds the audio to [-1, 1].
  """

  width: int = 512
  strides: Sequence[int] = (8, 5, 4, 2)
  final_tanh: bool = False

  def __post_init__(self):
    super().__post_init__()
    check_halved(self.width, self.strides)

  def setup(self):
    style, width = self._style(), self.width
    model = [SeanetConv(width, style, 7), *self._lstm()]
    for stride in self.strides:
      width //= 2
      model += [Elu(), SeanetConvTranspose(width, stride, style)]
      model += self._residual_blocks(width)
    self.model = [*model, Elu(), SeanetConv(self.channels, style, 7)]

  def __call__(self, z_BxTxD, valid_B=None, *, num_codebooks=None, train=False):
    """Returns audio (B, T * hop, C) float32; valid_B counts frames."""
    head = 2 if self.lstm_layers else 1  # layers up to the LSTM, with it
    x = mask_frames(z_BxTxD, valid_B)
    x, valid_B = run_layers(self.model[:head], x, valid_B)
    limit = longest(self.width // 2 ** len(self.strides), train) // self.hop
    x, _ = self._convolve(slice(head, None), limit, x, valid_B)
    return self._bounded(x)

  def step(self, z_BxTxD, states=None, valid_B=None):
    """Decodes the next frames of a stream, if it is causal; see `nn.stepping`."""
    x = mask_frames(z_BxTxD, valid_B)
    x, states, _ = step_layers(self.model, x, states, valid_B)
    return self._bounded(x), states

  def _bounded(self, x_BxNxC):
    x_BxNxC = x_BxNxC.astype(jnp.float32)
    return jnp.tanh(x_BxNxC) if self.final_tanh else x_BxNxC
