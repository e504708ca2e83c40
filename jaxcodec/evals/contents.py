"""What tokens carry: bits about the phone and the speaker in each codebook.

The information that codes have about a label is the label's entropy less its entropy
given the codes. Neither is known, and counting is far too optimistic: most combinations
of several codes occur once, and tell the label of the one frame that they occur in. So
both are cross-entropies of held-out frames, by models of other frames. The entropy
given codes is then too high and the information too low, if the model isn't the best
there is: what is found together is a lower bound, up to how well the labels'
frequencies are known. What one codebook adds to those before is a difference of bounds.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcodec.data.alignments import numbered
from jaxcodec.evals import code_classifier
from jaxcodec.evals.code_classifier import Frames
from jaxcodec.stats import means, ngram_entropy

MEASURES = {
  "entropy": "bits of the label by the frequencies of other utterances",
  "alone": "bits that each codebook tells by itself, counted in other utterances",
  "given_before": "bits that each adds to those before, by the classifier",
  "together": "bits that all of them tell, by the classifier: a lower bound",
  "shuffled": "the same of codes of other frames, of a part of the utterances: about 0",
}
FOLDS = 3
_VALID = 10  # one of so many utterances chooses when the training stops
_MOST_FRAMES = 120_000  # to train on
_MANY = 10  # from so many speakers on, these are resampled, not utterances


class Clip(NamedTuple):
  """An utterance's codes (T, K), the phone of each frame, and its speaker."""

  id: str
  speaker: str
  codes_TxK: np.ndarray
  phones: Sequence[str]


def measure(
  clips: Sequence[Clip], codebook_size: int, *, folds: int = FOLDS, seed: int = 0
) -> dict[str, Any]:
  """Returns what codes tell of a frame's phone and speaker, bits a frame.

  Every utterance is held out once, while models learn from the others, which are of
  the same speakers. Intervals are of resampled utterances, or of speakers where there
  are ten or more, for models as they are.

  Args:
    clips: the utterances.
    codebook_size: codes are below it.
    folds: parts, of which one after the other is held out.
    seed: of parts and classifiers.

  Returns:
    Counts, and under `targets` by "phone" and "speaker" the values of MEASURES, those
    of codebooks as lists, each {"mean", "ci95"}. Speakers with a single utterance are
    left out of "speaker", which is None if fewer than two are left.

  Raises:
    ValueError: there are fewer utterances than twice the parts.
  """
  if len(clips) < 2 * folds:
    raise ValueError(
      f"what tokens carry needs at least {2 * folds} utterances, got {len(clips)}"
    )
  speakers = [clip.speaker for clip in clips]
  often = [clip for clip in clips if speakers.count(clip.speaker) > 1]
  several = len({clip.speaker for clip in often}) > 1 and len(often) >= 2 * folds
  by_speaker = len(set(speakers)) >= _MANY
  options = codebook_size, folds, seed, by_speaker
  return {
    "utterances": len(clips),
    "speakers": len(set(speakers)),
    "frames": sum(len(clip.codes_TxK) for clip in clips),
    "codebook_size": codebook_size,
    "resampled": "speakers" if by_speaker else "utterances",
    "targets": {
      "phone": _target(clips, [clip.phones for clip in clips], *options),
      "speaker": _target(often, [[c.speaker] * len(c.phones) for c in often], *options)
      if several
      else None,
    },
  }


def _target(clips, labels, size, folds, seed, by_speaker) -> dict[str, Any]:
  """Returns the measures of one kind of label."""
  label_of, names = numbered(labels)
  codes_of = [np.asarray(clip.codes_TxK, np.int64) for clip in clips]
  problem = _Problem(codes_of, label_of, size, len(names), seed)
  fold_U = _folds([clip.speaker for clip in clips], folds, seed)
  parts = [problem.surprisals(fold_U == fold) for fold in range(folds)]
  by_clip = {index: row for part in parts for index, row in part.items()}
  table = np.stack([by_clip[index] for index in range(len(clips))])  # (U, 1 + 2 K)
  control = problem.shuffled().surprisals(fold_U == 0)
  own = np.array(sorted(control))
  lost = np.stack([control[index] for index in own])
  K = codes_of[0].shape[1]
  prior_U, alone_UxK, nested_UxK = table[:, 0], table[:, 1 : K + 1], table[:, K + 1 :]
  before_UxK = np.column_stack([prior_U, nested_UxK[:, :-1]])

  def bits(sum_U, chosen=None):
    chosen = np.arange(len(clips)) if chosen is None else chosen
    return _estimate(clips, sum_U, chosen, by_speaker)

  return {
    "labels": names,
    "entropy": bits(prior_U),
    "alone": [bits(prior_U - x_U) for x_U in alone_UxK.T],
    "given_before": [bits(x_U) for x_U in (before_UxK - nested_UxK).T],
    "together": bits(prior_U - nested_UxK[:, -1]),
    "shuffled": bits(lost[:, 0] - lost[:, -1], own),
  }


