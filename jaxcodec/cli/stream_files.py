"""What `--stream` reads and writes: audio and tokens, in files or through pipes."""

import argparse
import contextlib
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import soundfile

from jaxcodec import files, token_file
from jaxcodec.cli import file_tree
from jaxcodec.cli.standard_streams import INPUT, NAME
from jaxcodec.data.audio import decoding, pcm
from jaxcodec.data.audio.files import (
  SUFFIXES,
  check_samples,
  check_wav_size,
  to_int16,
)

if TYPE_CHECKING:
  from jaxcodec.api import CodecModel

_BLOCK = 1 << 16  # bytes of tokens that are read at a time
# Writes audio (N, C).
Write = Callable[[np.ndarray], Any]


def input_name(arguments: argparse.Namespace) -> str:
  """Returns what errors call the input."""
  return INPUT if arguments.inputs[0] == NAME else arguments.inputs[0]


@contextlib.contextmanager
def audio_in(
  arguments: argparse.Namespace, codec: "CodecModel", size: int
) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
  """Opens the audio; gives its rate and mono blocks (n, 1).

  Args:
    arguments: of the command.
    codec: whose rate and channels raw audio has.
    size: samples at the codec's rate that a block lasts, if it comes through a pipe.
  """
  name, given = input_name(arguments), arguments.inputs[0]
  with contextlib.ExitStack() as stack:
    if given == NAME or arguments.raw:
      file = _opened(given, stack)
      form = pcm.Pcm(codec.sample_rate, codec.num_channels)
      form = form if arguments.raw else pcm.read_wav_head(file, name)
      rate = form.sample_rate
      blocks = form.blocks(file, max(1, size * rate // codec.sample_rate), name)
    else:
      if pathlib.Path(given).suffix.lower() not in SUFFIXES:
        raise ValueError(f"{given}: expected a {', '.join(SUFFIXES)} file")
      sound = stack.enter_context(decoding.opened(given))
      rate, blocks = sound.sample_rate, sound.blocks
    checked = (check_samples(b, name) for b in blocks if len(b))
    yield rate, (block.mean(1, keepdims=True) for block in checked)


def _opened(given: str, stack: contextlib.ExitStack) -> BinaryIO:
  if given == NAME:
    return sys.stdin.buffer
  return stack.enter_context(open(given, "rb"))


def tokens_out(
  arguments: argparse.Namespace, stack: contextlib.ExitStack
) -> Callable[[], BinaryIO]:
  """Returns what opens the place that tokens are written to, which is checked now."""
  if arguments.out == NAME:
    return lambda: sys.stdout.buffer
  target = _target(arguments, token_file.SUFFIX)
  return lambda: stack.enter_context(open(target, "wb"))


@contextlib.contextmanager
def audio_out(arguments: argparse.Namespace, codec: "CodecModel") -> Iterator[Write]:
  """Gives a function that writes audio (N, C), to standard output or to a file."""
  rate, channels = codec.sample_rate, codec.num_channels
  if arguments.out == NAME:
    yield piped_audio(rate, channels, arguments.raw)
    return
  kind = dict(subtype="PCM_16", format="RAW" if arguments.raw else "WAV")
  target = _target(arguments, ".raw" if arguments.raw else ".wav")
  with (
    _named(target),
    files.replacing(target) as path,
    soundfile.SoundFile(path, "w", rate, channels, endian="LITTLE", **kind) as file,
  ):

    def write(audio_NxC: np.ndarray) -> None:
      if not arguments.raw:
        check_wav_size(target, file.tell() + len(audio_NxC), channels)
      file.write(to_int16(audio_NxC))

    yield write


@contextlib.contextmanager
def _named(target: pathlib.Path) -> Iterator[None]:
  """Turns libsndfile's errors, as of a full disk, into one that names the file."""
  try:
    yield
  except (soundfile.LibsndfileError, AssertionError) as error:
    raise ValueError(
      f"{target}: can't be written: {error or 'is the disk full?'}"
    ) from error


def piped_audio(rate: int, channels: int, raw: bool) -> Write:
  """Returns what writes audio (N, C) to standard output, behind a header if not raw."""
  out = sys.stdout.buffer
  if not raw:
    out.write(pcm.wav_head(rate, channels))
    out.flush()

  def write(audio_NxC: np.ndarray) -> None:
    out.write(to_int16(audio_NxC).astype(pcm.RAW).tobytes())
    out.flush()

  return write


def _target(arguments: argparse.Namespace, suffix: str) -> pathlib.Path:
  """Returns the file to write in the folder `--out`, which is made."""
  stem = (
    "stdin" if arguments.inputs[0] == NAME else pathlib.Path(input_name(arguments)).stem
  )
  target = pathlib.Path(arguments.out) / f"{stem}{suffix}"
  if not arguments.overwrite:
    file_tree.refuse_existing([target])
  target.parent.mkdir(parents=True, exist_ok=True)
  return target


def token_pieces(arguments: argparse.Namespace) -> Iterator[bytes]:
  """Yields the bytes of a token file as they come."""
  with contextlib.ExitStack() as stack:
    file: Any = _opened(arguments.inputs[0], stack)
    while content := file.read1(_BLOCK):
      yield content
