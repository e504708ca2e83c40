"""Speaks many jobs of any lengths by a language model, with few compiled programs."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcodec.inference.buckets import bucket, group_by_length
from jaxcodec.slm import alignment
from jaxcodec.slm.block_sizes import BlockSizes
from jaxcodec.slm.positions import prompt_pace
from jaxcodec.types import Tokens


class SpeakJob(NamedTuple):
  """A text to speak.

  Attributes:
    text_S: ids that the model reads, from begin to end: those of the prompt's text,
      then those to speak; see `data.text.wrapped`.
    prompt_TxK: codes of the prompt, which is spoken on from; None without one.
    seed: of the random draws, below 2 ** 32.
    prompt_symbols: how many of `text_S` are the prompt's text.
  """

  text_S: np.ndarray
  prompt_TxK: np.ndarray | None
  seed: int
  prompt_symbols: int = 0


class FillJob(NamedTuple):
  """Semantic tokens to say in a prompt's voice.

  Attributes:
    semantic_T: those of the prompt, then those to say.
    prompt_TxK: codes of the prompt; None without one.
    seed: of the random draws, below 2 ** 32.
  """

  semantic_T: np.ndarray
  prompt_TxK: np.ndarray | None
  seed: int


def speak(
  model: Any, params: Any, jobs: Sequence[SpeakJob], sampler: Any, batch_size: int
) -> Iterator[tuple[int, np.ndarray, bool]]:
  """Speaks texts; those of similar length share a batch, so the order changes.

  The result of a job depends on neither the others nor the batch size.

  Args:
    model: a `slm.valle.Valle` or `slm.delay.Delay`.
    params: its parameters.
    jobs: what to speak.
    sampler: an `ArSampler`, for a `Delay` a `DelaySampler`.
    batch_size: jobs at a time, at most.

  Yields:
    (index of a job, the codes (T, K) int32 behind its prompt, whether it ended by
    itself). T is 0 where it ended at once, `sampler.max_frames` where it never did.
  """
  rows = _rows(jobs, batch_size)
  groups: dict[tuple[int, int], list[int]] = {}
  # A batch takes as long as its longest row: sorted, its rows end at about one time.
  for index in sorted(range(len(jobs)), key=lambda i: len(jobs[i].text_S)):
    groups.setdefault(_padded(jobs[index]), []).append(index)
  for (symbols, frames), members in sorted(groups.items()):
    for start in range(0, len(members), rows):
      batch = [jobs[i] for i in members[start : start + rows]]
      given, prompts = _inputs(model, batch, (rows, symbols, frames))
      spoken = jax.device_get(
        model.generate(params, *given, **prompts, sampler=sampler)
      )
      for row, index in enumerate(members[start : start + rows]):
        codes_TxK = spoken.tokens.codes_BxTxK[row, : spoken.length_B[row]]
        yield index, codes_TxK, bool(spoken.ended_B[row])


def speak_in_blocks(
  model: Any, params: Any, job: SpeakJob, sampler: Any, sizes: BlockSizes
) -> Iterator[tuple[np.ndarray, bool]]:
  """Speaks a text, and gives its first codes while the others are not yet spoken.

  But for rounding, the codes are those of `speak` in the delay pattern; VALL-E has its
  codebook 0, the others are only about so, see `slm.valle_blocks`.

  Yields:
    (the codes (T, K) int32 of the next frames, whether it has ended by itself).
  """
  given, prompts = _inputs(model, [job], (1, *_padded(job)))
  blocks = model.generate_blocks(
    params, *given, **prompts, sampler=sampler, sizes=sizes
  )
  for tokens, ended_B in blocks:
    yield tokens.codes_BxTxK[0, tokens.mask_BxT[0]], bool(ended_B[0])


def fill(
  model: Any, params: Any, jobs: Sequence[FillJob], sampler: Any, batch_size: int
) -> Iterator[tuple[int, np.ndarray]]:
  """Says semantic tokens; those of similar length share a batch, so the order changes.

  The result of a job depends on neither the others nor the batch size.

  Args:
    model: a `slm.maskgit.MaskGit`.
    params: its parameters.
    jobs: what to say.
    sampler: an `IterativeSampler`.
    batch_size: jobs at a time, at most.

  Yields:
    (index of a job, the codes (T, K) int32 behind its prompt).
  """
  lengths = [len(job.semantic_T) for job in jobs]
  most = _rows(jobs, batch_size)
  for padded, rows, members in group_by_length(lengths, lambda _: most):
    batch = [jobs[i] for i in members]
    semantic_BxT, mask_BxT = _stack([job.semantic_T for job in batch], (rows, padded))
    prompt = _prompts(batch, (rows, padded, model.spec.num_codebooks))
    tokens = model.generate(
      params,
      _keys(batch, rows),
      semantic_BxT,
      mask_BxT,
      prompt=prompt,
      sampler=sampler,
    )
    codes_BxTxK = np.asarray(tokens.codes_BxTxK)
    for row, index in enumerate(members):
      yield index, codes_BxTxK[row, _prompt_frames(jobs[index]) : lengths[index]]


def align(
  model: Any, params: Any, job: SpeakJob, codes_TxK: np.ndarray
) -> tuple[np.ndarray, float]:
  """Finds which symbols the frames of a job and its prompt were spoken from.

  Args:
    model: a `slm.valle.Valle`.
    params: its parameters.
    job: what was spoken.
    codes_TxK: what came of it.

  Returns:
    The attention over `job.text_S` of the head that looks at single symbols, (T, S) of
    all frames, and its focus rate; see `alignment.sharpest`.
  """
  frames, prompt_TxK = _prompt_frames(job), job.prompt_TxK
  if prompt_TxK is not None:
    codes_TxK = np.concatenate([prompt_TxK, codes_TxK])
  (text_1xS, text_mask_1xS), (code_1xT, mask_1xT) = (
    (array[None].astype(np.int32), np.ones((1, len(array)), bool))
    for array in (job.text_S, codes_TxK[:, 0])
  )
  pace = prompt_pace(
    np.array([job.prompt_symbols]), np.array([frames]), model.symbols_per_frame
  )
  inputs = text_1xS, text_mask_1xS, code_1xT, mask_1xT, pace
  weight = alignment.text_attention(model.ar, params["ar"], inputs)
  weight_TxS, focus = alignment.sharpest(weight)
  return np.asarray(weight_TxS), float(focus)


def _padded(job):
  """Returns the padded lengths of a job's text and prompt."""
  frames = _prompt_frames(job)
  return bucket(len(job.text_S)), bucket(frames) if frames else 0


