"""Long inputs of convolutions in windows, one after another, with the whole's result.

The arrays inside are then as large as a window makes them, however long the input: they
stay near the processor, and their memory is bounded. Windows overlap by what the
convolutions reach, so that no frame that is kept has seen a cut.
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

Run = Callable[[nn.Module, jax.Array, jax.Array | None], jax.Array]


def longest(width: int, train: bool) -> int:
  """Frames of `width` channels that a window has at most; no limit in training.

  There a gradient keeps all that is inside of all windows anyway.
  """
  if train:
    return sys.maxsize
  return max(1, ops.window_numbers() // width)


@dataclasses.dataclass(frozen=True)
class Windows:
  """How to cut an input.

  Attributes:
    longest: frames of a window; longer inputs are cut.
    before, after: frames on either side of one that have influence on its output.
    down, up: `down` frames of the input become `up` of the output.
    missing: frames that the output has fewer.
  """

  longest: int
  before: int
  after: int
  down: int = 1
  up: int = 1
  missing: int = 0

  def __call__(
    self, run: Run, module: nn.Module, x_BxTxC: jax.Array, valid_B: jax.Array | None
  ) -> jax.Array:
    """`run(module, x_BxTxC, valid_B)` up to rounding, on all that is valid.

    Args:
      run: convolutions, which calls submodules of the module it is given.
      module: the calling one.
      x_BxTxC: T is a multiple of `down`.
      valid_B: frames of each item, all T if None.
    """
    T = x_BxTxC.shape[1]
    if T <= self.longest or _must_be_whole(module):
      return run(module, x_BxTxC, valid_B)
    step, before, length = self._sizes(T)

    def kept(module, _, first):
      start = jnp.clip(first - before, 0, T - length)
      x = lax.dynamic_slice_in_dim(x_BxTxC, start, length, 1)
      inside_B = None if valid_B is None else jnp.clip(valid_B - start, 0, length)
      y = run(module, x, inside_B)
      y = jnp.pad(y, ((0, 0), (0, self.missing), (0, 0)))
      return None, lax.dynamic_slice_in_dim(
        *(y, self._out(first - start), self._out(step), 1)
      )

    pieces = _scan(kept, module, _starts(T, step))
    return _joined(pieces, self._out(T), self.missing)

  def _sizes(self, T):
    """Frames that a window adds, those before them, and all that it reads."""
    before, after = (-(-n // self.down) * self.down for n in (self.before, self.after))
    around = before + after
    count = -(-T // max(self.longest - around, around, 1))
    step = -(-T // (count * self.down)) * self.down
    return step, before, min(T, step + around)

  def _out(self, frames):
    return frames // self.down * self.up


@dataclasses.dataclass(frozen=True)
class Rows:
  """A batch cut into groups of items, for convolutions with norms that see all frames.

  Only on a CPU: elsewhere devices may share the batch, of which a group is on few.

  Attributes:
    longest: frames of all items of a group.
  """

  longest: int

  def __call__(self, run, module, x_BxTxC, valid_B):
    """`run(module, x_BxTxC, valid_B)`, up to rounding."""
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
  """Whether variables are made or inner values captured."""
  return module.is_initializing() or module.is_mutable_collection("intermediates")


def _starts(size, step):
  """Of steps that cover `size`; the last may overlap the one before."""
  return jnp.minimum(jnp.arange(-(-size // step)) * step, size - step)


def _scan(one, module, starts):
  return nn.scan(one, variable_broadcast=True, split_rngs={})(module, None, starts)[1]


def _joined(y_SxBxTxC, total, missing):
  """Pieces in a row to `total`, where the last ends, and without what is missing."""
  S, B, T, C = y_SxBxTxC.shape
  row = y_SxBxTxC[:-1].swapaxes(0, 1).reshape(B, (S - 1) * T, C)
  rest = y_SxBxTxC[-1][:, S * T - total : T - missing]
  return jnp.concatenate([row, rest], 1)
