"""Translates between Hugging Face's names of weights and the originals'.

For transformers' DacModel and EncodecModel. Each rename is a pair of a regex of Hugging
Face's name and a replacement with the original's; it can be inverted, as rules can.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jaxcodec.porting.table import invert

Renames = tuple[tuple[str, str], ...]
_UNIT = ("snake1", "conv1", "snake2", "conv2")
# What is left of a name: `bias`, or a weight norm's longer names.
_REST = r"\.([a-z0-9_.]+)"

_CODEBOOK = r"quantizer.vq.layers.\1._codebook.\2"


def dac(num_strides: int) -> Renames:
  """Returns the renames of DacModel, which names the parts of its blocks."""
  pairs = [
    ("encoder.conv1", "encoder.block.0"),
    ("encoder.snake1", f"encoder.block.{num_strides + 1}"),
    ("encoder.conv2", f"encoder.block.{num_strides + 2}"),
    ("decoder.conv1", "decoder.model.0"),
    ("decoder.snake1", f"decoder.model.{num_strides + 1}"),
    ("decoder.conv2", f"decoder.model.{num_strides + 2}"),
  ]
  for i in range(num_strides):
    theirs, ours = f"encoder.block.{i}", f"encoder.block.{i + 1}.block"
    pairs += _units(theirs, ours, 0)
    pairs += [(f"{theirs}.snake1", f"{ours}.3"), (f"{theirs}.conv1", f"{ours}.4")]
    theirs, ours = f"decoder.block.{i}", f"decoder.model.{i + 1}.block"
    pairs += [(f"{theirs}.snake1", f"{ours}.0"), (f"{theirs}.conv_t1", f"{ours}.1")]
    pairs += _units(theirs, ours, 2)
  same = (rf"quantizer{_REST}", r"quantizer.\1")
  return (same, *((re.escape(a) + _REST, rf"{b}.\1") for a, b in pairs))


def _units(theirs, ours, first):
  """Yields the renames of the three residual units of a block."""
  for unit in range(3):
    for at, part in enumerate(_UNIT):
      yield f"{theirs}.res_unit{unit + 1}.{part}", f"{ours}.{first + unit}.block.{at}"


def encodec(num_strides: int, residual_layers: int) -> Renames:
  """Returns the renames of EncodecModel, which calls every convolution `conv`."""
  root = r"(encoder|decoder)\.layers\.(\d+)"
  up = "|".join(str(3 + i * (2 + residual_layers)) for i in range(num_strides))
  conv = rf"\.(conv|norm){_REST}"
  return (
    (rf"decoder\.layers\.({up})\.conv{_REST}", r"decoder.model.\1.convtr.convtr.\2"),
    (rf"decoder\.layers\.({up})\.norm{_REST}", r"decoder.model.\1.convtr.norm.\2"),
    (rf"{root}{conv}", r"\1.model.\2.conv.\3.\4"),
    (rf"{root}\.block\.(\d+){conv}", r"\1.model.\2.block.\3.conv.\4.\5"),
    (rf"{root}\.shortcut{conv}", r"\1.model.\2.shortcut.conv.\3.\4"),
    (rf"{root}\.lstm{_REST}", r"\1.model.\2.lstm.\3"),
    (rf"quantizer\.layers\.(\d+)\.codebook{_REST}", _CODEBOOK),
  )


def to_original(state: Mapping[str, Any], renames: Renames) -> dict[str, Any]:
  """Renames a state dict to the originals' names; keeps unknown names."""
  return {_rename(name, renames): value for name, value in state.items()}


def from_original(state: Mapping[str, Any], renames: Renames) -> dict[str, Any]:
  """Renames a state dict to Hugging Face's names.

  Raises:
    ValueError: lists the names that Hugging Face's model lacks.
  """
  back = [invert(*pair) for pair in renames]
  if unknown := [n for n in state if not any(re.fullmatch(p, n) for p, _ in back)]:
    raise ValueError(f"transformers has no place for {sorted(unknown)}")
  return {_rename(name, back): value for name, value in state.items()}


def _rename(name: str, pairs: Sequence[tuple[str, str]]) -> str:
  for pattern, replacement in pairs:
    if match := re.fullmatch(pattern, name):
      return match.expand(replacement)
  return name
