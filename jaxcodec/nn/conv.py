"""Weight-normed convolutions, channels last, in the form that XLA runs fastest.

Every layer takes the number of valid frames of each item and hides what lies beyond
from its receptive field, so that padding (even NaN) never reaches valid frames.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn import toom_cook
from jaxcodec.nn.weight_norm import layer_kernel

Dtype = jnp.dtype
_FEW = 2  # channels of audio
_LONG = 64  # taps


def mask_frames(x_BxTxC: jax.Array, valid_B: jax.Array | None) -> jax.Array:
  """Zeroes frames at and beyond `valid_B`; all are valid if None."""
  if valid_B is None:
    return x_BxTxC
  at = lax.broadcasted_iota(jnp.int32, x_BxTxC.shape[:2] + (1,), 1)
  return jnp.where(at < valid_B.reshape(-1, 1, 1), x_BxTxC, 0)


def torch_uniform(fan_in: int) -> nn.initializers.Initializer:
  """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the default of torch's convolutions."""
  bound = fan_in**-0.5

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


def _conv1d(x, kernel, stride, dilation):
  """Unpadded convolution; (B, T, I) and (W, I, O) to (B, T', O)."""
  width, inputs, outputs = kernel.shape
  length = (x.shape[1] - dilation * (width - 1) - 1) // stride + 1
  if width == 1 and stride == 1:
    return x @ kernel[0]

  def tap(a, k):
    first = k * dilation
    return lax.slice_in_dim(a, first, first + (length - 1) * stride + 1, stride, 1)

  if inputs <= _FEW:  # the convolution op is several times slower
    columns = jnp.concatenate([tap(x, k) for k in range(width)], -1)
    return columns @ kernel.reshape(width * inputs, outputs)
  if outputs <= _FEW:
    columns = x @ kernel.transpose(1, 0, 2).reshape(inputs, width * outputs)
    taps = jnp.split(columns, width, -1)
    return sum(tap(columns, k) for k, columns in enumerate(taps))
  return lax.conv_general_dilated(
    *(x, kernel, (stride,), "VALID"),
    rhs_dilation=(dilation,),
    dimension_numbers=("NHC", "HIO", "NHC"),
  )