class _Problem(NamedTuple):
  """Codes (T, K) and labels (T,) of utterances."""

  codes: list[np.ndarray]
  labels: list[np.ndarray]
  size: int
  num_labels: int
  seed: int

  def shuffled(self) -> "_Problem":
    """Returns the same with every frame's codes at another frame of any utterance."""
    rng = np.random.default_rng(self.seed)
    codes = rng.permutation(np.concatenate(self.codes))
    ends = np.cumsum([len(one) for one in self.codes])[:-1]
    return self._replace(codes=np.split(codes, ends))

  def surprisals(self, held_out_U: np.ndarray) -> dict[int, np.ndarray]:
    """Returns the sums over each held-out utterance's frames, by its index, (1 + 2 K,).

    They are by frequencies alone, given each codebook, and given codebooks 0 to k.
    """
    rng = np.random.default_rng(self.seed)
    others = rng.permutation(np.flatnonzero(~held_out_U))
    count = -(-len(others) // _VALID)
    train, valid = self._frames(others[count:]), self._frames(others[:count])
    seen, test_U = self._frames(others), np.flatnonzero(held_out_U)
    test = self._frames(test_U)
    columns = [ngram_entropy.surprisals(*_labels(seen, test), self.num_labels)]
    columns += [
      ngram_entropy.surprisals(*_labels(seen, test, book), self.num_labels)
      for book in range(test.codes_NxK.shape[1])
    ]
    few = rng.permutation(len(train.label_N))[:_MOST_FRAMES]
    nested_NxK = code_classifier.surprisals(
      Frames(*(array[few] for array in train)),
      valid,
      test,
      num_labels=self.num_labels,
      codebook_size=self.size,
      seed=self.seed,
    )
    table = np.column_stack([*columns, nested_NxK])
    ends = np.cumsum([len(self.labels[u]) for u in test_U])[:-1]
    sums = [rows.sum(0) for rows in np.split(table, ends)]
    return dict(zip(test_U.tolist(), sums, strict=True))

  def _frames(self, chosen) -> Frames:
    return Frames(
      np.concatenate([self.codes[u] for u in chosen]),
      np.concatenate([self.labels[u] for u in chosen]),
    )


def _labels(seen: Frames, test: Frames, book: int | None = None):
  """Returns labels and, as their contexts, a codebook's codes, of both sets."""
  if book is None:
    return [seen.label_N], [test.label_N]
  return [[x.label_N, x.codes_NxK[:, book]] for x in (seen, test)]


def _folds(speakers: Sequence[str], folds: int, seed: int) -> np.ndarray:
  """Returns each utterance's part, (U,), so that every speaker is in several."""
  order = np.random.default_rng(seed).permutation(len(speakers))
  by_speaker = sorted(order, key=lambda index: speakers[index])
  fold_U = np.zeros(len(speakers), int)
  fold_U[by_speaker] = np.arange(len(speakers)) % folds
  return fold_U


def _estimate(clips, sum_U, chosen, by_speaker) -> dict[str, Any]:
  """Returns the mean over frames with its interval.

  Args:
    clips: all utterances.
    sum_U: of the chosen ones, the sum over frames.
    chosen: their indices.
    by_speaker: whether speakers are resampled, not utterances.
  """
  frames_U = np.array([len(clips[u].codes_TxK) for u in chosen], float)
  if by_speaker:
    speakers = [clips[u].speaker for u in chosen]
    _, unit_U = np.unique(speakers, return_inverse=True)
    sum_U, frames_U = (np.bincount(unit_U, x) for x in (sum_U, frames_U))
  return means.estimate(sum_U / frames_U, frames_U)
