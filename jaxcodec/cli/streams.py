"""`encode --stream` and `decode --stream`: as it comes, in constant memory."""

import argparse
import contextlib
import pathlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import soundfile
import soxr

from jaxcodec import __version__, files, token_file
from jaxcodec.api import checks
from jaxcodec.cli import file_tree
from jaxcodec.cli.standard_streams import INPUT, NAME
from jaxcodec.coding.growing import Reader, Writer
from jaxcodec.coding.header import ADAPTIVE
from jaxcodec.data.audio import decoding, pcm
from jaxcodec.data.audio.files import (
  SUFFIXES,
  check_samples,
  resampled_length,
  to_int16,
)
from jaxcodec.inference.stream import cut
from jaxcodec.types import Tokens, TokenSpec

if TYPE_CHECKING:
  from jaxcodec.api import CodecModel

# Options with the only values that they have in streams.
_PLAIN = {"channels": "average", "on_error": "raise"}
_BLOCK = 1 << 16  # bytes of tokens that are read at a time


def check(arguments: argparse.Namespace) -> None:
  """Raises ValueError for options that a stream cannot have."""
  if len(arguments.inputs) != 1 or pathlib.Path(arguments.inputs[0]).is_dir():
    raise ValueError("--stream takes one file, or - for standard input")
  for name, plain in _PLAIN.items():
    if getattr(arguments, name, plain) != plain:
      option = name.replace("_", "-")
      raise ValueError(f"--stream takes no --{option} but {plain!r}")
  if getattr(arguments, "entropy", None) not in (None, ADAPTIVE):
    raise ValueError("--stream takes --entropy alone: a language model looks ahead")
  if getattr(arguments, "block", 1) <= 0:
    raise ValueError(f"--block must be positive seconds, got {arguments.block}")


def encode(arguments: argparse.Namespace, codec: "CodecModel") -> None:
  """Encodes audio as it comes to a token file that grows.

  Raises:
    ValueError: options, a codec that has no streams, or input that is no audio.
  """
  K = checks.num_codebooks(arguments.num_codebooks, codec.spec)
  stream = codec.stream(1, K)
  frames = max(1, round(arguments.block * codec.sample_rate / codec.spec.hop))
  size = frames * codec.spec.hop
  with _audio(arguments, codec, size) as (rate, blocks), _tokens_out(arguments) as out:
    header = {
      "spec": vars(codec.spec),
      "num_codebooks": K,
      "sample_rate": rate,
      "fingerprint": codec.fingerprint,
      "version": __version__,
    }
    writer = Writer(out, header, entropy=arguments.entropy == ADAPTIVE)
    state, count = stream.start(), _Count()
    own = _resampled(count.counted(blocks), rate, codec.sample_rate)
    for block_Nx1, _, last in cut(own, size):
      tokens, state = stream.encode(state, block_Nx1[None], last=last)
      if tokens.codes_BxTxK.shape[1]:
        writer.write(np.asarray(tokens.codes_BxTxK[0]))
    if not count.samples:
      raise ValueError(f"{_name(arguments)}: has no samples")
    writer.end(count.samples)


def decode(arguments: argparse.Namespace, codec: "CodecModel") -> None:
  """Decodes a token file that grows, as it comes.

  Raises:
    ValueError: options, a codec that has no streams, or input that is no such file or
      another codec's.
  """
  reader, pieces = Reader(), _pieces(arguments)
  records = _records(reader, pieces, _name(arguments))
  first = next(records, None)
  if reader.header is None or first is None:
    raise ValueError(f"{_name(arguments)}: is truncated: it holds no whole record")
  spec, weights = TokenSpec(**reader.header["spec"]), reader.header["fingerprint"]
  expected = None if arguments.any_weights else codec.fingerprint
  checks.origin(spec, weights, codec.spec, expected)
  K = reader.header["num_codebooks"]
  stream = codec.stream(1, K)
  state = stream.start()
  with _audio_out(arguments, codec) as write:
    held, written = np.zeros((0, codec.num_channels), np.float32), 0
    for codes_TxK in _before(first, records):
      audio, state = stream.decode(state, _tokens(codes_TxK))
      held = np.concatenate([held, audio[0]])
      ready = max(0, len(held) - codec.spec.hop)  # the last frame may be cut
      write(held[:ready])
      held, written = held[ready:], written + ready
    audio, state = stream.decode(state, _tokens(np.zeros((0, K), np.int32)), last=True)
    held = np.concatenate([held, audio[0]])
    write(held[: _num_samples(reader, codec) - written])


