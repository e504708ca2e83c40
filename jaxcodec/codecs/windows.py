"""Runs convolutions over long inputs in windows, with the result of the whole.

The size of the arrays inside then depends on the window and not on the input, so that
they stay in caches and memory is bounded. Windows overlap by as much as convolutions
reach, so that no output frame that is kept depends on where the input was cut.
"""

import dataclasses
import sys
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn import ops
from jaxcodec.nn.platform import on_cpu
from jaxcodec.nn.reach import Reach

# Of a module, its input (B, T, C) and the frames of each item, None for all.
Run = Callable[..., jax.Array]


def longest(width: int, train: bool) -> int:
  """Returns how many frames of `width` channels a window may have.

  There is no limit in training, where the gradient needs the arrays of all windows.
  """
  if train:
    return sys.maxsize
  return max(1, ops.window_numbers() // width)


@dataclasses.dataclass(frozen=True)
class Windows:
  """Cuts an input along time.

  Attributes:
    longest: frames of a window; longer inputs are cut.
    reach: of the convolutions.
    placed: whether `run` takes a fourth argument: where in the input its part begins,
      frames, 0 if it is left out.
  """

  longest: int
  reach: Reach
  placed: bool = False

  def __call__(
    self, run: Run, module: nn.Module, x_BxTxC: jax.Array, valid_B: jax.Array | None
  ) -> jax.Array:
    """Returns `run(module, x_BxTxC, valid_B)` up to rounding, on valid frames.

    Args:
      run: calls the convolutions, submodules of the module it is given.
      module: the calling module.
      x_BxTxC: T is a multiple of `reach.down`.
      valid_B: frames of each item, all T if None.
    """
    T = x_BxTxC.shape[1]
    if T <= self.longest or _must_be_whole(module):
      return run(module, x_BxTxC, valid_B)
    step, before, length = self._sizes(T)
    missing = self.reach.missing

    def kept(module, _, first):
      start = jnp.clip(first - before, 0, T - length)
      x = lax.dynamic_slice_in_dim(x_BxTxC, start, length, 1)
      inside_B = None if valid_B is None else jnp.clip(valid_B - start, 0, length)
      place = (start,) if self.placed else ()
      y = run(module, x, inside_B, *place)
      y = jnp.pad(y, ((0, 0), (0, missing), (0, 0)))
      return None, lax.dynamic_slice_in_dim(
        y, self._out(first - start), self._out(step), axis=1
      )

    pieces = _scan(kept, module, _starts(T, step))
    return _join(pieces, self._out(T), missing)

  def _sizes(self, T):
    """Returns how many frames a window adds, how many precede them, and its length."""
    down = self.reach.down
    before, after = self.reach.groups_around
    around = before + after
    count = -(-T // max(self.longest - around, around, 1))
    step = -(-T // (count * down)) * down
    return step, before, min(T, step + around)

  def _out(self, frames):
    return frames // self.reach.down * self.reach.up


@dataclasses.dataclass(frozen=True)
class Rows:
  """Cuts a batch into groups of items, for layers whose norms need all frames.

  Only on a CPU: elsewhere devices may share the batch, and a group would keep few of
  them busy.

  Attributes:
    longest: frames of all items of a group together.
  """

  longest: int

  def __call__(self, run, module, x_BxTxC, valid_B):
    """Returns `run(module, x_BxTxC, valid_B)`, up to rounding."""
    B, T, _ = x_BxTxC.shape
    count = max(1, self.longest // T)
    if B <= count or not on_cpu() or _must_be_whole(module):
      return run(module, x_BxTxC, valid_B)

    def group(module, _, first):
      x, valid = (
        None if a is None else lax.dynamic_slice_in_dim(a, first, count)
        for a in (x_BxTxC, valid_B)
      )
      return None, run(module, x, valid)

    y_SxBxTxC = _scan(group, module, _starts(B, count))
    rows = y_SxBxTxC[:-1].reshape(-1, *y_SxBxTxC.shape[2:])
    return jnp.concatenate([rows, y_SxBxTxC[-1][len(rows) - B :]])


def _must_be_whole(module):
  """Whether variables are being made or inner values captured."""
  return module.is_initializing() or module.is_mutable_collection("intermediates")


def _starts(size, step):
  """Returns where steps that cover `size` start; the last two may overlap."""
  return jnp.minimum(jnp.arange(-(-size // step)) * step, size - step)


def _scan(one, module, starts):
  return nn.scan(one, variable_broadcast=True, split_rngs={})(module, None, starts)[1]


def _join(y_SxBxTxC, total, missing):
  """Puts pieces in a row of `total - missing` frames; the last may overlap."""
  S, B, T, C = y_SxBxTxC.shape
  row = y_SxBxTxC[:-1].swapaxes(0, 1).reshape(B, (S - 1) * T, C)
  rest = y_SxBxTxC[-1][:, S * T - total : T - missing]
  return jnp.concatenate([row, rest], 1)