def _grouped_conv1d(x, kernel, stride, groups):
  """Unpadded convolution of each group; (B, T, groups * I), (W, I, O) to (B, T', O).

  A matmul of windows put together from blocks of `stride` frames: the gradient of the
  grouped convolution op is tens of times slower. The windows of a long kernel would
  fill the memory: there each group is a convolution of its own.
  """
  width, inputs, outputs = kernel.shape
  if width > _LONG:
    parts = zip(*(jnp.split(a, groups, -1) for a in (x, kernel)), strict=True)
    return jnp.concatenate([_conv1d(*part, stride, 1) for part in parts], -1)
  length = (x.shape[1] - width) // stride + 1
  blocks = -(-width // stride)  # in a window
  kernel = jnp.pad(kernel, ((0, blocks * stride - width), (0, 0), (0, 0)))
  frames = (length + blocks - 1) * stride
  x = jnp.pad(x, ((0, 0), (0, max(0, frames - x.shape[1])), (0, 0)))[:, :frames]
  x = x.reshape(x.shape[0], -1, stride, groups, inputs)
  windows = jnp.concatenate([x[:, i : i + length] for i in range(blocks)], 2)
  kernel = kernel.reshape(-1, inputs, groups, outputs // groups)
  y = jnp.einsum("BTWGI,WIGO->BTGO", windows, kernel)
  return y.reshape(*y.shape[:2], outputs)


class Conv1d(nn.Module):
  """1-D convolution over (B, T, C), weight-normed unless told otherwise.

  Attributes:
    features: output channels.
    kernel_size, stride, dilation: in frames of the input.
    padding: zeros before and after, frames; None centres an odd kernel.
    dtype: compute type; parameters stay float32.
    weight_norm: whether the kernel has a norm of its own; see `weight_normed`.
    groups: of channels, each convolved for itself, without dilation; divides inputs and
      features.
    kernel_init: `torch_uniform` if None.
    use_bias: whether there is one.
    norm_axis: of the kernel (W, I, O), whose slices have a norm each.
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
    kernel = layer_kernel(self, shape, init, self.norm_axis).astype(self.dtype)
    pad = self.padding
    if pad is None:
      pad = self.dilation * (self.kernel_size - 1) // 2
    if self.kernel_size > 1:
      x_BxTxC = mask_frames(x_BxTxC, valid_B)
    x_BxTxC = jnp.pad(x_BxTxC.astype(self.dtype), ((0, 0), (pad, pad), (0, 0)))
    y_BxTxC = self._convolve(x_BxTxC, kernel)
    if not self.use_bias:
      return y_BxTxC
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    return y_BxTxC + bias.astype(self.dtype).reshape(1, 1, -1)

  def _convolve(self, x_BxTxC, kernel):
    if self.groups > 1:
      return _grouped_conv1d(x_BxTxC, kernel, self.stride, self.groups)
    products = self.get_variable("params", "products")  # see `inference_layout`
    plain = self.stride > 1 or self.dtype != jnp.float32
    if products is None or plain or not toom_cook.pays(*x_BxTxC.shape[1:]):
      return _conv1d(x_BxTxC, kernel, self.stride, self.dilation)
    return toom_cook.convolve(x_BxTxC, products, self.dilation)

  def _inputs(self, channels):
    """Input channels of a group."""
    if channels % self.groups or self.features % self.groups:
      raise ValueError(
        f"{self.groups} groups do not divide {channels} channels to {self.features}"
      )
    if self.groups > 1 and self.dilation > 1:
      raise ValueError("a convolution of groups takes no dilation")
    return channels // self.groups


def overlap_add(columns_BxTxWxO, stride):
  """Adds windows of W samples at steps of `stride`; W a multiple of the stride."""
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

  A matmul and an overlap-add: its gradient is matmuls too, where that of XLA's
  transposed convolution is a convolution with huge dilated windows.

  Attributes:
    features: output channels.
    stride: upsampling factor.
    exact: pad an odd stride's output so that it has stride * T samples; DAC 1.0.0
      itself gives one fewer (dac/model/dac.py, no output_padding).
    trim: samples cut off at the left; half of the stride if None. Causal layers cut
      none.
    dtype, weight_norm: see `Conv1d`.
    whole: cut nothing off, and give stride * (T + 1) frames.
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
    columns = self._columns(x_BxTxC, width, init)
    bias = self.param("bias", init, (self.features,))
    columns = columns.reshape(*x_BxTxC.shape[:2], width, self.features)
    y_BxTxC = overlap_add(columns, self.stride)
    if not self.whole:
      y_BxTxC = self._cut(y_BxTxC, self.stride * x_BxTxC.shape[1])
    return y_BxTxC + bias.astype(self.dtype).reshape(1, 1, -1)

  def _columns(self, x_BxTxC, width, init):
    """What each frame adds to its window, (B, T, width * features)."""
    if self.has_variable("params", "columns"):  # see `inference_layout`
      columns = self.get_variable("params", "columns").astype(self.dtype)
      return lax.dot_general(x_BxTxC, columns, (((2,), (1,)), ((), ())))
    shape = (width, x_BxTxC.shape[-1], self.features)
    kernel = layer_kernel(self, shape, init, kept_axis=1).astype(self.dtype)
    return x_BxTxC @ kernel.transpose(1, 0, 2).reshape(shape[1], -1)

  def _cut(self, y_BxTxC, length):
    first = -(-self.stride // 2) if self.trim is None else self.trim
    if not self.exact:
      length -= self.stride % 2
    return lax.slice_in_dim(y_BxTxC, first, first + length, axis=1)
