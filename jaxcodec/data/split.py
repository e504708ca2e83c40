"""Splits utterances into those to train on and two held-out parts.

By hash, so that new files leave the others where they were, or as a corpus does, by its
folders.
"""

import collections
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

from jaxcodec import files
from jaxcodec.data.source import DataError, Utterance

PARTS = ("train", "valid", "test")
# Texts of fewer words (digits, commands) occur in every part. Longer ones are sentences
# and stay in one part, whoever says them.
SENTENCE_WORDS = 3
# Of scripts that put no spaces between words: Chinese, Japanese, Thai, Lao, Burmese,
# Khmer. As many letters of them count as a sentence.
_SPACELESS = re.compile(
  "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"
)
_SENTENCE_LETTERS = 6
_PIECE = re.compile(r"@\d+$")  # of `data.audio.pieces`


def make_split(
  utterances: Sequence[Utterance],
  *,
  seed: int,
  valid: float = 0.05,
  test: float = 0.05,
) -> dict[str, list[int]]:
  """Returns the indices of the `train`, `valid` and `test` utterances.

  The same sentence by several speakers stays in one part. Each part has at least one
  utterance, and each speaker with two or more that could be trained on is in `train`.
  Sentences that weights of the package have heard are in `train`, unless they are most.

  Args:
    utterances: of a source.
    seed: another seed, another split.
    valid: approximate share of the sentences.
    test: approximate share of the sentences.

  Raises:
    DataError: fewer than three different sentences, or shares that leave no training.
  """
  if min(valid, test) <= 0 or valid + test >= 1:
    raise DataError(f"valid={valid} and test={test} must be above 0 and sum to below 1")
  groups = _groups(utterances)
  if len(groups) < len(PARTS):
    raise DataError(
      f"{len(utterances)} utterances with {len(groups)} different sentences are too few"
      " to split into train, valid and test"
    )
  heard = _heard(utterances, groups)
  ranked = sorted((_hash(seed, key), key) for key in groups if key not in heard)
  num_test = sum(rank < test for rank, _ in ranked)
  num_held = sum(rank < test + valid for rank, _ in ranked)
  num_test = min(max(1, num_test), len(ranked) - 2)
  num_held = min(max(num_test + 1, num_held), len(ranked) - 1)
  keys = [key for _, key in ranked]
  parts = {
    "train": keys[num_held:] + sorted(heard),
    "valid": keys[num_test:num_held],
    "test": keys[:num_test],
  }
  _give_every_speaker_training(utterances, groups, parts)
  return {
    part: sorted(index for key in parts[part] for index in groups[key])
    for part in PARTS
  }


def split_by_folder(
  utterances: Sequence[Utterance], folders: Mapping[str, Sequence[str]]
) -> dict[str, list[int]]:
  """Returns the indices of the `train`, `valid` and `test` utterances by their folders.

  Utterances in none of the folders are in no part.

  Args:
    utterances: of a source of files.
    folders: by part, names of folders anywhere on the way to its files, as
      `train-clean-100`.

  Raises:
    DataError: not these three parts, a folder of two of them, or a folder without an
      utterance.
  """
  if sorted(folders) != sorted(PARTS):
    raise DataError(f"data.folders must name {', '.join(PARTS)}, got {list(folders)}")
  part_of = {name: part for part in PARTS for name in folders[part]}
  if len(part_of) < sum(map(len, folders.values())):
    raise DataError(f"data.folders: a folder is of two parts: {dict(folders)}")
  split, left = {part: [] for part in PARTS}, set(part_of)
  for index, utterance in enumerate(utterances):
    found = [name for name in utterance.folder.split("/") if name in part_of]
    left.difference_update(found)
    if found:
      split[part_of[found[0]]].append(index)
  if left or not all(split.values()):
    there = sorted({utterance.folder.split("/")[0] for utterance in utterances})
    names = sorted(left) or [part for part in PARTS if not folders[part]]
    raise DataError(
      f"data.folders: no recording is in {', '.join(names)}; the folders at the top are"
      f" {', '.join(there)}"
    )
  return split


def write_split(
  path: str | os.PathLike,
  utterances: Sequence[Utterance],
  split: dict[str, list[int]],
) -> None:
  """Writes the split as JSON lists of utterance ids, in one step."""
  ids = {part: [utterances[i].id for i in split[part]] for part in PARTS}
  files.write_json(path, ids)


def read_split(
  path: str | os.PathLike, utterances: Sequence[Utterance]
) -> dict[str, list[int]]:
  """Returns the split that `write_split` wrote, as indices of these utterances.

  Raises:
    DataError: naming the file, if one of its utterances isn't there.
  """
  ids = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
  index_of = {utterance.id: index for index, utterance in enumerate(utterances)}
  missing = [name for part in PARTS for name in ids[part] if name not in index_of]
  if missing:
    raise DataError(
      f"data: {len(missing)} of the recordings that {path} lists aren't there, such as"
      f" {missing[0]!r}"
    )
  return {part: sorted(index_of[name] for name in ids[part]) for part in PARTS}


def digest(utterances: Sequence[Utterance], split: dict[str, list[int]]) -> str:
  """Returns a hex digest of which utterances are in which part."""
  ids = [[utterances[i].id for i in split[part]] for part in PARTS]
  return hashlib.sha256(repr(ids).encode()).hexdigest()


def _groups(utterances):
  """Returns indices by sentence; an utterance without one is its own group.

  So is a long recording that was cut into pieces, `talk@0` and `talk@600`.
  """
  groups = collections.defaultdict(list)
  for index, utterance in enumerate(utterances):
    words = re.findall(r"\w+", (utterance.text or "").lower())
    spaceless = len(_SPACELESS.findall(utterance.text or ""))
    sentence = len(words) >= SENTENCE_WORDS or spaceless >= _SENTENCE_LETTERS
    whole = f"id:{_PIECE.sub('', utterance.id)}"
    groups[" ".join(words) if sentence else whole].append(index)
  return groups


def _heard(utterances, groups):
  """Returns the sentences not to hold out; none if hardly others are left."""
  heard = {key for key in groups if any(utterances[i].was_heard for i in groups[key])}
  return heard if 2 * len(heard) <= len(groups) else set()


def _hash(seed, key):
  """Returns a number in [0, 1)."""
  digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
  return int.from_bytes(digest[:8]) / 2**64


def _give_every_speaker_training(utterances, groups, parts):
  """Moves a sentence to training for each speaker with several of them, none there."""
  count = collections.Counter(utterance.speaker for utterance in utterances)
  speakers = {key: {utterances[i].speaker for i in groups[key]} for key in groups}
  trained = set().union(*(speakers[key] for key in parts["train"]))
  for speaker in sorted(name for name, number in count.items() if number > 1):
    for part in ("valid", "test"):
      if speaker in trained or len(parts[part]) < 2:
        continue
      if own := [key for key in parts[part] if speaker in speakers[key]]:
        parts[part].remove(own[-1])
        parts["train"].append(own[-1])
        trained |= speakers[own[-1]]
