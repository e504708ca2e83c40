"""Convolution with kernels of 7 taps in half the multiplications.

The taps are split into two runs of 4, the last padded. 4 outputs of a run take 7
products of channels instead of 16: polynomials of degree 3 are multiplied by their
values at 0, 1, -1, 2, -2, 1/2 and infinity (Toom-Cook, or Winograd's minimal
filtering). The second run reads the inputs of the next 4 outputs, so both runs share
the transformed inputs. In float32 the result is off by 1e-6 of its root mean square;
the direct convolution is off by 3e-7.

Source: Lavin and Gray 2015 (arXiv 1509.09308), in whose terms a run is an F(4, 4).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

TAPS = 7
Products = tuple[jax.Array, ...]  # (2, I, O) for each point
_RUN = 4  # taps of a run, and outputs of a tile
_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5)  # and infinity
_LEAST, _MOST = 64, 1024  # channels
_WIDE, _CACHED = 256, 2**21  # channels; numbers that stay near the processor


def _values(size: int) -> np.ndarray:
  """Returns the matrix from a polynomial's coefficients to its values at the points."""
  at_infinity = np.eye(size)[-1:]
  return np.concatenate([np.vander(_POINTS, size, increasing=True), at_infinity])


def _transforms() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns matrices that transform 7 inputs, 4 taps, and the products to 4 outputs.

  Powers of two balance the first with the second, exactly. All are float64.
  """
  inputs = np.linalg.inv(_values(TAPS)).T
  scale = 2.0 ** np.round(np.log2(np.abs(inputs).sum(axis=1, keepdims=True)))
  return inputs / scale, _values(_RUN) * scale, _values(_RUN).T


_INPUTS, _TAPS, _OUTPUTS = _transforms()


def serves(kernel_shape: tuple[int, ...]) -> bool:
  """Whether to store `products` of a kernel (W, I, O) at all."""
  width, *channels = kernel_shape
  wide = len(channels) == 2 and _LEAST <= min(channels) and max(channels) <= _MOST
  return wide and width == TAPS


def pays(frames: int, channels: int) -> bool:
  """Whether `convolve` of (1, T, C) is faster than the convolution operation.

  Thresholds are measured. With too few frames reading twice the kernel dominates; too
  many frames of few channels leave the caches. The size of the batch must not matter,
  so that an item gets the same bits in any batch.
  """
  cached = channels >= _WIDE or frames * channels <= _CACHED
  return cached and 2 * frames >= channels


def products(kernel_WxIxO: jax.Array) -> Products:
  """Transforms a kernel for `convolve`.

  The result is seven arrays, as slices of one would be copied at every call.
  """
  runs = jnp.pad(kernel_WxIxO, ((0, 2 * _RUN - TAPS), (0, 0), (0, 0)))
  runs = runs.reshape(2, _RUN, *kernel_WxIxO.shape[1:])
  return tuple(jnp.stack([_combine(row, run) for run in runs]) for row in _TAPS)


def convolve(x_BxTxC: jax.Array, products: Products, dilation: int) -> jax.Array:
  """Unpadded convolution, stride 1: (B, T, I) to (B, T - 6 * dilation, O).

  Args:
    x_BxTxC: input.
    products: what `products` made of the kernel.
    dilation: of the taps, frames.
  """
  B, T, C = x_BxTxC.shape
  length = T - dilation * (TAPS - 1)
  tiles = -(-length // (_RUN * dilation))
  rest = (tiles + 2) * _RUN * dilation - T
  # The barriers keep what comes before and after from being computed seven times.
  x = lax.optimization_barrier(jnp.pad(x_BxTxC, ((0, 0), (0, rest), (0, 0))))
  x = x.reshape(B, tiles + 2, _RUN, dilation, C)
  frames = [x[:, :-1, i] for i in range(_RUN)] + [x[:, 1:, i] for i in range(_RUN - 1)]
  parts = [
    _pairs(_combine(row, frames).reshape(B, -1, C), pair, dilation)
    for row, pair in zip(_INPUTS, products, strict=True)
  ]
  parts = [part.reshape(B, tiles, dilation, -1) for part in parts]
  y = jnp.stack([_combine(row, parts) for row in _OUTPUTS], 2)
  y = y.reshape(B, tiles * _RUN * dilation, -1)[:, :length]
  return lax.optimization_barrier(y)


def _pairs(x, pair_2xIxO, dilation):
  """Convolves with both runs: the first on each tile, the second on the next tile."""
  return lax.conv_general_dilated(
    x,
    pair_2xIxO,
    window_strides=(1,),
    padding="VALID",
    rhs_dilation=(dilation,),
    dimension_numbers=("NHC", "HIO", "NHC"),
  )


def _combine(coefficients, arrays):
  """Returns the sum of arrays times coefficients, most of which are 0, 1 or -1."""
  terms = zip(coefficients, arrays, strict=True)
  return sum(a if c == 1 else np.float32(c) * a for c, a in terms if c)
