"""Layers of SEANet. Source: encodec/modules (encodec 0.1.1).

They map (x_BxTxC, valid_B) to their output and multiply or divide frames by their
`stride`.
"""

import dataclasses

import flax.linen as nn

from jaxcodec.nn.conv import Conv1d, ConvTranspose1d, Dtype
from jaxcodec.nn.elu import elu
from jaxcodec.nn.norm import TimeGroupNorm
from jaxcodec.nn.padding import MODES, pad_frames

NORMS = ("weight_norm", "time_group_norm")


@dataclasses.dataclass(frozen=True)
class Style:
  """Settings that all convolutions of a SEANet share; see `SeanetEncoder`."""

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
      self.features,
      self.kernel_size,
      self.stride,
      self.dilation,
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
        x_BxTxC,
        left=around - right,
        right=right,
        stride=self.stride,
        valid_B=valid_B,
        mode=self.style.pad_mode,
      )
    y_BxTxC = self.conv(x_BxTxC)
    if self.conv_norm is None:
      return y_BxTxC
    frames_B = None if valid_B is None else -(-valid_B // self.stride)
    return self.conv_norm(y_BxTxC, frames_B)


class SeanetConvTranspose(nn.Module):
  """Transposed convolution to stride * T frames (SConvTranspose1d).

  A group norm also takes the frames that are then cut off.
  """

  features: int
  stride: int
  style: Style

  def setup(self):
    self.convtr = ConvTranspose1d(
      self.features,
      self.stride,
      dtype=self.style.dtype,
      weight_norm=self.style.weight_norm,
      trim=0 if self.style.causal else None,
      whole=not self.style.weight_norm,
    )
    self.convtr_norm = None if self.style.weight_norm else TimeGroupNorm()

  def __call__(self, x_BxTxC, valid_B=None):
    if self.convtr_norm is None:  # a causal layer needs no mask
      return self.convtr(x_BxTxC, None if self.style.causal else valid_B)
    y_BxTxC = self.convtr(x_BxTxC, valid_B)
    frames_B = None if valid_B is None else (valid_B + 1) * self.stride
    y_BxTxC = self.convtr_norm(y_BxTxC, frames_B)
    first = -(-self.stride // 2)
    return y_BxTxC[:, first : first + self.stride * x_BxTxC.shape[1]]


class ResidualBlock(nn.Module):
  """ELUs and convolutions of 3 and 1 taps in a bottleneck, and a skip."""

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
