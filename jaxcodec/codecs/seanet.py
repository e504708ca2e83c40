"""SEANet, EnCodec's encoder and decoder. Source: encodec/modules (encodec 0.1.1).

Submodules are named after torch's, so that weights move by name. Layers of `model` map
(x_BxTxC, valid_B) to their output and multiply or divide frames by their `stride`.
"""

import dataclasses
import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from jaxcodec.codecs.strides import check_halved, check_strides
from jaxcodec.nn.conv import Conv1d, ConvTranspose1d, Dtype, mask_frames
from jaxcodec.nn.elu import elu
from jaxcodec.nn.lstm import ResidualLstm
from jaxcodec.nn.norm import TimeGroupNorm
from jaxcodec.nn.padding import MODES, pad_frames
from jaxcodec.nn.remat import remat

NORMS = ("weight_norm", "time_group_norm")
_VARIANCE_KEPT = nn.initializers.lecun_uniform()


@dataclasses.dataclass(frozen=True)
class Style:
  """What all convolutions of a SEANet have in common; see `SeanetEncoder`."""

  norm: str
  causal: bool
  pad_mode: str
  dtype: Dtype
  kernel_init: nn.initializers.Initializer | None = None

  def __post_init__(self):
    if self.norm not in NORMS:
      raise ValueError(f"norm must be one of {NORMS}, got {self.norm!r}")
    if self.pad_mode not in MODES:
      raise ValueError(f"pad_mode must be one of {MODES}, got {self.pad_mode!r}")
    if self.causal and self.norm == "time_group_norm":
      raise ValueError("norm 'time_group_norm' looks ahead: it cannot be causal")

  @property
  def weight_norm(self) -> bool:
    return self.norm == "weight_norm"


class Elu(nn.Module):
  """ELU as a layer of `model`."""

  stride = 1

  def __call__(self, x_BxTxC, valid_B=None):
    return elu(x_BxTxC)


class SeanetConv(nn.Module):
  """Convolution to ceil(T / stride) frames, padded as in EnCodec (SConv1d)."""

  features: int
  style: Style
  kernel_size: int = 1
  stride: int = 1
  dilation: int = 1

  def setup(self):
    self.conv = Conv1d(
      *(self.features, self.kernel_size, self.stride, self.dilation),
      padding=0,
      dtype=self.style.dtype,
      weight_norm=self.style.weight_norm,
      kernel_init=self.style.kernel_init,
    )
    self.conv_norm = None if self.style.weight_norm else TimeGroupNorm()

  def __call__(self, x_BxTxC, valid_B=None):
    around = (self.kernel_size - 1) * self.dilation - (self.stride - 1)
    right = 0 if self.style.causal else around // 2
    if around:
      x_BxTxC = pad_frames(
        *(x_BxTxC, around - right, right, self.stride, valid_B, self.style.pad_mode)
      )
    y_BxTxC = self.conv(x_BxTxC)
    if self.conv_norm is None:
      return y_BxTxC
    frames_B = None if valid_B is None else -(-valid_B // self.stride)
    return self.conv_norm(y_BxTxC, frames_B)


class SeanetConvTranspose(nn.Module):
  """Transposed convolution to stride * T frames (SConvTranspose1d).

  The norm sees the frames that are then cut off.
  """

  features: int
  stride: int
  style: Style

  def setup(self):
    self.convtr = ConvTranspose1d(
      *(self.features, self.stride),
      dtype=self.style.dtype,
      weight_norm=self.style.weight_norm,
      trim=0 if self.style.causal else None,
      whole=not self.style.weight_norm,
    )
    self.convtr_norm = None if self.style.weight_norm else TimeGroupNorm()

  def __call__(self, x_BxTxC, valid_B=None):
    if self.convtr_norm is None:  # a causal layer has nothing to hide
      return self.convtr(x_BxTxC, None if self.style.causal else valid_B)
    y_BxTxC = self.convtr(x_BxTxC, valid_B)
    frames_B = None if valid_B is None else (valid_B + 1) * self.stride
    y_BxTxC = self.convtr_norm(y_BxTxC, frames_B)
    first = -(-self.stride // 2)
    return y_BxTxC[:, first : first + self.stride * x_BxTxC.shape[1]]


class ResidualBlock(nn.Module):
  """ELU and convolutions of 3 and 1 in a bottleneck, beside a skip."""

  width: int
  style: Style
  dilation: int = 1
  compress: int = 2
  true_skip: bool = False

  stride = 1

  def setup(self):
    hidden = self.width // self.compress
    narrow = SeanetConv(hidden, self.style, 3, dilation=self.dilation)
    self.block = [Elu(), narrow, Elu(), SeanetConv(self.width, self.style)]
    self.shortcut = None if self.true_skip else SeanetConv(self.width, self.style)

  def __call__(self, x_BxTxC, valid_B=None):
    y_BxTxC = x_BxTxC
    for layer in self.block:
      y_BxTxC = layer(y_BxTxC, valid_B)
    if self.shortcut is not None:
      x_BxTxC = self.shortcut(x_BxTxC, valid_B)
    return x_BxTxC + y_BxTxC


class _Seanet(nn.Module):
  """What encoder and decoder have in common.

  Attributes:
    width: channels after the first convolution.
    strides: factors in the order in which they are applied; their product is the hop.
    channels: of the audio.
    residual_layers: residual blocks at every stride, of dilations 1, 2, 4, ...
    compress: by which a residual block narrows its inside.
    true_skip: add a block's input as it is, not through a 1x1 convolution.
    lstm_layers: between the strides and the latent; 0 is none.
    norm: `weight_norm` or `time_group_norm`.
    causal: no convolution looks ahead.
    pad_mode: `reflect` or `constant`.
    dtype: compute type.
    remat: see `nn.remat`, of each residual block.
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

  def _lstm(self):
    return [ResidualLstm(self.lstm_layers, self.dtype)] if self.lstm_layers else []


class SeanetEncoder(_Seanet):
  """Audio (B, N, C) to latent (B, N / hop, latent_dim). Attributes: see `_Seanet`.

  The width is doubled at every stride. Fresh weights give latents about as large as the
  audio. The original starts from torch's, whose latents have a hundredth of it: at a
  high rate of learning all frames soon share a constant many times as large as what
  tells them apart, and stay on one code.
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
    """Encodes; N must be a multiple of the hop, valid_B counts samples."""
    x = mask_frames(x_BxNxC, valid_B)
    for layer in self.model:
      x = layer(x, valid_B)
      if valid_B is not None:
        valid_B = -(-valid_B // layer.stride)
    return x.astype(jnp.float32)


class SeanetDecoder(_Seanet):
  """Latent (B, T, D) to audio (B, T * hop, C). Attributes: see `_Seanet`.

  The width is halved at every stride.

  Attributes:
    final_tanh: bounds the audio to [-1, 1].
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
    """Decodes; valid_B counts frames."""
    x = mask_frames(z_BxTxD, valid_B)
    for layer in self.model:
      x = layer(x, valid_B)
      if valid_B is not None:
        valid_B = valid_B * layer.stride
    x = x.astype(jnp.float32)
    return jnp.tanh(x) if self.final_tanh else x
