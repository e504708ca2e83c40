"""Lyra V2 as a reference, by stand-ins for its files: they and their interpreter are
no package that the tests install."""

import types

import numpy as np
import pytest
from evals_helpers import RATE, clip

from jaxcodec.build.fields import ConfigError
from jaxcodec.evals import lyra
from jaxcodec.evals.metric import MetricAbsent
from jaxcodec.pipeline import reference_codecs
from jaxcodec.types import TokenSpec

SPEC = TokenSpec(num_codebooks=8, codebook_size=1024, hop=320, sample_rate=RATE)
CODEBOOKS, LEVELS = 46, 16


class Interpreter:
  """Codes a frame's mean by 4 bits a codebook, and adds how many frames went before."""

  def __init__(self, path, num_threads):
    self.kind, self.frames = path.rpartition("/")[2], 0

  def get_signature_runner(self, name=None):
    return getattr(self, f"_{name or self.kind.removesuffix('.tflite')}")

  def _soundstream_encoder(self, input_audio):
    assert input_audio.shape == (1, 320) and input_audio.dtype == np.float32
    self.frames += 1
    return {"output_0": np.full((1, 1, 64), input_audio.mean() + self.frames - 1)}

  def _encode(self, input_frames, num_quantizers):
    rest, codes = input_frames[0, 0, 0] + 1, np.full((CODEBOOKS, 1, 1), 7, np.int32)
    for k in range(int(num_quantizers)):
      codes[k] = min(int(rest * LEVELS**k), LEVELS - 1)
      rest -= codes[k, 0, 0] / LEVELS**k
    return {"output_0": codes}

  def _decode(self, encoding_indices):
    used = encoding_indices[:, 0, 0]
    value = sum(code / LEVELS**k for k, code in enumerate(used) if code >= 0)
    return {"output_0": np.full((1, 1, 64), value - 1 + (used < 0).sum())}

  def _lyragan(self, input_audio):
    return {"output_0": np.full((1, 320), input_audio[0, 0, 0], np.float32)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
  for name in lyra.FILES:
    (tmp_path / name).write_bytes(name.encode())
  module = types.SimpleNamespace(Interpreter=Interpreter)
  monkeypatch.setattr(lyra, "load", lambda: module)
  return str(tmp_path)


def _experiment(folder):
  settings = {"opus": False, "lyra": folder}
  return types.SimpleNamespace(spec=SPEC, config={"evaluate": settings})


@pytest.mark.parametrize("bits", lyra.FRAME_BITS.values())
def test_frames_pass_in_order_and_codebooks_that_are_not_asked_for_are_unused(
  folder, bits
):
  levels = np.array([0.25, -0.5, 0.125, 0.5])
  audio_N = np.repeat(levels, 320)[:-100].astype(np.float32)
  for _ in range(2):  # a recording begins anew
    heard_N, frames = lyra.through_lyra(audio_N, RATE, folder, bits)
    assert frames == 4 and heard_N.shape == audio_N.shape
    padded = np.pad(audio_N, (0, 100)).reshape(4, 320).mean(1) + np.arange(4)
    unused = CODEBOOKS - bits // 4
    np.testing.assert_allclose(heard_N[::320], padded + unused, atol=1e-5)


def test_its_three_bitrates_are_sets_of_the_results(folder):
  found = reference_codecs.make_sets(_experiment(folder), [clip(0)])
  assert list(found.sets) == ["lyra_3200", "lyra_6000", "lyra_9200"]
  assert not found.absent and sorted(found.models) == sorted(
    f"lyra/{name}" for name in lyra.FILES
  )
  for name, code in found.sets.items():
    (coded,) = code()
    seconds = len(coded.reference) / RATE
    assert coded.bits / seconds == int(name.removeprefix("lyra_"))
    assert coded.audio.shape == coded.reference.shape and coded.codes_TxK is None


def test_a_missing_file_is_named_before_work_and_a_missing_package_in_the_results(
  folder, tmp_path, monkeypatch
):
  def absent():
    raise MetricAbsent("pip install x")

  monkeypatch.setattr(lyra, "load", absent)
  found = reference_codecs.make_sets(_experiment(folder), [clip(0)])
  assert found == ({}, {"lyra": "pip install x"}, {})
  (tmp_path / "quantizer.tflite").unlink()
  with pytest.raises(ConfigError, match="evaluate.lyra: .* has no quantizer.tflite"):
    reference_codecs.check(_experiment(folder))
