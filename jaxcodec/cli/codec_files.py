"""Encodes and decodes folders of files, a batch of files in memory at a time."""

import concurrent.futures
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcodec.api import checks
from jaxcodec.api.codec_model import CodecModel
from jaxcodec.cli import file_tree
from jaxcodec.cli.file_tree import FilePair
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

Skipped = list[dict[str, str]]


class _Clip(NamedTuple):
  """A clip of a token file: its place there and its lengths as audio and as tokens."""

  source: pathlib.Path
  row: int
  target: pathlib.Path
  num_samples: int
  frames: int


def encode_files(
  codec: CodecModel,
  pairs: Sequence[FilePair],
  *,
  num_codebooks: int | None = None,
  on_error: str = "raise",
) -> Skipped:
  """Writes a token file for each audio file, of any rate and number of channels.

  Every file is read through before the first is encoded.

  Args:
    codec: encodes.
    pairs: audio files and where their tokens go.
    num_codebooks: how many codebooks to use, from the coarsest; all if None.
    on_error: `raise` at the first bad file or `skip` it.

  Returns:
    {"item": name, "reason": why} of what was skipped.

  Raises:
    ValueError: num_codebooks, a bad file, or none that is good.
  """
  K = checks.num_codebooks(num_codebooks, codec.spec)
  kept, skipped = _scan_all(pairs, functools.partial(_scan, codec), on_error)
  lengths = [
    codec.length_at_own_rate(info.num_samples, info.sample_rate) for _, info in kept
  ]
  each = codec.runner.encode_each(
    lengths, lambda index: _load(codec, kept[index][0].source), K
  )
  with Progress(len(kept), "encode", unit="files") as progress:
    for index, coded in each:
      pair, info = kept[index]
      codec.make_tokens([coded], [info.num_samples], info.sample_rate).save(pair.target)
      progress.update()
  return skipped


def decode_files(
  codec: CodecModel,
  pairs: Sequence[FilePair],
  *,
  any_weights: bool = False,
  overwrite: bool = False,
  on_error: str = "raise",
) -> Skipped:
  """Writes a wav file for each token file, or one for each of its clips, numbered.

  Args:
    codec: decodes; the files have its rate.
    pairs: token files and where their audio goes.
    any_weights: see `CodecModel.decode`.
    overwrite: whether wav files that are there may be replaced.
    on_error: `raise` at the first bad file or `skip` it.

  Returns, raises: see `encode_files`.
  """

  def scan(path: pathlib.Path) -> tuple[list[Coded], list[int]]:
    return codec.check_tokens(Tokens.load(path), any_weights)

  kept, skipped = _scan_all(pairs, lambda path: _clip_sizes(*scan(path)), on_error)
  clips = [clip for pair, sizes in kept for clip in _clips(pair, sizes)]
  if not overwrite:
    file_tree.refuse_existing([clip.target for clip in clips])
  items = functools.lru_cache(maxsize=4)(lambda path: scan(path)[0])
  each = codec.runner.decode_each(
    [clip.frames for clip in clips],
    lambda index: items(clips[index].source)[clips[index].row],
  )
  with Progress(len(clips), "decode", unit="clips") as progress:
    for index, audio_NxC in each:
      clip = clips[index]
      write_wav(clip.target, audio_NxC[: clip.num_samples], codec.sample_rate)
      progress.update()
  return skipped


def _scan_all(
  pairs: Sequence[FilePair], scan: Callable[[pathlib.Path], Any], on_error: str
) -> tuple[list[tuple[FilePair, Any]], Skipped]:
  """Scans every file; returns the good ones with the results, and the others."""
  kept, skipped = [], []
  workers = min(16, os.cpu_count() or 1)
  with (
    Progress(len(pairs), "check", unit="files") as progress,
    concurrent.futures.ThreadPoolExecutor(workers) as pool,
  ):
    futures = [pool.submit(scan, pair.source) for pair in pairs]
    for pair, future in zip(pairs, futures, strict=True):
      try:
        kept.append((pair, future.result()))
      except (ValueError, OSError) as error:
        reason = str(error)
        if str(pair.source) not in reason:
          reason = f"{pair.source}: {reason}"
        if on_error == "raise":
          pool.shutdown(cancel_futures=True)
          raise DataError(f"{reason}; --on-error skip leaves such files out") from error
        skipped.append({"item": str(pair.source), "reason": reason})
      progress.update()
  if not kept:
    raise DataError(f"no usable file; the first: {skipped[0]['reason']}")
  return kept, skipped


def _scan(codec: CodecModel, path: pathlib.Path) -> AudioInfo:
  info = scan_audio(path)
  if info.num_channels > codec.num_channels > 1:
    raise DataError(
      f"{path}: has {info.num_channels} channels; this codec is for"
      f" {codec.num_channels}"
    )
  codec.length_at_own_rate(info.num_samples, info.sample_rate)  # long enough
  return info


def _load(codec: CodecModel, path: pathlib.Path) -> np.ndarray:
  """Reads (N, C) at the codec's rate; averages channels, or repeats the only one."""
  audio_NxC, rate = read_channels(path)
  if codec.num_channels == 1:
    audio_NxC = audio_NxC.mean(axis=1, keepdims=True)
  elif audio_NxC.shape[1] == 1:
    audio_NxC = np.repeat(audio_NxC, codec.num_channels, axis=1)
  return resample(audio_NxC, rate, codec.sample_rate)


def _clip_sizes(
  items: Sequence[Coded], lengths: Sequence[int]
) -> list[tuple[int, int]]:
  """Returns (frames, samples) of each clip."""
  return [(len(i.codes_TxK), length) for i, length in zip(items, lengths, strict=True)]


def _clips(pair: FilePair, sizes: Sequence[tuple[int, int]]) -> Iterator[_Clip]:
  for row, (frames, length) in enumerate(sizes):
    target = pair.target
    if len(sizes) > 1:
      target = target.with_name(f"{target.stem}.{row}{target.suffix}")
    yield _Clip(pair.source, row, target, length, frames)
