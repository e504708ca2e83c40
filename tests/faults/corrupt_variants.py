"""Kinds of files that jaxcodec reads, ways to damage them, and possible outcomes.

`corrupt.py` runs hundreds of variants, tests/test_corruption.py some of them.
"""

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
import random
import shutil
from collections.abc import Callable
from typing import Any

import corrupt_readers as readers
import numpy as np

# Outcomes of reading a variant. The last three are faults.
ERROR = "error"  # names the file; with on_error=skip it is skipped and counted
FALLBACK = "fallback"  # an error is logged and the checkpoint before it restored
SAME = "same"  # the damage doesn't affect the content
UNSEEN = "undetectable"  # the format has no checksum
FAULTS = WRONG, UNCLEAR, DIED = "silent wrong value", "unclear error", "hang or crash"


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of file.

  Attributes:
    make: writes a small good set into a folder.
    read: reads all of it; returns a value that differs for different contents.
    pattern: of the files to damage.
    checked: whether the format can reveal every damage.
    folder: whether it belongs to a plain folder of audio files.
    skippable: whether `read` takes on_error=skip, and then also returns the skipped.
  """

  make: Callable[[pathlib.Path], None]
  read: Callable[..., Any]
  pattern: str
  checked: bool = True
  folder: bool = False
  skippable: bool = False


# Formats of audio. Those of the last line are read by PyAV.
AUDIO = (
  *("wav", "flac", "mp3", "ogg", "oga", "opus"),
  *("aiff", "au", "w64", "rf64", "caf", "sph"),
  *("m4a", "mp4", "webm", "mka", "wma", "aac"),
)
KINDS = {
  **{
    suffix: Kind(
      readers.audio_maker(suffix),
      readers.read_folder,
      f"b.{suffix}",
      checked=suffix in ("flac", "ogg", "oga", "opus", "mka"),
      folder=True,
      skippable=True,
    )
    for suffix in AUDIO
  },
  **{
    name: Kind(make, readers.read_folder, pattern, checked=False, folder=True)
    for name, make, pattern in (
      ("metadata.csv", readers.make_csv, "metadata.csv"),
      ("table of another tool", readers.make_table, "metadata.csv"),
      ("text beside", readers.make_texts_beside, "b.lab"),
      ("transcript", readers.make_librispeech, "**/*.trans.txt"),
      ("libri-light json", readers.make_librilight, "**/*.json"),
    )
  },
  "list of files": Kind(
    readers.make_list, readers.read_list, "train.txt", checked=False, folder=True
  ),
  "tfds json": Kind(readers.make_set, readers.read_set, "tones/1.0.0/*.json"),
  "tfds shard": Kind(
    readers.make_set, readers.read_set, "tones/1.0.0/*.array_record*", skippable=True
  ),
  "foreign tfds json": Kind(
    readers.make_foreign_set, readers.read_set, "tones/1.0.0/*.json", checked=False
  ),
  "build record": Kind(readers.make_set, readers.build_again, "tones/1.0.0/**/*.json"),
  "token file": Kind(readers.make_jxc, readers.read_jxc, "a.jxc"),
  "small token file": Kind(
    functools.partial(readers.make_jxc, entropy=True), readers.read_jxc, "a.jxc"
  ),
  "token file by a language model": Kind(
    functools.partial(readers.make_jxc, entropy=readers.Clueless()),
    functools.partial(readers.read_jxc, language_model=readers.Clueless()),
    "a.jxc",
  ),
  "growing token file": Kind(readers.make_growing, readers.read_growing, "a.jxc"),
  "small growing token file": Kind(
    functools.partial(readers.make_growing, entropy=True),
    readers.read_growing,
    "a.jxc",
  ),
  **{
    name: Kind(make, readers.published_reader(name), name, checked=False)
    for name, make in (("a.dac", readers.make_dac), ("a.ecdc", readers.make_ecdc))
  },
  "token records": Kind(readers.make_tokens, readers.read_tokens, "t.array_record"),
  "checkpoint": Kind(
    readers.make_checkpoints, readers.read_checkpoint, "checkpoints/2/**/*"
  ),
  "TextGrid": Kind(
    readers.make_textgrid, readers.read_textgrid, "a.TextGrid", checked=False
  ),
  "params": Kind(readers.make_params, readers.read_params, "params.safetensors"),
}


def _place(data: bytearray, rng: random.Random) -> int:
  """Chooses a byte that isn't zero, as small record files are mostly padding."""
  return int(rng.choice(np.flatnonzero(np.frombuffer(bytes(data), np.uint8))))


def _flip(data: bytearray, position: int, rng: random.Random) -> None:
  data[position] ^= 1 << rng.randrange(8)


def _truncate(data, rng):
  del data[rng.randrange(1, len(data)) :]


def _last_byte(data, rng):
  del data[-1:]


def _header_bit(data, rng):
  _flip(data, rng.randrange(min(48, len(data))), rng)


def _bit(data, rng):
  _flip(data, _place(data, rng), rng)


def _garbage(data, rng):
  start = _place(data, rng)
  stop = min(len(data), start + 32)
  data[start:stop] = rng.randbytes(stop - start)


