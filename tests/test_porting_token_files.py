"""Reading DAC's and EnCodec's token files, and refusing what would be executed."""

import io
import json
import os
import struct

import numpy as np
import pytest

from jaxcodec.porting import token_files

CODES_BxKxT = np.random.default_rng(0).integers(0, 1024, (2, 4, 7))


def _dac(**changes):
  """Returns what `DACFile.save` writes: an array of one object, pickled by numpy."""
  metadata = {
    "input_db": np.float32([-20.5]),
    "original_length": 2200,
    "sample_rate": 44_100,
    "chunk_length": 7,
    "channels": 2,
    "padding": True,
    "dac_version": "1.0.0",
    **changes,
  }
  file = io.BytesIO()
  np.save(file, {"codes": CODES_BxKxT.astype(np.uint16), "metadata": metadata})
  return file.getvalue()


def _ecdc(codes_KxT, num_samples, **changes):
  """Packs codes as EnCodec does: the lowest bit first."""
  about = {"m": "encodec_24khz", "al": num_samples, "nc": len(codes_KxT), "lm": False}
  text = json.dumps({**about, **changes}).encode()
  number = sum(int(c) << 10 * i for i, c in enumerate(codes_KxT.T.ravel()))
  packed = number.to_bytes(-(-codes_KxT.size * 10 // 8), "little")
  return struct.pack("!4sBI", b"ECDC", 0, len(text)) + text + packed


def _put(tmp_path, content):
  (tmp_path / "a.tokens").write_bytes(content)
  return tmp_path / "a.tokens"


def test_a_dac_file(tmp_path):
  found = token_files.read(_put(tmp_path, _dac()))
  np.testing.assert_array_equal(found.tokens.to_bkt(), CODES_BxKxT)
  assert (found.num_samples, found.sample_rate) == (2200, 44_100)
  assert found.about == {"input_db": [-20.5], "channels": 2}


def test_an_ecdc_file(tmp_path):
  found = token_files.read(_put(tmp_path, _ecdc(CODES_BxKxT[0], 7 * 320 - 5)))
  np.testing.assert_array_equal(found.tokens.to_bkt(), CODES_BxKxT[:1])
  assert (found.num_samples, found.sample_rate) == (7 * 320 - 5, 24_000)


@pytest.mark.parity
def test_an_ecdc_file_by_encodecs_own_packer(tmp_path):
  binary = pytest.importorskip("encodec.binary")
  file = io.BytesIO()
  about = {"m": "encodec_24khz", "al": 2240, "nc": 4, "lm": False}
  binary.write_ecdc_header(file, about)
  packer = binary.BitPacker(10, file)
  for value in CODES_BxKxT[0].T.ravel().tolist():
    packer.push(value)
  packer.flush()
  assert file.getvalue() == _ecdc(CODES_BxKxT[0], 2240)


class _Call:
  def __reduce__(self):
    return os.system, ("touch executed",)


def test_nothing_is_executed(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  path = _put(tmp_path, _dac(padding=_Call()))
  with pytest.raises(ValueError, match="a.tokens: names .*system, which was not exec"):
    token_files.read(path)
  assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (_dac()[:-9], "truncated or damaged"),
    (_dac(padding=False), "was coded in windows that overlap; .* win_duration=None"),
    (_ecdc(CODES_BxKxT[0], 2240)[:-1], "truncated"),
    (_ecdc(CODES_BxKxT[0], 2240, lm=True), "language model"),
    (_ecdc(CODES_BxKxT[0], 2240, m="encodec_48khz"), "is of encodec_48khz"),
    (b"RIFF" * 9, "neither a .dac nor an .ecdc"),
  ],
)
def test_what_is_not_read(tmp_path, content, message):
  with pytest.raises(ValueError, match=f"a.tokens: .*{message}"):
    token_files.read(_put(tmp_path, content))
