"""Audio as programs leave it: streamed, joined by `cat`, cut, in odd containers."""

import io
import struct

import av
import numpy as np
import soundfile

RATE = 16_000
WAVE = (0.3 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)).astype(np.float32)


def encoded(format, subtype=None, audio=WAVE, rate=RATE, **options):
  """Returns the bytes that libsndfile writes."""
  file = io.BytesIO()
  soundfile.write(file, audio, rate, format=format, subtype=subtype, **options)
  return file.getvalue()


class _Pipe:
  """A file that can't seek."""

  def __init__(self):
    self.content = io.BytesIO()

  def write(self, data):
    return self.content.write(data)


def muxed(format, codec, *, pipe=False, rate=48_000, options=None):
  """Returns the bytes that FFmpeg writes of a second of a tone, to a file or a pipe."""
  tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(rate) / rate)
  file = _Pipe() if pipe else io.BytesIO()
  with av.open(file, "w", format=format, options=options or {}) as container:
    stream = container.add_stream(codec, rate=rate, layout="mono")
    stream.bit_rate = 64_000
    frame = av.AudioFrame.from_ndarray(
      tone[None].astype(np.float32), format="fltp", layout="mono"
    )
    frame.sample_rate, frame.pts = rate, 0
    resampler = av.AudioResampler(stream.codec_context.format, "mono", rate)
    frames = [*resampler.resample(frame), None]
    for packet in (p for one in frames for p in stream.encode(one)):
      container.mux(packet)
  return (file.content if pipe else file).getvalue()


def with_wav_sizes(content, data_size, riff_size=None):
  """Replaces the lengths in a wav's header, as a program that streams leaves them."""
  changed = bytearray(content)
  order = ">" if content[:4] == b"RIFX" else "<"
  at = content.index(b"data") + 4
  struct.pack_into(f"{order}I", changed, at, data_size)
  riff_size = min(data_size + 36, 0xFFFFFFFF) if riff_size is None else riff_size
  struct.pack_into(f"{order}I", changed, 4, riff_size)
  return bytes(changed)


def without_xing(content):
  """Removes the first frame, which counts the others, from an MP3 of libsndfile."""
  second = content.index(content[:2], 4)
  while content[second + 2] & 0x0C != content[2] & 0x0C:
    second = content.index(content[:2], second + 1)
  return content[second:]


def without_end_flag(content):
  """Clears the flag of the last Ogg page, and mends the page's checksum."""
  start = content.rindex(b"OggS")
  page = bytearray(content[start:])
  page[5] &= ~4
  page[22:26] = bytes(4)
  page[22:26] = struct.pack("<I", _ogg_crc(page))
  return content[:start] + bytes(page)


def _ogg_crc(data):
  """Computes RFC 3533's CRC bit by bit."""
  crc = 0
  for byte in data:
    crc ^= byte << 24
    for _ in range(8):
      crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
  return crc
