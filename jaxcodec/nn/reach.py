"""What layers see along time, which windows and streams are derived from."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, Protocol

import jax

# A number of frames, or math.inf.
Frames = float


@dataclasses.dataclass(frozen=True)
class Reach:
  """On which input frames the output of a layer, or of layers in a row, depends.

  Attributes:
    down, up: `down` frames of the input become `up` frames of the output.
    before, after: how far it sees, in `up`-ths of an input frame. Outputs from i up to
      j depend on the inputs from (i * down - before) / up, rounded down, up to (j *
      down + after) / up, rounded up. math.inf is as far as there are frames.
    lead: how many of a clip's first input frames the first outputs need, where these
      are more than `after` says, because padding mirrors them.
    missing: frames by which a clip's output is shorter than `up / down` of its input.
  """

  down: int = 1
  up: int = 1
  before: Frames = 0
  after: Frames = 0
  lead: Frames = 0
  missing: int = 0

  @classmethod
  def centred(cls, kernel_size: int) -> "Reach":
    """Returns that of a centred convolution of an odd number of taps."""
    return cls(before=kernel_size // 2, after=kernel_size // 2)

  def then(self, after: "Reach") -> "Reach":
    """Returns the reach of this layer and one after it.

    Raises:
      ValueError: frames would get fewer and then more, which has no exact answer.
    """
    if self.down > 1 and after.up > 1:
      raise ValueError("the reach of what first halves frames and then doubles them")
    lead = self.inputs(after.lead) if after.lead else 0
    return Reach(
      self.down * after.down,
      self.up * after.up,
      self.before * after.up + after.before * self.down,
      self.after * after.up + after.after * self.down,
      max(self.lead, lead),
      self.missing * after.up + after.missing,
    )

  def beside(self, other: "Reach") -> "Reach":
    """Returns the reach of a sum of this layer and one of the same ratio."""
    return dataclasses.replace(
      self,
      before=max(self.before, other.before),
      after=max(self.after, other.after),
      lead=max(self.lead, other.lead),
    )

  @property
  def groups_around(self) -> tuple[Frames, Frames]:
    """Input frames before and after those that outputs stand for, in whole `down`s."""
    frames = (_divided(n, self.up) for n in (self.before, self.after))
    before, after = (_divided(n, self.down) * self.down for n in frames)
    return before, after

  @property
  def sees_all(self) -> bool:
    """Whether all frames to a clip's end are seen, as by a norm over time."""
    return math.isinf(self.after)

  def inputs(self, outputs: Frames) -> Frames:
    """Returns of how many first input frames the first so many outputs are made."""
    return max(self.lead, _divided(outputs * self.down + self.after, self.up))

  def outputs(self, inputs_B: jax.Array | None) -> jax.Array | None:
    """Returns the frames of each item after the layer; None stays None."""
    return None if inputs_B is None else -(-inputs_B * self.up // self.down)


class Layer(Protocol):
  """What maps (x_BxTxC, valid_B) to (B, T * up / down, C') and knows its `reach`."""

  @property
  def reach(self) -> Reach: ...

  def __call__(self, x_BxTxC: Any, valid_B: Any = None) -> Any: ...


def reach_of(layers: Iterable[Any]) -> Reach:
  """Returns the reach of layers in a row, each a `Layer` or a `Reach`."""
  reach = Reach()
  for layer in layers:
    reach = reach.then(layer if isinstance(layer, Reach) else layer.reach)
  return reach


def run_layers(
  layers: Iterable[Layer], x_BxTxC: jax.Array, valid_B: jax.Array | None
) -> tuple[jax.Array, jax.Array | None]:
  """Calls layers in a row; returns the output and its valid frames."""
  for layer in layers:
    x_BxTxC = layer(x_BxTxC, valid_B)
    valid_B = layer.reach.outputs(valid_B)
  return x_BxTxC, valid_B


def _divided(frames: Frames, by: int) -> Frames:
  return frames if math.isinf(frames) else -(-frames // by)
