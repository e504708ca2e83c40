"""Pairs the files of folders by their names, with what is said in them."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxcodec.cli.file_tree import FilePair
from jaxcodec.cli.scanning import Skipped, scan_all
from jaxcodec.data.audio.files import SUFFIXES, AudioInfo, scan_audio
from jaxcodec.data.source import DataError
from jaxcodec.data.sources.audio_file import UNKNOWN_SPEAKER, AudioFile
from jaxcodec.data.sources.layouts import list_folder
from jaxcodec.data.sources.tree import list_files, printable, same_letters

_NAMED = 5  # of the files of a kind of fault
_ADVICE = "--on-error skip leaves them out"
Stems = dict[str, pathlib.Path]


class Folders(NamedTuple):
  """What a command is given: folders, and a table of texts; None where it isn't."""

  reference: pathlib.Path
  generated: pathlib.Path
  prompts: pathlib.Path | None
  texts: pathlib.Path | None


class Part(NamedTuple):
  """One of `total` parts of a recording."""

  number: int
  total: int


class Recording(NamedTuple):
  """A generated file with its counterparts.

  Attributes:
    id: its path below the folder, without suffix.
    generated: the file.
    reference: the original.
    prompt: of the voice; None where there are no prompts.
    speaker: by the layout of the reference's folder.
    text: what the reference says, None where unknown.
    part: of both files that is meant; None for all.
  """

  id: str
  generated: pathlib.Path
  reference: pathlib.Path
  prompt: pathlib.Path | None
  speaker: str
  text: str | None
  part: Part | None = None

  @property
  def paths(self) -> list[pathlib.Path]:
    """Its files."""
    return [path for path in (self.generated, self.reference, self.prompt) if path]


class Checked(NamedTuple):
  """Recordings whose files were read through, and what is left out.

  Attributes:
    recordings: in the order of their ids.
    infos: sizes of all their files.
    skipped: {"item": name, "reason": why}.
  """

  recordings: list[Recording]
  infos: Mapping[pathlib.Path, AudioInfo]
  skipped: Skipped


def pair_files(folders: Folders, on_error: str) -> Checked:
  """Pairs the folders' files by path without suffix, and reads them all through.

  Texts and speakers are those of the reference's folder, in a layout that `list_folder`
  knows, or of the table.

  Args:
    folders: what to pair.
    on_error: `raise` or `skip` files without counterparts, and bad ones.

  Raises:
    DataError: a folder that isn't there or has no sound files, two files of one name;
      files without counterparts, all of them in one error; a bad file; nothing is left.
  """
  found = {
    "--reference": _stems("--reference", folders.reference),
    "--generated": _stems("--generated", folders.generated),
  }
  if folders.prompts is not None:
    found["--prompts"] = _stems("--prompts", folders.prompts)
  if folders.texts is not None and not folders.texts.is_file():
    raise DataError(f"--texts: there is no file {folders.texts}")
  labels = {i.path: i for i in list_folder(folders.reference, folders.texts)[0]}
  if folders.texts is not None:
    found["--texts"] = {
      name: path
      for name, path in found["--reference"].items()
      if path in labels and labels[path].text is not None
    }
  names, skipped = _complete(found, on_error)
  if not names:
    raise DataError(f"no file has all its counterparts; {skipped[0]['reason']}")
  return _scan([_recording(name, found, labels) for name in names], skipped, on_error)


def _stems(option: str, folder: pathlib.Path) -> Stems:
  if not folder.is_dir():
    raise DataError(f"{option}: {folder} is not a folder")
  stems: Stems = {}
  for path in list_files(folder):
    if path.suffix.lower() not in SUFFIXES:
      continue
    below = path.relative_to(folder).with_suffix("").as_posix()
    name = same_letters(printable(below))
    if name in stems:
      raise DataError(f"{option}: {path} and {stems[name]} have the same name")
    stems[name] = path
  if not stems:
    raise DataError(f"{option}: no {', '.join(SUFFIXES)} file anywhere in {folder}")
  return stems


def _complete(found: Mapping[str, Stems], on_error: str) -> tuple[list[str], Skipped]:
  """Returns the names that all have, and the files of the others.

  Prompts and texts that nothing was made of are no fault.
  """
  everywhere = set.intersection(*(set(stems) for stems in found.values()))
  skipped, faults = [], []
  for option, needing in _needs(found).items():
    lacking = sorted(needing - found[option].keys())
    if lacking:
      faults.append(f"{option} lacks {some(lacking)}")
    for name in lacking:
      path = found["--generated"].get(name) or found["--reference"][name]
      reason = f"{path}: {option} has nothing of its name"
      skipped.append({"item": str(path), "reason": reason})
  if faults and on_error == "raise":
    raise DataError(f"files don't pair: {'; '.join(faults)}. {_ADVICE}")
  return sorted(everywhere), skipped


def _needs(found: Mapping[str, Stems]) -> dict[str, set[str]]:
  """Returns the names that should be found by each option."""
  reference, generated = set(found["--reference"]), set(found["--generated"])
  needs = {"--reference": generated, "--generated": reference}
  return {option: needs.get(option, reference & generated) for option in found}


def _recording(
  name: str, found: Mapping[str, Stems], labels: Mapping[pathlib.Path, AudioFile]
) -> Recording:
  reference = found["--reference"][name]
  label = labels.get(reference)
  return Recording(
    id=name,
    generated=found["--generated"][name],
    reference=reference,
    prompt=found.get("--prompts", {}).get(name),
    speaker=label.speaker if label else UNKNOWN_SPEAKER,
    text=label.text if label else None,
  )


def _scan(recordings: Sequence[Recording], skipped: Skipped, on_error: str) -> Checked:
  paths = dict.fromkeys(path for r in recordings for path in r.paths)
  pairs = [FilePair(path, path) for path in paths]
  kept, bad = scan_all(pairs, scan_audio, on_error)
  infos = {pair.source: info for pair, info in kept}
  good = [r for r in recordings if all(path in infos for path in r.paths)]
  if not good:
    raise DataError(f"no file has all its counterparts; {bad[0]['reason']}")
  return Checked(good, infos, [*skipped, *bad])


def some(names: Sequence[str]) -> str:
  """Returns the first names, and how many there are."""
  more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
  return ", ".join(names[:_NAMED]) + more