class _Count:
  """Counts the samples that go through `counted`."""

  samples = 0

  def counted(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
      self.samples += len(block)
      yield block


def _name(arguments: argparse.Namespace) -> str:
  return INPUT if arguments.inputs[0] == NAME else arguments.inputs[0]


@contextlib.contextmanager
def _audio(
  arguments: argparse.Namespace, codec: "CodecModel", size: int
) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
  """Opens the audio; gives its rate and mono blocks (n, 1)."""
  name, given = _name(arguments), arguments.inputs[0]
  with contextlib.ExitStack() as stack:
    if given == NAME or arguments.raw:
      file = _opened(given, stack)
      form = pcm.Pcm(codec.sample_rate, codec.num_channels)
      form = form if arguments.raw else pcm.read_wav_head(file, name)
      rate, blocks = form.sample_rate, form.blocks(file, size)
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


def _resampled(
  blocks: Iterator[np.ndarray], source_rate: int, rate: int
) -> Iterator[np.ndarray]:
  """Resamples mono blocks (n, 1) as `resample` does the whole."""
  if source_rate == rate:
    yield from blocks
    return
  soxr_stream = soxr.ResampleStream(source_rate, rate, 1, "float32", quality="HQ")
  for block in blocks:
    yield soxr_stream.resample_chunk(block)
  yield soxr_stream.resample_chunk(np.zeros((0, 1), np.float32), last=True)


@contextlib.contextmanager
def _tokens_out(arguments: argparse.Namespace) -> Iterator[BinaryIO]:
  if arguments.out == NAME:
    yield sys.stdout.buffer
    return
  with open(_target(arguments, token_file.SUFFIX), "wb") as file:
    yield file


@contextlib.contextmanager
def _audio_out(arguments: argparse.Namespace, codec: "CodecModel") -> Iterator[Any]:
  """Gives a function that writes audio (N, C), to standard output or to a file."""
  rate, channels = codec.sample_rate, codec.num_channels
  if arguments.out == NAME:
    out = sys.stdout.buffer
    if not arguments.raw:
      out.write(pcm.wav_head(rate, channels))

    def write(audio_NxC: np.ndarray) -> None:
      out.write(to_int16(audio_NxC).astype(pcm.RAW).tobytes())
      out.flush()

    yield write
    return
  kind = dict(subtype="PCM_16", format="RAW" if arguments.raw else "WAV")
  target = _target(arguments, ".raw" if arguments.raw else ".wav")
  with (
    files.replacing(target) as path,
    soundfile.SoundFile(path, "w", rate, channels, endian="LITTLE", **kind) as file,
  ):
    yield lambda audio_NxC: file.write(to_int16(audio_NxC))


def _target(arguments: argparse.Namespace, suffix: str) -> pathlib.Path:
  """Returns the file to write in the folder `--out`, which is made."""
  stem = "stdin" if arguments.inputs[0] == NAME else pathlib.Path(_name(arguments)).stem
  target = pathlib.Path(arguments.out) / f"{stem}{suffix}"
  if not arguments.overwrite:
    file_tree.refuse_existing([target])
  target.parent.mkdir(parents=True, exist_ok=True)
  return target


def _pieces(arguments: argparse.Namespace) -> Iterator[bytes]:
  with contextlib.ExitStack() as stack:
    file: Any = _opened(arguments.inputs[0], stack)
    while content := file.read1(_BLOCK):
      yield content


def _records(
  reader: Reader, pieces: Iterator[bytes], name: str
) -> Iterator[np.ndarray]:
  try:
    for content in pieces:
      yield from reader.feed(content)
  except ValueError as error:
    raise ValueError(f"{name}: {error}") from error


def _before(first: np.ndarray, others: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
  yield first
  yield from others


def _tokens(codes_TxK: np.ndarray) -> Tokens:
  return Tokens(codes_TxK[None], np.ones((1, len(codes_TxK)), bool))


def _num_samples(reader: Reader, codec: "CodecModel") -> int:
  """Returns the samples of the frames that came, or of the clip if its end came."""
  frames = reader.num_frames * codec.spec.hop
  if reader.num_samples is None or reader.header is None:
    return frames
  rate = reader.header["sample_rate"]
  return min(frames, resampled_length(reader.num_samples, rate, codec.sample_rate))
