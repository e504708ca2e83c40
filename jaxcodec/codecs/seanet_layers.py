"""Layers of SEANet. Source: encodec/modules (encodec 0.1.1).

They map (x_BxTxC, valid_B) to their output and know their reach. Causal ones also go on
from where they stopped, in `step`; see `nn.stepping`.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from jaxcodec.nn.conv import Conv1d, ConvTranspose1d, Dtype
from jaxcodec.nn.elu import elu
from jaxcodec.nn.norm import TimeGroupNorm
from jaxcodec.nn.padding import MODES, pad_frames, pad_on
from jaxcodec.nn.reach import Reach, reach_of, run_layers
from jaxcodec.nn.stepping import step_layers

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

  reach = Reach()

  def __call__(self, x_BxTxC, valid_B=None):
    return elu(x_BxTxC)

  def step(self, x_BxTxC, state=None, valid_B=None):
    return elu(x_BxTxC), state


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
    y_BxTxC = self.conv(self._padded(x_BxTxC, valid_B))
    if self.conv_norm is None:
      return y_BxTxC
    frames_B = None if valid_B is None else -(-valid_B // self.stride)
    return self.conv_norm(y_BxTxC, frames_B)

  def step(self, x_BxTxC, before_BxLxC=None, valid_B=None):
    left, _ = self._around
    if before_BxLxC is None:
      padded = self._padded(x_BxTxC, valid_B)
    else:
      mode = self.style.pad_mode
      padded = pad_on(before_BxLxC, x_BxTxC, self.stride, valid_B, mode)
    return self.conv(padded), padded[:, padded.shape[1] - left :] if left else None

  @property
  def reach(self) -> Reach:
    left, right = self._around
    lead = left + 1 if left and self.style.pad_mode == "reflect" else 0
    seen = Reach(down=self.stride, before=left, after=right, lead=lead)
    return seen if self.conv_norm is None else reach_of([seen, self.conv_norm])

  @property
  def _around(self):
    """Frames that are added before and after the input."""
    around = (self.kernel_size - 1) * self.dilation - (self.stride - 1)
    right = 0 if self.style.causal else around // 2
    return around - right, right

  def _padded(self, x_BxTxC, valid_B):
    left, right = self._around
    if not left:
      return x_BxTxC
    mode = self.style.pad_mode
    return pad_frames(x_BxTxC, left, right, self.stride, valid_B, mode)


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

  def step(self, x_BxTxC, before_Bx1xC=None, valid_B=None):
    if before_Bx1xC is not None:
      x_BxTxC = jnp.concatenate([before_Bx1xC, x_BxTxC], 1)
    y_BxTxC = self.convtr(x_BxTxC)
    known = 0 if before_Bx1xC is None else self.stride
    return y_BxTxC[:, known:], x_BxTxC[:, -1:]

  @property
  def reach(self) -> Reach:
    norm = [] if self.convtr_norm is None else [self.convtr_norm]
    return reach_of([self.convtr, *norm])


class ResidualBlock(nn.Module):
  """ELUs and convolutions of 3 and 1 taps in a bottleneck, and a skip."""

  width: int
  style: Style
  dilation: int = 1
  compress: int = 2
  true_skip: bool = False

  def setup(self):
    hidden = self.width // self.compress
    narrow = SeanetConv(hidden, self.style, 3, dilation=self.dilation)
    self.block = [Elu(), narrow, Elu(), SeanetConv(self.width, self.style)]
    self.shortcut = None if self.true_skip else SeanetConv(self.width, self.style)

  def __call__(self, x_BxTxC, valid_B=None):
    y_BxTxC, _ = run_layers(self.block, x_BxTxC, valid_B)
    if self.shortcut is not None:
      x_BxTxC = self.shortcut(x_BxTxC, valid_B)
    return x_BxTxC + y_BxTxC

  def step(self, x_BxTxC, states=None, valid_B=None):
    y_BxTxC, states, _ = step_layers(self.block, x_BxTxC, states, valid_B)
    if self.shortcut is not None:
      x_BxTxC = self.shortcut(x_BxTxC, valid_B)
    return x_BxTxC + y_BxTxC, states

  @property
  def reach(self) -> Reach:
    return reach_of(self.block)