def _inputs(model, batch, shape):
  """Returns what `generate` is given for jobs; `shape` is (rows, symbols, frames)."""
  rows, symbols, frames = shape
  text_BxS, mask_BxS = _stack([job.text_S for job in batch], (rows, symbols))
  prompt = _prompts(batch, (rows, frames, model.spec.num_codebooks))
  symbols_B = np.zeros(rows, np.int32)
  symbols_B[: len(batch)] = [job.prompt_symbols for job in batch]
  prompts = dict(prompt=prompt if frames else None, prompt_symbols_B=symbols_B)
  return (_keys(batch, rows), text_BxS, mask_BxS), prompts


def _rows(jobs, batch_size):
  """Returns the rows of a batch: a power of two for fewer jobs than `batch_size`."""
  return min(batch_size, 1 << max(0, len(jobs) - 1).bit_length())


def _prompt_frames(job):
  return 0 if job.prompt_TxK is None else len(job.prompt_TxK)


def _prompts(batch, shape):
  nothing = np.zeros((0, *shape[2:]), np.int32)
  prompts = [nothing if job.prompt_TxK is None else job.prompt_TxK for job in batch]
  return Tokens(*_stack(prompts, shape))


def _stack(arrays, shape):
  """Stacks int32 arrays, zeros behind them; also returns which are valid, (B, T)."""
  stacked, mask = np.zeros(shape, np.int32), np.zeros(shape[:2], bool)
  for row, array in enumerate(arrays):
    stacked[row, : len(array)] = array
    mask[row, : len(array)] = True
  return stacked, mask


def _keys(batch, rows):
  seeds = [job.seed for job in batch] + [0] * (rows - len(batch))
  return jax.vmap(jax.random.key)(np.array(seeds, np.uint32))
