"""Headers in a third of their bytes: zlib streams with preset dictionaries."""

import zlib

from jaxcodec.coding.header import SCORED

# What deflate may refer to: a header with what most of them have, without a language
# model and with one. A deflated header says which it is by its checksum.
DICTIONARY = (
  b'{"coding":"adaptive","fingerprint":"0123456789abcdef","frames":[],"gains":null,'
  b'"gaps":[[]],"num_channels":2,"num_codebooks":8,"num_samples":[],"sample_rate":'
  b'16000,"spec":{"codebook_size":1024,"hop":320,"num_codebooks":8,"sample_rate":'
  b'16000},"version":"0.1.0"}'
)
SCORED_DICTIONARY = (
  b'{"coding":"scored","fingerprint":"0123456789abcdef","frames":[],"gains":null,'
  b'"gaps":[[]],"language_model":{"fingerprint":"0123456789abcdef","jax":"0.10.2",'
  b'"name":"speech_tts","platform":"cpu","scheme":"valle-1"},"num_channels":2,'
  b'"num_codebooks":8,"num_samples":[],"sample_rate":16000,"spec":{"codebook_size":'
  b'1024,"hop":320,"num_codebooks":8,"sample_rate":16000},"version":"0.1.0"}'
)
_LONGEST = 1 << 28  # bytes


def deflate(text: bytes, coding: str) -> bytes:
  """Returns a header of this coding as it is stored."""
  stream = zlib.compressobj(
    9, zdict=SCORED_DICTIONARY if coding == SCORED else DICTIONARY
  )
  return stream.compress(text) + stream.flush()


def inflate(stored: bytes) -> bytes:
  """Undoes `deflate`.

  Raises:
    ValueError, zlib.error: it's no such stream, or goes on behind one.
  """
  scored = stored[2:6] == zlib.adler32(SCORED_DICTIONARY).to_bytes(4)
  stream = zlib.decompressobj(zdict=SCORED_DICTIONARY if scored else DICTIONARY)
  text = stream.decompress(stored, _LONGEST)
  if not stream.eof or stream.unused_data:
    raise ValueError("it does not end where the file says")
  return text
