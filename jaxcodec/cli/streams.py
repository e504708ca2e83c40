"""`encode --stream` and `decode --stream`: as it comes, in constant memory."""

import argparse
import contextlib
import itertools
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import soxr

from jaxcodec import __version__
from jaxcodec.api import checks
from jaxcodec.cli import stream_files
from jaxcodec.cli.live import Meter
from jaxcodec.cli.standard_streams import NAME
from jaxcodec.coding.growing import Reader, Writer
from jaxcodec.coding.header import ADAPTIVE
from jaxcodec.data.audio.files import of_length, resampled_length
from jaxcodec.inference import stream_pieces
from jaxcodec.types import TokenSpec

if TYPE_CHECKING:
  from jaxcodec.api import CodecModel
  from jaxcodec.inference.stream import Stream

# Options with the only values that they have in streams.
_PLAIN = {"channels": "average", "on_error": "raise"}
# Seconds that are coded at a time, if nothing else is said, and how often at least what
# the codec looks ahead, all of which is computed anew with each block.
_BLOCK, _LOOKAHEADS = 1.0, 10
# Looks at pieces, of which so many entries last a second, as they come.
_Watch = Callable[[Iterator[np.ndarray], float], Iterator[np.ndarray]]


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
  if arguments.block is not None and not 0 < arguments.block < math.inf:
    raise ValueError(f"--block must be positive seconds, got {arguments.block}")


def encode(arguments: argparse.Namespace, codec: "CodecModel") -> None:
  """Encodes audio as it comes to a token file that grows.

  Raises:
    ValueError: options, a codec that has no streams, or input that is no audio.
  """
  K = checks.num_codebooks(arguments.num_codebooks, codec.spec)
  stream = codec.stream(1, K)
  frames = _block(arguments, stream, codec)
  with (
    contextlib.ExitStack() as stack,
    stream_files.audio_in(arguments, codec, frames * stream.hop) as (rate, blocks),
  ):
    opened = stream_files.tokens_out(arguments, stack)
    header = {
      "spec": vars(codec.spec),
      "num_codebooks": K,
      "sample_rate": rate,
      "fingerprint": codec.fingerprint,
      "version": __version__,
    }

    def begin() -> Writer:
      return Writer(opened(), header, entropy=arguments.entropy == ADAPTIVE)

    # Who reads a pipe gets ready by its header; a file begins with its first tokens, as
    # bad audio must not leave one.
    writer = begin() if arguments.out == NAME else None
    count, coded = _Count(), False
    with _watch(arguments, "encode", codec, stream, frames) as watched:
      came = watched(count.counted(blocks), rate)
      own = _resampled(came, rate, codec.sample_rate)
      for codes_TxK in stream_pieces.encode_pieces(stream, own, frames):
        if len(codes_TxK):
          writer = writer or begin()
          writer.write(codes_TxK)
          coded = True
      if writer is None or not coded:
        problem = "is too short" if count.samples else "has no samples"
        raise ValueError(f"{stream_files.input_name(arguments)}: {problem}")
      writer.end(count.samples)


def decode(arguments: argparse.Namespace, codec: "CodecModel") -> None:
  """Decodes a token file that grows, as it comes.

  Raises:
    ValueError: options, a codec that has no streams, or input that is no such file or
      another codec's.
  """
  reader, name = Reader(), stream_files.input_name(arguments)
  records = _records(reader, stream_files.token_pieces(arguments), name)
  if reader.header is None:
    raise ValueError(f"{name}: is truncated: it holds no whole record")
  spec, weights = TokenSpec(**reader.header["spec"]), reader.header["fingerprint"]
  expected = None if arguments.any_weights else codec.fingerprint
  checks.origin(spec, weights, codec.spec, expected)
  stream = codec.stream(1, reader.header["num_codebooks"])
  frames = _block(arguments, stream, codec)
  with (
    _watch(arguments, "decode", codec, stream, frames) as watched,
    stream_files.audio_out(arguments, codec) as write,
  ):
    came = watched(records, codec.spec.frame_rate)
    held, written = np.zeros((0, codec.num_channels), np.float32), 0
    # The last frame may have to be cut, but who listens doesn't wait for that.
    late = 0 if arguments.realtime else stream.hop
    for audio_NxC in stream_pieces.decode_pieces(stream, came, frames):
      held = np.concatenate([held, audio_NxC])
      ready = max(0, len(held) - late)
      write(held[:ready])
      held, written = held[ready:], written + ready
    if not reader.num_frames:
      raise ValueError(f"{name}: is truncated: it holds no whole record")
    write(held[: max(0, _num_samples(reader, codec) - written)])


def _block(arguments: argparse.Namespace, stream: "Stream", codec: "CodecModel") -> int:
  """Returns how many frames are coded at a time.

  In real time few are, one where the codec looks at none ahead. One that does computes
  what it sees anew for each block, and is later than its audio in any case.
  """
  if arguments.block is not None:
    return max(1, round(arguments.block * codec.spec.frame_rate))
  if arguments.realtime:
    return max(1, math.ceil(stream.lookahead / stream.hop / 4))
  least = _LOOKAHEADS * stream.lookahead // stream.hop
  return max(1, round(_BLOCK * codec.spec.frame_rate), least)


@contextlib.contextmanager
def _watch(
  arguments: argparse.Namespace,
  command: str,
  codec: "CodecModel",
  stream: "Stream",
  frames: int,
) -> Iterator[_Watch]:
  """With `--realtime`, compiles before anything comes, and tells how it went."""
  if not arguments.realtime:
    yield lambda pieces, _: pieces
    return
  getattr(stream_pieces, f"prepare_{command}")(stream, frames)
  meter = Meter(command)
  meter.ready(frames / codec.spec.frame_rate)
  try:
    yield meter.watched
  finally:
    meter.report()


class _Count:
  """Counts the samples that go through `counted`."""

  samples = 0

  def counted(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
      self.samples += len(block)
      yield block


def _resampled(
  blocks: Iterator[np.ndarray], source_rate: int, rate: int
) -> Iterator[np.ndarray]:
  """Resamples mono blocks (n, 1) as `resample` does the whole."""
  if source_rate == rate:
    yield from blocks
    return
  soxr_stream = soxr.ResampleStream(source_rate, rate, 1, "float32", quality="HQ")
  came = given = 0
  for block in blocks:
    resampled = soxr_stream.resample_chunk(block)
    came, given = came + len(block), given + len(resampled)
    yield resampled
  rest = soxr_stream.resample_chunk(np.zeros((0, 1), np.float32), last=True)
  yield of_length(rest, max(0, resampled_length(came, source_rate, rate) - given))


def _records(
  reader: Reader, pieces: Iterator[bytes], name: str
) -> Iterator[np.ndarray]:
  """Reads a file up to its header; returns what yields the codes of its records."""
  found, first = _fed(reader, pieces, name), []
  while reader.header is None and (more := next(found, None)) is not None:
    first = more
  return itertools.chain(first, itertools.chain.from_iterable(found))


def _fed(
  reader: Reader, pieces: Iterator[bytes], name: str
) -> Iterator[list[np.ndarray]]:
  try:
    for content in pieces:
      yield reader.feed(content)
  except ValueError as error:
    raise ValueError(f"{name}: {error}") from error


def _num_samples(reader: Reader, codec: "CodecModel") -> int:
  """Returns the samples of the frames that came, or of the clip if its end came."""
  frames = reader.num_frames * codec.spec.hop
  if reader.num_samples is None or reader.header is None:
    return frames
  rate = reader.header["sample_rate"]
  return min(frames, resampled_length(reader.num_samples, rate, codec.sample_rate))
