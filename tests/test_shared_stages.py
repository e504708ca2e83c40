"""Experiments on tokens and generated codes of others."""

import json
import types

import numpy as np
import pytest
import soundfile

from jaxcodec import stages, weights
from jaxcodec.build.fields import ConfigError
from jaxcodec.pipeline import use_codec_of, use_slm_of, use_tokens_of
from jaxcodec.pipeline.generate import INDEX, LEFT_OUT, codes_file
from jaxcodec.pipeline.shared_codec import GENERATED
from jaxcodec.pipeline.speak import speak_all

RATE, HOP = 1000, 10


def _variables(encoder, decoder):
  leaf = lambda value: {"kernel": np.full(3, value, np.float32)}  # noqa: E731
  return {"params": {"encoder": leaf(encoder), "decoder": leaf(decoder)}}


def _finish(workdir, name, **contents):
  def work(folder):
    for file, content in contents.items():
      (folder / file).write_bytes(content)
    return list(contents)

  stages.run_stage(workdir, name, {}, work)


def _codec(workdir, variables):
  def work(folder):
    weights.save_params(folder / weights.FILE, variables)
    return [weights.FILE]

  stages.run_stage(workdir, "codec", {}, work)


def _spec(variables):
  fingerprint = weights.token_fingerprint(variables)
  return json.dumps({"token_fingerprint": fingerprint}).encode()


def test_a_decoder_is_used_with_the_tokens_that_it_was_trained_for(tmp_path):
  source, decoder, user = (tmp_path / name for name in ("source", "decoder", "user"))
  tokens_of = _variables(encoder=1, decoder=1)
  _finish(source, "tokens", **{"spec.json": _spec(tokens_of)})
  use_tokens_of(source, decoder)
  _codec(decoder, _variables(encoder=1, decoder=2))
  use_codec_of(decoder, user)
  assert (user / "tokens").resolve() == (source / "tokens").resolve()
  assert (user / "codec").resolve() == (decoder / "codec").resolve()

  other = tmp_path / "other"
  use_tokens_of(source, other)
  _codec(other, _variables(encoder=3, decoder=2))
  with pytest.raises(ConfigError, match="tokens in .*other were made by another enc"):
    use_codec_of(other, tmp_path / "second")


def _generated(workdir, names):
  """Finishes a generate stage whose codes are their own audio."""

  def work(folder):
    rows = []
    for number, name in enumerate(names):
      codes_TxK = np.full((4, 2), number)
      np.save(folder / codes_file(name), codes_TxK)
      audio_N = np.zeros(4 * HOP - 3, np.float32)
      soundfile.write(folder / name, audio_N, RATE, subtype="FLOAT")
      rows.append({"id": name, "wav": name, "frames": 4})
    rows.append({"id": "empty", "wav": None, "frames": 0})
    (folder / INDEX).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / LEFT_OUT).write_text("[]")
    return [INDEX, LEFT_OUT, *names, *map(codes_file, names)]

  stages.run_stage(workdir, "generate", {}, work)


def _experiment(workdir):
  decode = lambda codes: [np.repeat(codes[0][:, 0] / 10, HOP)]  # noqa: E731
  return types.SimpleNamespace(
    done={GENERATED: stages.load_stage(workdir, GENERATED)},
    codec=types.SimpleNamespace(decode=decode),
    spec=types.SimpleNamespace(sample_rate=RATE),
  )


def test_the_same_codes_are_spoken_by_another_decoder(tmp_path):
  source, user = tmp_path / "source", tmp_path / "user"
  _finish(source, "slm", params=b"x")
  _generated(source, ["a.wav", "b.wav"])
  use_slm_of(source, user)
  assert stages.load_stage(user, "slm").outputs
  (folder := user / "generate").mkdir()
  assert speak_all(_experiment(user), folder) == [INDEX, LEFT_OUT, "a.wav", "b.wav"]
  assert (folder / INDEX).read_text() == (source / "generate" / INDEX).read_text()
  for number, name in enumerate(("a.wav", "b.wav")):
    audio_N, rate = soundfile.read(folder / name)
    assert rate == RATE
    expected = np.full(4 * HOP - 3, number / 10)  # as long as the other experiment's
    np.testing.assert_allclose(audio_N, expected, atol=1e-4)


def test_codes_that_an_earlier_revision_did_not_keep_are_asked_for(tmp_path):
  source = tmp_path / "source"
  _finish(source, "slm", params=b"x")
  line = json.dumps({"id": "a", "wav": "a.wav", "frames": 4}) + "\n"
  _finish(source, "generate", **{INDEX: line.encode(), "a.wav": b"x"})
  use_slm_of(source, tmp_path / "user")
  with pytest.raises(ConfigError, match="no a.npy in .*: generate there again"):
    speak_all(_experiment(tmp_path / "user"), tmp_path)