def _hole(data, rng):
  start = _place(data, rng)
  stop = min(len(data), start + 512)
  data[start:stop] = bytes(stop - start)


def _wrong_header(data, rng):
  data[:16] = rng.randbytes(16)


def _other_format(data, rng):
  data[:] = rng.choice([b"fLaC", b"RIFF", b"OggS", b"{}\n", b"\x89PNG"]) * 64


def _trailing(data, rng):
  data += rng.randbytes(64)


def _empty(data, rng):
  data.clear()


DAMAGES: dict[str, Callable[[bytearray, random.Random], None]] = {
  "truncated": _truncate,
  "last byte gone": _last_byte,
  "header bit": _header_bit,
  "any bit": _bit,
  "garbage": _garbage,
  "zeroed": _hole,
  "wrong header": _wrong_header,
  "other format": _other_format,
  "trailing": _trailing,
  "empty": _empty,
}
REMOVED = "removed"
# Samples that float wav files can hold and audio can't.
SAMPLES = {"nan": float("nan"), "inf": float("inf"), "huge": 1e9}


@dataclasses.dataclass(frozen=True)
class Variant:
  """One damaged file: a kind of file, a damage, and the seed of where it hits."""

  kind: str
  damage: str
  seed: int

  def __str__(self):
    return f"{self.kind}, {self.damage}, {self.seed}"


def variants(count: int) -> list[Variant]:
  """Returns the first `count` variants; every kind and damage comes early."""
  pairs = [("wav", damage) for damage in SAMPLES]
  pairs += [(kind, damage) for damage in DAMAGES for kind in KINDS]
  # A plain folder doesn't record which files it had.
  pairs += [(name, REMOVED) for name, kind in KINDS.items() if not kind.folder]
  rounds = -(-count // len(pairs))
  return [Variant(*pair, seed) for seed in range(rounds) for pair in pairs][:count]


class Lab:
  """Makes each good set once, and damaged copies of it, in a folder."""

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self._good: dict[str, Any] = {}

  def outcome(self, variant: Variant) -> tuple[str, str]:
    """Returns the outcome of reading the variant, and the error or other detail."""
    kind = KINDS[variant.kind]
    good = self._folder / variant.kind
    if variant.kind not in self._good:
      good.mkdir(parents=True)
      kind.make(good)
      self._good[variant.kind] = _read_copy(good, kind.read)
    copy = self._folder / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(good, copy, copy_function=shutil.copy2)
    victim = _damage(copy, kind, variant)
    return _judge(kind, copy, victim, self._good[variant.kind])


def _read_copy(good, read):
  """Reads a copy, since reading may write into the folder."""
  copy = good.with_name("good copy")
  shutil.copytree(good, copy, copy_function=shutil.copy2)
  value = read(copy)
  shutil.rmtree(copy)
  return value


def _damage(folder, kind, variant):
  digest = hashlib.sha256(str(variant).encode()).digest()
  rng = random.Random(digest)
  paths = sorted(
    path for path in folder.glob(kind.pattern) if path.is_file() and path.stat().st_size
  )
  victim = rng.choice(paths)
  if variant.damage in SAMPLES:
    readers.write_sample(victim, SAMPLES[variant.damage], variant.seed)
  elif variant.damage == REMOVED:
    victim.unlink()
  else:
    data = bytearray(victim.read_bytes())
    DAMAGES[variant.damage](data, rng)
    victim.write_bytes(data)
  return victim


def _judge(kind, folder, victim, good):
  names = _names(folder, victim)
  try:
    value = kind.read(folder)
  except readers.CLEAR as error:
    if not any(name in str(error) for name in names):
      return UNCLEAR, f"does not name {victim.name}: {error}"
    return _judge_skipping(kind, folder, names, good) or (ERROR, str(error))
  except Exception as error:  # noqa: BLE001 - whatever else it is, is a finding
    return UNCLEAR, f"{type(error).__name__}: {error}"
  if value == good:
    return SAME, ""
  if value == readers.STEPPED_BACK:
    return FALLBACK, ""
  if kind.checked:
    return WRONG, f"{value!r} of {victim.name}"
  return UNSEEN, ""


def _names(folder, victim):
  """Returns the names that an error may give the file; a set stands for its files."""
  names = [victim.name]
  if victim.parent.name == "1.0.0":
    names.append(f"{victim.parent}: ")
  if not victim.exists():
    names.append(str(folder))
  if "checkpoints" in victim.parts:
    names.append(str(folder / "checkpoints"))
  return names


def _judge_skipping(kind, folder, names, good):
  """Returns the fault, None if on_error=skip left out the damaged file, counted."""
  if not kind.skippable:
    return None
  # Of a folder the other files remain, so that nothing is left to raise.
  with contextlib.suppress(*(() if kind.folder else readers.CLEAR)):
    value, reasons = kind.read(folder, on_error="skip")
    if not reasons or not all(any(n in reason for n in names) for reason in reasons):
      return UNCLEAR, f"skipped without its name: {reasons}"
    if not value.items() <= good.items():
      return WRONG, "of what was not skipped"
  return None
