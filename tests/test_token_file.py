import json
import struct
import zlib

import jax
import numpy as np
import pytest

import jaxcodec
from jaxcodec import token_file
from jaxcodec.coding import deflated
from jaxcodec.token_file import TokenFile
from jaxcodec.types import Origin, TokenSpec

SPEC = dict(num_codebooks=3, codebook_size=1024, hop=320, sample_rate=16_000)


def _content(frames=(4, 1, 7), K=2, size=1024, **fields):
  rng = np.random.default_rng(0)
  codes = [rng.integers(0, size, (T, K)) for T in frames]
  codes[0][0] = 0, size - 1
  spec = {**SPEC, "codebook_size": size}
  samples = [T * 320 for T in frames]
  gaps = [[] for _ in frames]
  return TokenFile(spec, codes, gaps, samples, 44_100, "ab" * 32, **fields)


@pytest.mark.parametrize("bits", range(1, 17))
def test_codes_of_any_width_take_that_many_bits_and_come_back(bits):
  codes = np.random.default_rng(bits).integers(0, 1 << bits, 1001)
  codes[:2] = 0, (1 << bits) - 1
  packed = token_file.pack(codes, bits)
  assert len(packed) == -(-1001 * bits // 8)
  np.testing.assert_array_equal(token_file.unpack(packed, bits, 1001), codes)
  assert int.from_bytes(packed[: 2 * bits]) >> (14 * bits) == (1 << bits) - 1


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("size", [2, 5, 1024, 1025, 65_536])
def test_round_trip(tmp_path, size, entropy):
  path = tmp_path / "a.jxc"
  content = _content(size=size, gains=[[0.1], [2.0], [3.5]], num_channels=3)
  token_file.write(path, content, entropy=entropy)
  back = token_file.read(path)
  for found, codes_TxK in zip(back.codes, content.codes, strict=True):
    np.testing.assert_array_equal(found, codes_TxK)
    assert found.dtype == np.int32
  for name in {*vars(content)} - {"codes"}:
    assert getattr(back, name) == getattr(content, name)
  header = token_file.read_header(path)
  assert (header["frames"], header["num_codebooks"]) == ([4, 1, 7], 2)
  readable = json.dumps(header, sort_keys=True).encode() in path.read_bytes()
  assert readable != entropy and header.get("coding") == (
    entropy and "adaptive" or None
  )


def test_the_header_of_the_small_kind_is_a_third(tmp_path):
  plain, small = tmp_path / "a.jxc", tmp_path / "b.jxc"
  token_file.write(plain, _content((1,)))
  token_file.write(small, _content((1,)), entropy=True)
  assert 3 * small.stat().st_size < plain.stat().st_size


def test_channels_come_back_and_one_leaves_the_file_as_it_was(tmp_path):
  path = tmp_path / "a.jxc"
  token_file.write(path, _content(num_channels=3))
  assert token_file.read(path).num_channels == 3
  token_file.write(path, _content())
  assert b"num_channels" not in path.read_bytes()
  assert token_file.read(path).num_channels == 1


def test_size_is_that_of_the_bits(tmp_path):
  for frames in (100, 900):
    token_file.write(tmp_path / f"{frames}.jxc", _content((frames,)))
  small, large = (tmp_path / f"{n}.jxc" for n in (100, 900))
  # 800 frames of 2 codes of 10 bits, and one digit more of the number of samples.
  assert large.stat().st_size - small.stat().st_size == 800 * 2 * 10 // 8 + 1


def _refusal(path, data):
  path.write_bytes(data)
  try:
    token_file.read(path)
  except ValueError as error:
    return str(error)
  return "accepted"


@pytest.mark.parametrize("entropy", [False, True])
def test_alterations_and_cuts_are_found_wherever_they_are(tmp_path, entropy):
  good, bad = tmp_path / "good.jxc", tmp_path / "bad.jxc"
  token_file.write(good, _content(), entropy=entropy)
  data = good.read_bytes()
  ends = range(len(data) - 40, len(data))  # the codes and the checksum
  for at in [*range(12), *range(12, len(data) - 40, 9), *ends]:
    altered = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
    assert _refusal(bad, altered).startswith(f"{bad}: "), at
    cut = _refusal(bad, data[:at])
    assert cut.startswith((f"{bad}: is truncated", f"{bad}: is not a token file")), at
  assert "truncated or was altered" in _refusal(bad, data + b"\0")


def _rewritten(data, version=1, codes=None, **changes):
  """Writes a file with another header and a matching checksum."""
  _, _, length = struct.unpack_from("<4sHI", data)
  header = {**json.loads(data[10 : 10 + length]), **changes}
  text = json.dumps(header).encode()
  body = struct.pack("<4sHI", b"JXC\n", version, len(text)) + text
  body += data[10 + length : -4] if codes is None else codes
  return body + struct.pack("<I", zlib.crc32(body))


@pytest.mark.parametrize(
  "changes,message",
  [
    (
      dict(version=5),
      "of version 5, or was altered; this package reads versions 1 to 4",
    ),
    (dict(version=2), "makes no sense: .*incorrect header check"),
    (dict(codes=b"\xff" * 33), "do not fill the frames"),
    (dict(frames=[4, 1, 10**9]), "do not fill the frames"),
    (dict(frames=[4, 1, -7]), "at least one frame"),
    (dict(frames=[4, 8]), "2 clips, but num_samples for 3"),
    (dict(frames=None), "makes no sense"),
    (dict(spec={"hop": 1}), "positive integers"),
    (dict(spec={**SPEC, "codebook_size": 600}), "beyond its codebooks' size"),
    (dict(num_codebooks=4), "num_codebooks must be 1 to 3"),
    (dict(gaps=[[], [], [7]]), "gaps must be frames of the clip, 0 to 6"),
    (dict(gains=[[1.0], [2.0], [float("nan")]]), "finite"),
    (dict(gains=[[1.0], [2.0], [1.0, 2.0]]), "as many for each clip"),
    (dict(sample_rate="x"), "sample_rate must be a positive integer"),
    (dict(fingerprint=None), "fingerprint must be a string"),
    (dict(num_channels=2), "3 clips are no recordings of 2 channels"),
  ],
)
def test_foreign_and_newer_files_are_named(tmp_path, changes, message):
  path = tmp_path / "a.jxc"
  token_file.write(path, _content())
  path.write_bytes(_rewritten(path.read_bytes(), **changes))
  with pytest.raises(ValueError, match=f"{path}: .*{message}"):
    token_file.read(path)


def _rewritten_small(data, codes=None, more=b"", **changes):
  """The same for version 2; `more` follows the deflated header."""
  length = struct.unpack_from("<4sHI", data)[2]
  inflate = zlib.decompressobj(zdict=deflated.DICTIONARY)
  header = {**json.loads(inflate.decompress(data[10 : 10 + length])), **changes}
  deflate = zlib.compressobj(zdict=deflated.DICTIONARY)
  text = deflate.compress(json.dumps(header).encode()) + deflate.flush() + more
  body = struct.pack("<4sHI", b"JXC\n", 2, len(text)) + text
  body += data[10 + length : -4] if codes is None else codes
  return body + struct.pack("<I", zlib.crc32(body))


@pytest.mark.parametrize(
  "changes,message",
  [
    (dict(codes=b"\xff"), "do not fill the frames"),
    (dict(codes=b"\xff" * 60), "do not fill the frames"),
    (dict(frames=[4, 1, 10**9]), "do not fill the frames"),
    (dict(spec={**SPEC, "codebook_size": 600}), "beyond its codebooks' size"),
    (dict(gaps=[[], [], [7]]), "gaps must be frames of the clip, 0 to 6"),
    (dict(coding="other"), "codes are adaptive or scored in this version, got 'other'"),
    (dict(coding="scored"), "makes no sense: KeyError..language_model"),
    (
      dict(coding="scored", language_model={"fingerprint": 3}),
      "strings, with a fingerprint and a scheme, got",
    ),
    (dict(more=b"?"), "header makes no sense: .*does not end where"),
  ],
)
def test_what_is_wrong_with_the_small_kind_is_named(tmp_path, changes, message):
  path = tmp_path / "a.jxc"
  token_file.write(path, _content(), entropy=True)
  data = path.read_bytes()
  path.write_bytes(_rewritten_small(data))
  assert token_file.read(path).codes[0][0].tolist() == [0, 1023]
  path.write_bytes(_rewritten_small(data, **changes))
  with pytest.raises(ValueError, match=f"{path}: .*{message}"):
    token_file.read(path)


@pytest.mark.parametrize(
  "content,message",
  [
    (dict(codes=[]), "num_codebooks"),
    (dict(codes=[np.zeros((0, 2), int)] * 3), "at least one frame"),
    (dict(codes=[np.full((4, 2), 1024)] * 3), "codes must be 0 to 1023"),
    (dict(codes=[np.full((4, 2), -1)] * 3), "codes must be 0 to 1023"),
    (dict(codes=[np.zeros((4, 2))] * 3), "codes must be integers"),
    (dict(codes=[np.zeros((4, 4), int)] * 3), "num_codebooks must be 1 to 3"),
    (dict(spec={**SPEC, "codebook_size": 1 << 17}), "at most 65536 fit"),
    (dict(num_samples=[1, 2]), "3 clips, but num_samples for 2"),
  ],
)
def test_what_cannot_be_is_not_written(tmp_path, content, message):
  path = tmp_path / "a.jxc"
  with pytest.raises(ValueError, match=f"{path}: cannot be written: .*{message}"):
    token_file.write(path, TokenFile(**{**vars(_content()), **content}))
  assert not list(tmp_path.iterdir())


def test_tokens_save_and_load(tmp_path):
  path = tmp_path / "a.jxc"
  mask_BxT = np.array([[1, 1, 1, 0, 1], [1, 1, 0, 0, 0]], bool)
  codes_BxTxK = np.random.default_rng(0).integers(0, 1024, (2, 5, 3)).astype(np.int32)
  origin = Origin(np.array([1600, 640]), 16_000, TokenSpec(**SPEC), "ab" * 32)
  gain_BxS = np.float32([[0.1], [0.7]])
  tokens = jaxcodec.Tokens(codes_BxTxK, mask_BxT, gain_BxS, origin)
  tokens.save(path)
  back = jaxcodec.Tokens.load(path)
  np.testing.assert_array_equal(back.mask_BxT, mask_BxT)
  expected = np.where(mask_BxT[..., None], codes_BxTxK, 0)
  np.testing.assert_array_equal(back.codes_BxTxK, expected)
  np.testing.assert_array_equal(back.gain_BxS, gain_BxS)
  assert back.origin.num_samples_B.tolist() == [1600, 640]
  assert jax.tree.structure(back) == jax.tree.structure(tokens)
  assert jax.jit(lambda t: t.codes_BxTxK.sum())(back) == expected.sum()
  with pytest.raises(ValueError, match="a.jxc: cannot be written: .* no origin"):
    tokens.replace(origin=None).save(path)
  with pytest.raises(FileNotFoundError):
    jaxcodec.Tokens.load(tmp_path / "absent.jxc")
