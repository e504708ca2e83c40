"""Exported codecs: their codes and audio are the codec's, without the package."""

import json
import subprocess
import sys

import api_helpers
import jax
import numpy as np
import pytest

from jaxcodec.api import CodecModel, loading
from jaxcodec.build.codec import make_preset
from jaxcodec.cli.main import main
from jaxcodec.codecs.segments import Segments
from jaxcodec.deploy import folder
from jaxcodec.deploy.loader import ExportedCodec

# One frame, a whole bucket of 64, and a part of the next.
LENGTHS = 1, 64 * api_helpers.HOP, 201


@pytest.fixture(scope="module")
def clips():
  rng = np.random.default_rng(0)
  return [np.float32(0.1 * rng.standard_normal((N, 1))) for N in LENGTHS]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
  """Returns a codec by the package, and the folder that the command made of it."""
  out = tmp_path_factory.mktemp("deploy") / "out"
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(loading, "load_variables", lambda *_: api_helpers.toy())
    command = ["export", "toy", "--as", "programs", "--seconds", "0.03"]
    assert main([*command, "--out", str(out)]) == 0
  return api_helpers.toy_model(), out


ALONE = """
import sys
sys.modules["jaxcodec"] = sys.modules["flax"] = None
sys.path.insert(0, sys.argv[1])
import loader, numpy as np
codec, clips = loader.ExportedCodec(sys.argv[1]), np.load(sys.argv[2])
found = {}
for name in clips.files:
  tokens = codec.encode(clips[name])
  found["codes" + name] = tokens[0]
  found["audio" + name] = codec.decode(*tokens)
np.savez(sys.argv[3], **found)
"""


def test_without_the_package_codes_and_audio_are_the_same(exported, clips, tmp_path):
  model, out = exported
  np.savez(tmp_path / "in.npz", **dict(zip("abc", clips, strict=True)))
  names = out, tmp_path / "in.npz", tmp_path / "out.npz"
  command = [sys.executable, "-c", ALONE, *map(str, names)]
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  found = np.load(tmp_path / "out.npz")
  for name, clip_NxC in zip("abc", clips, strict=True):
    tokens = model.encode(clip_NxC[None])
    np.testing.assert_array_equal(found[f"codes{name}"], tokens.codes_BxTxK[0])
    audio_NxC = found[f"audio{name}"][: len(clip_NxC)]
    np.testing.assert_array_equal(audio_NxC, model.decode(tokens)[0])


def test_the_folder_says_what_it_holds(exported):
  model, out = exported
  about = json.loads((out / folder.ABOUT).read_text())
  assert about["fingerprint"] == model.fingerprint
  assert about["encode"] == about["decode"] == [64, 128]  # 0.03 s are 120 frames
  assert about["rows"] == {"encode": "any", "decode": "any"}
  names = {path.name for path in (out / "accelerator").iterdir()}
  assert names == {path.name for path in (out / "cpu").iterdir()}
  assert len(names) == 5
  card = (out / folder.CARD).read_text()
  assert model.fingerprint in card and "up to\n0.03 s" in card


def test_programs_take_batches_and_name_their_platforms(exported, clips):
  model, out = exported
  codec = ExportedCodec(out)
  audio_BxNxC = np.stack([clips[1], clips[1][::-1], 2 * clips[1]])
  length_B = np.array([128, 50, 128], np.int32)
  codes_BxTxK, *_ = codec.program("encode_64")(codec.weights, audio_BxNxC, length_B)
  expected = model.encode(audio_BxNxC, lengths=length_B.tolist())
  valid = expected.mask_BxT
  np.testing.assert_array_equal(codes_BxTxK[valid], expected.codes_BxTxK[valid])
  for form, platforms in (("cpu", ["cpu"]), ("accelerator", ["cuda", "tpu"])):
    content = (out / form / "encode_64.bin").read_bytes()
    assert list(jax.export.deserialize(bytearray(content)).platforms) == platforms


def test_clips_that_are_too_long_are_errors(exported):
  codec = ExportedCodec(exported[1])
  with pytest.raises(ValueError, match="129 frames; encode takes at most 128"):
    codec.encode(np.zeros((257, 1), np.float32))
  with pytest.raises(ValueError, match="129 frames; decode takes at most 128"):
    codec.decode(np.zeros((129, api_helpers.K), np.int32))


def test_segments_with_levels_of_their_own(tmp_path, clips):
  codec, variables = api_helpers.toy(segments=Segments(40, 36), normalize=True)
  folder.write(codec, variables, tmp_path, seconds=0.016)
  model, alone = CodecModel(codec, variables), ExportedCodec(tmp_path)
  for clip_NxC in clips[:2]:
    expected = model.encode(clip_NxC[None])
    tokens = alone.encode(clip_NxC)
    np.testing.assert_array_equal(tokens[0], expected.codes_BxTxK[0])
    np.testing.assert_array_equal(tokens[1], expected.mask_BxT[0])
    audio_NxC = alone.decode(*tokens)[: len(clip_NxC)]
    np.testing.assert_array_equal(audio_NxC, model.decode(expected)[0])


@pytest.mark.parametrize(
  "codec,seconds,message",
  [
    (api_helpers.toy, "0", "seconds must be positive, got 0.0"),
    (lambda: (make_preset("vocos_mel_24khz"), {}), "1", "NAME: is a vocoder"),
  ],
)
def test_what_cannot_be_exported_is_named(
  codec, seconds, message, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(loading, "load_variables", lambda *_: codec())
  command = ["export", "NAME", "--as", "programs", "--seconds", seconds]
  assert main([*command, "--out", str(tmp_path / "out")]) == 2
  assert message in capsys.readouterr().err
  assert not (tmp_path / "out").exists()
