"""Pairs of utterances of one speaker, for models that continue a prompt."""

import collections

import numpy as np

from jaxcodec.data.token_store import TokenSource


class Continuations:
  """A token file's records, followed by pairs of them joined into one record each.

  A model that is trained on single utterances alone takes the end of its prompt for the
  end of everything. This stands in for a `TokenSource`; the first `len(source)` records
  are the source's own.

  Args:
    source: the file.
    times: pairs in which each utterance with a text is the second one, where its
      speaker has several.
    seed: of the choice of the first one.

  Attributes:
    path: of the source's file.
    num_codebooks: K, of the source.
    labels: of each record its `id`, `speaker`, `frames` and, with text, `symbols`.
  """

  def __init__(self, source: TokenSource, *, times: int, seed: int):
    self.path, self.num_codebooks = source.path, source.num_codebooks
    self._source = source
    self._members = [(index,) for index in range(len(source))]
    self._members += _pairs(source, times, np.random.default_rng(seed))
    self.labels = [self._label(members) for members in self._members]

  def __len__(self) -> int:
    return len(self._members)

  def __getitem__(self, index: int) -> dict:
    """Returns a record of the source, or the joined arrays of two.

    Of two it also gives how long the first one is: `prompt_symbols`, `prompt_frames`.
    """
    records = [self._source[member] for member in self._members[index]]
    if len(records) == 1:
      return records[0]
    names = ("codes_TxK", "semantic_T", "text_S")
    joined = {name: np.concatenate([one[name] for one in records]) for name in names}
    prompt = records[0]
    lengths = len(prompt["text_S"]), len(prompt["codes_TxK"])
    return {**joined, "prompt_symbols": lengths[0], "prompt_frames": lengths[1]}

  def _label(self, members):
    labels = [self._source.labels[member] for member in members]
    label = {name: labels[-1][name] for name in ("id", "speaker")}
    counts = [name for name in ("frames", "symbols") if name in labels[0]]
    return {**label, **{name: sum(one[name] for one in labels) for name in counts}}


def _pairs(source, times, rng):
  """Returns (first, second): neighbours in a random circle of a speaker's records."""
  speakers = collections.defaultdict(list)
  for index, label in enumerate(source.labels):
    if "symbols" in label:
      speakers[label["speaker"]].append(index)
  pairs = []
  for members in speakers.values():
    for _ in range(times if len(members) > 1 else 0):
      circle = rng.permutation(members)
      pairs += zip(np.roll(circle, 1).tolist(), circle.tolist(), strict=True)
  return pairs
