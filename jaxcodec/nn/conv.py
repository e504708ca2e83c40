"""Weight-normed 1-D convolutions, channels last.

Every layer takes the number of valid frames of each item, and zeroes the others before
it looks at neighbours: padding, even NaN, never reaches valid frames.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn import ops
from jaxcodec.nn.kernel_use import KernelUse
from jaxcodec.nn.reach import Reach
from jaxcodec.nn.weight_norm import layer_kernel

Dtype = jnp.dtype


def mask_frames(x_BxTxC: jax.Array, valid_B: jax.Array | None) -> jax.Array:
  """Zeroes an item's frames from `valid_B` on; all frames are valid if None."""
  if valid_B is None:
    return x_BxTxC
  at = lax.broadcasted_iota(jnp.int32, x_BxTxC.shape[:2] + (1,), 1)
  return jnp.where(at < valid_B.reshape(-1, 1, 1), x_BxTxC, 0)


def torch_uniform(fan_in: int) -> nn.initializers.Initializer:
  """Returns U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the default of torch's convolutions."""
  bound = fan_in**-0.5

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


class Conv1d(nn.Module):
  """1-D convolution over (B, T, C), by default with weight norm.

  Attributes:
    features: output channels.
    kernel_size, stride, dilation: in frames of the input.
    padding: zeros before and after, frames; None centres an odd kernel.
    dtype: compute type; parameters stay float32.
    weight_norm: whether the kernel has a norm of its own; see `weight_normed`.
    groups: into which input and output channels are split, each convolved on its own;
      more than one excludes dilation.
    kernel_init: of the kernel; `torch_uniform` if None.
    use_bias: whether to add a bias.
    norm_axis: axis of the kernel (W, I, O) whose slices have a norm each.
  """

  features: int
  kernel_size: int = 1
  stride: int = 1
  dilation: int = 1
  padding: int | None = None
  dtype: Dtype = jnp.float32
  weight_norm: bool = True
  groups: int = 1
  kernel_init: nn.initializers.Initializer | None = None
  use_bias: bool = True
  norm_axis: int = -1

  @nn.compact
  def __call__(self, x_BxTxC, valid_B=None):
    inputs = self._inputs(x_BxTxC.shape[-1])
    shape = (self.kernel_size, inputs, self.features)
    init = self.kernel_init or torch_uniform(self.kernel_size * inputs)
    kernel = layer_kernel(self, shape, init)
    pad = self._pad
    if self.kernel_size > 1:
      x_BxTxC = mask_frames(x_BxTxC, valid_B)
    x_BxTxC = jnp.pad(x_BxTxC.astype(self.dtype), ((0, 0), (pad, pad), (0, 0)))
    y_BxTxC = self._convolve(x_BxTxC, kernel)
    if not self.use_bias:
      return y_BxTxC
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    return y_BxTxC + bias.astype(self.dtype).reshape(1, 1, -1)

  @property
  def kernel_use(self) -> KernelUse:
    return KernelUse(
      kept_axis=self.norm_axis,
      stride=self.stride,
      groups=self.groups,
      dtype=self.dtype,
    )

  @property
  def reach(self) -> Reach:
    around = self.dilation * (self.kernel_size - 1) - (self.stride - 1)
    return Reach(down=self.stride, before=self._pad, after=around - self._pad)

  @property
  def _pad(self):
    """Frames of zeros before and after the input."""
    if self.padding is not None:
      return self.padding
    return self.dilation * (self.kernel_size - 1) // 2

  def _convolve(self, x_BxTxC, kernel):
    if self.groups > 1:
      return ops.grouped_conv1d(x_BxTxC, kernel, self.stride, self.groups)
    return ops.conv1d(x_BxTxC, kernel, self.stride, self.dilation)

  def _inputs(self, channels):
    """Returns the input channels of a group."""
    if channels % self.groups or self.features % self.groups:
      raise ValueError(
        f"{self.groups} groups do not divide {channels} channels to {self.features}"
      )
    if self.groups > 1 and self.dilation > 1:
      raise ValueError("a convolution of groups takes no dilation")
    return channels // self.groups


def overlap_add(columns_BxTxWxO, stride):
  """Adds windows that start every `stride` samples, to (B, (T - 1) * stride + W, O).

  W is a multiple of the stride.
  """
  B, T, W, O = columns_BxTxWxO.shape  # noqa: E741
  parts = columns_BxTxWxO.reshape(B, T, W // stride, stride, O)
  last = W // stride - 1
  padded = [
    jnp.pad(parts[:, :, i], ((0, 0), (i, last - i), (0, 0), (0, 0)))
    for i in range(last + 1)
  ]
  return sum(padded).reshape(B, (T + last) * stride, O)


class ConvTranspose1d(nn.Module):
  """Transposed convolution with kernel 2 * stride, giving stride * T frames.

  Computed as a matrix product and an overlap-add, whose gradients are matrix products
  too. The gradient of XLA's own transposed convolution dilates huge windows.

  Attributes:
    features: output channels.
    stride: upsampling factor.
    exact: whether an odd stride gives stride * T frames too; in DAC 1.0.0 it gives one
      fewer (dac/model/dac.py, no output_padding).
    dtype, weight_norm: see `Conv1d`.
    trim: frames to cut off at the left, half of the stride if None; 0 in causal layers.
    whole: whether to cut nothing off, and give stride * (T + 1) frames.
  """

  features: int
  stride: int
  exact: bool = True
  dtype: Dtype = jnp.float32
  weight_norm: bool = True
  trim: int | None = None
  whole: bool = False

  @nn.compact
  def __call__(self, x_BxTxC, valid_B=None):
    width = 2 * self.stride
    init = torch_uniform(width * self.features)
    x_BxTxC = mask_frames(x_BxTxC, valid_B).astype(self.dtype)
    shape = (width, x_BxTxC.shape[-1], self.features)
    columns = ops.window_columns(x_BxTxC, layer_kernel(self, shape, init))
    bias = self.param("bias", init, (self.features,))
    columns = columns.reshape(*x_BxTxC.shape[:2], width, self.features)
    y_BxTxC = overlap_add(columns, self.stride)
    if not self.whole:
      y_BxTxC = self._cut(y_BxTxC, self.stride * x_BxTxC.shape[1])
    return y_BxTxC + bias.astype(self.dtype).reshape(1, 1, -1)

  @property
  def kernel_use(self) -> KernelUse:
    return KernelUse(kept_axis=1, transposed=True, stride=self.stride, dtype=self.dtype)

  @property
  def reach(self) -> Reach:
    return Reach(
      up=self.stride,
      before=self.stride - self._first,
      after=self._first,
      missing=0 if self.exact else self.stride % 2,
    )

  @property
  def _first(self):
    """Frames that are cut off at the left."""
    return -(-self.stride // 2) if self.trim is None else self.trim

  def _cut(self, y_BxTxC, length):
    last = self._first + length - self.reach.missing
    return lax.slice_in_dim(y_BxTxC, self._first, last, axis=1)
