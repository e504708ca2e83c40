"""Collective operations of a compiled program, read from XLA's text of it."""

import dataclasses
import re
from collections.abc import Iterator

import numpy as np

KINDS = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "ragged-all-to-all",
  "collective-permute",
  "collective-broadcast",
)
# Bytes that a device sends under the ring algorithms, as a function of the bytes of the
# whole array and the number of devices in the group. All other kinds send
# size * (n - 1) / n.
_BYTES_SENT = {
  "all-reduce": lambda size, n: 2 * size * (n - 1) / n,
  "collective-permute": lambda size, n: size,
  "collective-broadcast": lambda size, n: size,
}
_HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?[\w.\-]+ = (.*?) ([a-z][\w\-]*)\((.*)$")
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)[a-z0-9]*)\[([\d,]*)\]")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|condition)=%?([\w.\-]+)")
_CONDITION = re.compile(r"\bcondition=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_BRANCH = re.compile(r"\b(?:true|false)_computation=%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_LISTED = re.compile(r"(?:replica_groups|source_target_pairs)=\{(\{[\d,{} ]*\})\}")
_IOTA = re.compile(r"replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_MESH = re.compile(
  r"replica_groups=mesh\[((?:'\w+'=\d+,?)+)\]"
  r"(?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))? \{((?:'\w+',?)+)\}"
)


@dataclasses.dataclass(frozen=True)
class Collective:
  """A collective operation as one device sees it.

  Attributes:
    kind: one of KINDS.
    size: bytes of the whole array that is summed, gathered, scattered, exchanged or
      passed on.
    groups: partitions that take part together; the pairs of a collective-permute.
    times: how often a step runs it.
    counted: False inside a loop of unknown length, which then counts as one turn.
  """

  kind: str
  size: int
  groups: tuple[tuple[int, ...], ...]
  times: int = 1
  counted: bool = True

  @property
  def sent(self) -> float:
    """Bytes that a device sends in a step, under a ring algorithm."""
    share = _BYTES_SENT.get(self.kind, lambda size, n: size * (n - 1) / n)
    return self.times * share(self.size, len(self.groups[0]))

  def members_within(self, block: int) -> int:
    """The fewest members of a group that share a block of partitions (a machine).

    Args:
      block: partitions in each block, numbered in order.
    """
    blocks = [[i // block for i in group] for group in self.groups]
    return min(group.count(i) for group in blocks for i in group)


def collectives(text: str) -> list[Collective]:
  """Finds the collectives of a compiled program (`compiled.as_text()`), in no order.

  A condition counts as its branch that sends most, a loop as often as it runs.

  Raises:
    ValueError: the text is no program, or writes groups of devices in an unknown way.
  """
  computations, entry = _computations(text)
  partitions = re.search(r"num_partitions=(\d+)", text)
  everyone = tuple(range(int(partitions[1]) if partitions else 1))
  found = _collect(computations, entry, everyone)
  return [c for c in found if len(c.groups[0]) > 1]


def _computations(text: str) -> tuple[dict[str, list[tuple[str, str, str]]], str]:
  """(shape, opcode, rest) of instructions by computation, and the entry's name."""
  computations, entry, current = {}, None, None
  for line in text.splitlines():
    if header := _HEADER.match(line):
      current = computations[header[2]] = []
      entry = header[2] if header[1] else entry
    elif current is not None and (instruction := _INSTRUCTION.match(line)):
      current.append(instruction.groups())
  if entry is None:
    raise ValueError("not the text of a compiled program: it has no ENTRY")
  return computations, entry


def _collect(computations, name: str, everyone) -> Iterator[Collective]:
  """Yields the collectives of a computation and of all that it calls.

  Args:
    computations: see `_computations`.
    name: of the computation.
    everyone: the partitions that take part where none are listed.
  """
  for shape, opcode, rest in computations[name]:
    kind = opcode.removesuffix("-start")
    if kind in KINDS:
      groups = _groups(rest, everyone)
      yield Collective(kind, _size(kind, opcode, shape, len(groups[0])), groups)
      continue
    if opcode == "conditional":
      yield from _costliest(computations, _branches(rest), everyone)
      continue
    trips = _trips(computations, rest) if opcode == "while" else 1
    for called in _CALLED.findall(rest):
      for inner in _collect(computations, called, everyone):
        counted, times = inner.counted and trips is not None, inner.times * (trips or 1)
        yield dataclasses.replace(inner, times=times, counted=counted)


def _trips(computations, rest: str) -> int | None:
  """Returns how often a loop runs, None if unknown.

  XLA notes it for most; a scan's can be read from the limit of its counter.
  """
  if noted := _TRIPS.search(rest):
    return int(noted[1])
  condition = computations[_CONDITION.search(rest)[1]]
  limits = [c[2] for c in condition if c[1] == "constant" and c[0].startswith("s32[]")]
  below = [c for c in condition if c[1] == "compare" and "direction=LT" in c[2]]
  return int(limits[0].split(")")[0]) if len(limits) == len(below) == 1 else None


def _branches(rest: str) -> list[str]:
  if listed := _BRANCHES.search(rest):
    return [name.strip().removeprefix("%") for name in listed[1].split(",")]
  return _BRANCH.findall(rest)


def _costliest(computations, branches: list[str], everyone) -> list[Collective]:
  candidates = [list(_collect(computations, name, everyone)) for name in branches]
  return max(candidates, key=lambda found: sum(c.sent for c in found), default=[])


def _size(kind: str, opcode: str, shape: str, devices: int) -> int:
  """Returns the bytes of the array that a group's devices hold together."""
  arrays = [_bytes(*found.groups()) for found in _ARRAY.finditer(shape)]
  if opcode != kind and kind != "all-reduce":
    # An asynchronous start returns its operands, then its results; collective-permute's
    # returns two numbers more.
    arrays = arrays[:2] if kind == "collective-permute" else arrays
    arrays = arrays[len(arrays) // 2 :]
  return sum(arrays) * (devices if kind == "reduce-scatter" else 1)


def _bytes(dtype: str, bits: str | None, dimensions: str) -> int:
  size = np.prod([int(d) for d in dimensions.split(",") if d], dtype=np.int64)
  return int(size) * (8 if dtype == "pred" else int(bits)) // 8


def _groups(rest: str, everyone: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
  """Parses the groups of devices, of which XLA knows three notations."""
  if listed := _LISTED.search(rest):
    groups = re.findall(r"\{([\d, ]+)\}", listed[1])
    return tuple(tuple(map(int, group.split(","))) for group in groups)
  if iota := _IOTA.search(rest):
    count, devices, *order = iota.groups()
    return tuple(map(tuple, _ids(*order).reshape(int(count), int(devices)).tolist()))
  if mesh := _MESH.search(rest):
    return _mesh_groups(*mesh.groups())
  if "replica_groups={}" in rest or "replica_groups" not in rest:
    return (everyone,)
  raise ValueError(f"unknown groups of devices: {rest[:300]}")


def _ids(dimensions: str, permutation: str | None) -> np.ndarray:
  """Numbers the partitions in row-major order, then permutes the dimensions."""
  sizes = list(map(int, dimensions.split(",")))
  ids = np.arange(np.prod(sizes)).reshape(sizes)
  return ids.transpose(list(map(int, permutation.split(",")))) if permutation else ids


def _mesh_groups(mesh, dimensions, permutation, axes) -> tuple[tuple[int, ...], ...]:
  """Returns groups over some named axes of a mesh."""
  named = re.findall(r"'(\w+)'=(\d+)", mesh)
  names, sizes = [name for name, _ in named], [int(size) for _, size in named]
  ids = _ids(dimensions or str(np.prod(sizes)), permutation).reshape(sizes)
  shared = [names.index(name) for name in re.findall(r"'(\w+)'", axes)]
  ids = np.moveaxis(ids, shared, range(-len(shared), 0))
  devices = int(np.prod([sizes[axis] for axis in shared]))
  return tuple(map(tuple, ids.reshape(-1, devices).tolist()))
