"""Encodes and decodes folders of files, a batch of files in memory at a time."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcodec.api import checks
from jaxcodec.api.codec_model import CodecModel
from jaxcodec.cli import file_tree, unfinished
from jaxcodec.cli.file_tree import FilePair
from jaxcodec.cli.scanning import Failures, Skipped, scan_all
from jaxcodec.coding.scored import Scores
from jaxcodec.data.audio.files import (
  AudioInfo,
  read_channels,
  resample,
  scan_audio,
  write_wav,
)
from jaxcodec.data.source import DataError
from jaxcodec.inference.codec import Coded
from jaxcodec.progress import Progress
from jaxcodec.types import Tokens

# Surrounds the writing; see `unfinished.noted`.
Note = contextlib.AbstractContextManager[None]


class _Recording(NamedTuple):
  """A file to encode, and how many of its channels are coded, each apart."""

  pair: FilePair
  info: AudioInfo
  num_apart: int


class _Clip(NamedTuple):
  """A clip of a token file: its place there and its lengths as audio and as tokens.

  `num_channels` clips are the channels of one recording, of which `channel` is one.
  """

  source: pathlib.Path
  row: int
  target: pathlib.Path
  num_samples: int
  blank: Coded
  channel: int
  num_channels: int


def encode_files(
  codec: CodecModel,
  pairs: Sequence[FilePair],
  *,
  num_codebooks: int | None = None,
  channels: str = checks.AVERAGE,
  entropy: bool | Scores = False,
  on_error: str = "raise",
  note: Note | None = None,
) -> Skipped:
  """Writes a token file for each audio file, of any rate and number of channels.

  Every file is read through before the first is encoded.

  Args:
    codec: encodes.
    pairs: audio files and where their tokens go.
    num_codebooks: how many codebooks to use, from the coarsest; all if None.
    channels: `average` those that a codec of one channel has no room for, or `keep`
      each as a clip of its own.
    entropy: whether the token files are of the smaller kind; see `Tokens.save`.
    on_error: `raise` at the first bad file or `skip` it.
    note: surrounds the writing.

  Returns:
    {"item": name, "reason": why} of what was skipped.

  Raises:
    ValueError: num_codebooks, a bad file, or none that is good.
  """
  K = checks.num_codebooks(num_codebooks, codec.spec)
  kept, skipped = scan_all(pairs, functools.partial(_scan, codec), on_error)
  files = [_recording(codec, pair, info, channels) for pair, info in kept]
  jobs = [(f, channel) for f in files for channel in range(f.num_apart)]
  lengths = [
    codec.length_at_own_rate(f.info.num_samples, f.info.sample_rate) for f, _ in jobs
  ]
  read = functools.lru_cache(maxsize=1)(read_channels)
  failures = Failures(on_error)

  def read_one(index: int) -> np.ndarray:
    file, channel = jobs[index]
    audio_NxC, rate = read(file.pair.source)
    one = channel if file.num_apart > 1 else None
    return _at_codec_rate(codec, audio_NxC, rate, one)

  def load(index: int) -> np.ndarray:
    path = jobs[index][0].pair.source
    silence = np.zeros((lengths[index], codec.num_channels), np.float32)
    return failures.attempt(
      path, lambda: _as_checked(read_one(index), silence, path), silence
    )

  each = codec.runner.encode_each(lengths, load, K)
  parts: dict[pathlib.Path, dict[int, Coded]] = {}
  with note or contextlib.nullcontext(), _progress(len(files), "encode") as progress:
    for index, coded in each:
      file, channel = jobs[index]
      done = parts.setdefault(file.pair.target, {})
      done[channel] = coded
      if len(done) == file.num_apart:
        if file.pair.source not in failures:
          _save(codec, file, [done[i] for i in range(file.num_apart)], entropy)
        del parts[file.pair.target]
        progress.update()
  return skipped + failures.listed()


def decode_files(
  codec: CodecModel,
  pairs: Sequence[FilePair],
  *,
  any_weights: bool = False,
  language_model: str | None = None,
  overwrite: bool = False,
  done_since: int | None = None,
  on_error: str = "raise",
  note: Note | None = None,
) -> Skipped:
  """Writes a wav file for each token file, or one for each of its clips, numbered.

  Clips that are the channels of one recording become one file.

  Args:
    codec: decodes; the files have its rate.
    pairs: token files and where their audio goes.
    any_weights: see `CodecModel.decode`.
    language_model: see `Tokens.load`.
    overwrite: whether wav files that are there may be replaced.
    done_since: those that were written since then stay as they are, ns.
    on_error: `raise` at the first bad file or `skip` it.
    note: surrounds the writing.

  Returns, raises: see `encode_files`.
  """

  def scan(path: pathlib.Path) -> tuple[list[Coded], list[int], int]:
    tokens = Tokens.load(path, language_model=language_model)
    channels = 1 if tokens.origin is None else tokens.origin.num_channels
    return *codec.check_tokens(tokens, any_weights), channels

  kept, skipped = scan_all(pairs, lambda path: _clip_sizes(*scan(path)), on_error)
  clips = [clip for pair, sizes in kept for clip in _clips(pair, *sizes)]
  _refuse_shared_targets(clips)
  if done_since is not None:
    is_done = functools.partial(unfinished.is_done, since=done_since)
    clips = [c for c in clips if not is_done(c.source, c.target)]
  elif not overwrite:
    file_tree.refuse_existing([clip.target for clip in clips])
  items = functools.lru_cache(maxsize=4)(lambda path: scan(path)[0])
  failures = Failures(on_error)

  def load(clip: _Clip) -> Coded:
    path = clip.source
    return failures.attempt(
      path, lambda: _as_checked(items(path)[clip.row], clip.blank, path), clip.blank
    )

  parts: dict[pathlib.Path, dict[int, np.ndarray]] = {}
  with note or contextlib.nullcontext(), _progress(len(clips), "decode") as progress:
    for clip, audio_NxC in _decode_each(codec, clips, load):
      done = parts.setdefault(clip.target, {})
      done[clip.channel] = audio_NxC[: clip.num_samples]
      if len(done) == clip.num_channels and clip.source not in failures:
        joined_NxC = np.concatenate([done[i] for i in range(clip.num_channels)], axis=1)
        write_wav(clip.target, joined_NxC, codec.sample_rate)
      if len(done) == clip.num_channels:
        del parts[clip.target]
      progress.update()
  return skipped + failures.listed()


def _progress(count: int, what: str) -> Progress:
  return Progress(count, what, unit="files" if what == "encode" else "clips")


def _scan(codec: CodecModel, path: pathlib.Path) -> AudioInfo:
  info = scan_audio(path)
  if info.num_channels > codec.num_channels > 1:
    raise DataError(
      f"{path}: has {info.num_channels} channels; this codec is for"
      f" {codec.num_channels}"
    )
  codec.length_at_own_rate(info.num_samples, info.sample_rate)  # long enough
  return info


def _recording(
  codec: CodecModel, pair: FilePair, info: AudioInfo, channels: str
) -> _Recording:
  apart = channels == checks.KEEP and codec.num_channels == 1
  return _Recording(pair, info, info.num_channels if apart else 1)


def _at_codec_rate(
  codec: CodecModel, audio_NxC: np.ndarray, rate: int, channel: int | None
) -> np.ndarray:
  """Returns (N, C) for the codec: averaged, one of the channels, or repeated."""
  if channel is not None:
    audio_NxC = audio_NxC[:, channel : channel + 1]
  elif codec.num_channels == 1:
    audio_NxC = audio_NxC.mean(axis=1, keepdims=True)
  elif audio_NxC.shape[1] == 1:
    audio_NxC = np.repeat(audio_NxC, codec.num_channels, axis=1)
  return resample(audio_NxC, rate, codec.sample_rate)


def _as_checked(found: Any, expected: Any, path: pathlib.Path) -> Any:
  """Returns what was read; raises `DataError` unless it has the shape it had before."""
  shapes = [
    tuple(None if part is None else np.shape(part) for part in value)
    if isinstance(value, Coded)
    else np.shape(value)
    for value in (found, expected)
  ]
  if shapes[0] != shapes[1]:
    raise DataError(f"{path}: has changed since it was checked")
  return found


def _save(
  codec: CodecModel, file: _Recording, coded: Sequence[Coded], entropy: bool | Scores
) -> None:
  info = file.info
  tokens = codec.make_tokens(
    coded, [info.num_samples] * len(coded), info.sample_rate, len(coded)
  )
  tokens.save(file.pair.target, entropy=entropy)


def _decode_each(
  codec: CodecModel, clips: Sequence[_Clip], load: Callable[[_Clip], Coded]
) -> Iterator[tuple[_Clip, np.ndarray]]:
  """Decodes clips, those with as many codebooks together."""
  by_books: dict[int, list[_Clip]] = {}
  for clip in clips:
    by_books.setdefault(clip.blank.codes_TxK.shape[1], []).append(clip)
  for group in by_books.values():
    frames = [len(clip.blank.codes_TxK) for clip in group]
    each = codec.runner.decode_each(frames, functools.partial(_load_from, group, load))
    yield from ((group[index], audio_NxC) for index, audio_NxC in each)


def _load_from(
  clips: Sequence[_Clip], load: Callable[[_Clip], Coded], index: int
) -> Coded:
  return load(clips[index])


def _clip_sizes(
  items: Sequence[Coded], lengths: Sequence[int], num_channels: int
) -> tuple[list[tuple[Coded, int]], int]:
  """Returns (a blank of its shape, samples) of each clip; the channels of each."""
  return [(_blank(i), n) for i, n in zip(items, lengths, strict=True)], num_channels


def _blank(coded: Coded) -> Coded:
  """Returns codes of zero, which take no memory until they are used."""

  def zeros(array: np.ndarray | None) -> Any:
    return array if array is None else np.broadcast_to(array.dtype.type(0), array.shape)

  return Coded(zeros(coded.codes_TxK), zeros(coded.mask_T), zeros(coded.gain_S))


def _refuse_shared_targets(clips: Sequence[_Clip]) -> None:
  """Raises ValueError if clips of two files go to one: `a.0` and the first of `a`."""
  source_of: dict[pathlib.Path, pathlib.Path] = {}
  for clip in clips:
    if (other := source_of.setdefault(clip.target, clip.source)) != clip.source:
      raise ValueError(f"{clip.source} and {other} would both become {clip.target}")


def _clips(
  pair: FilePair, sizes: Sequence[tuple[Coded, int]], num_channels: int
) -> Iterator[_Clip]:
  count = len(sizes) // num_channels
  for row, (blank, length) in enumerate(sizes):
    number, channel = divmod(row, num_channels)
    target = pair.target
    if count > 1:
      target = target.with_name(f"{target.stem}.{number}{target.suffix}")
    yield _Clip(pair.source, row, target, length, blank, channel, num_channels)
