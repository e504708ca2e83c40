import json
import os

import api_helpers
import numpy as np
import pytest
import soundfile
from api_helpers import RATE, K

from jaxcodec import api, token_file
from jaxcodec.cli.main import main
from jaxcodec.presets import PRESETS
from jaxcodec.types import Tokens

FILES = {  # name: (samples, channels, rate)
  "a.wav": (100, 1, RATE),
  "deep/er/b.flac": (441, 2, 44_100),
  "deep/c.ogg": (4000, 1, 16_000),
}


def _write(path, samples, channels, rate, seed=0):
  path.parent.mkdir(parents=True, exist_ok=True)
  noise = 0.1 * np.random.default_rng(seed).standard_normal((samples, channels))
  soundfile.write(path, noise, rate)


def _names(folder):
  return sorted(
    path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
  )


@pytest.fixture(scope="module", autouse=True)
def weights():
  """Returns the path of weights whose codec is compiled once for all tests."""
  real_load = api.load

  def load(preset, weights):
    return api_helpers.toy_model() if weights == "toy" else real_load(preset, weights)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(api, "load", load)
    yield "toy"


@pytest.fixture(scope="module")
def encoded(tmp_path_factory, weights):
  """Returns a folder of audio and the folder of its tokens."""
  root = tmp_path_factory.mktemp("files")
  for seed, (name, what) in enumerate(FILES.items()):
    _write(root / "in" / name, *what, seed)
  (root / "in" / "notes.txt").write_text("not audio")
  _write(root / "in" / ".hidden" / "d.wav", 10, 1, RATE)
  command = ["encode", str(root / "in"), "--weights", weights]
  assert main([*command, "--out", str(root / "tokens")]) == 0
  return root / "in", root / "tokens"


def test_a_tree_is_mirrored_there_and_back(encoded, weights, tmp_path):
  audio, tokens = encoded
  assert _names(tokens) == ["a.jxc", "deep/c.jxc", "deep/er/b.jxc"]
  out = tmp_path / "out"
  assert main(["decode", str(tokens), "--weights", weights, "--out", str(out)]) == 0
  assert _names(out) == ["a.wav", "deep/c.wav", "deep/er/b.wav"]
  for name, (samples, _, rate) in FILES.items():
    info = soundfile.info((out / name).with_suffix(".wav"))
    assert info.samplerate == RATE and info.channels == 1
    assert info.frames == round(samples * RATE / rate)
    header = token_file.read_header((tokens / name).with_suffix(".jxc"))
    assert (header["num_samples"], header["sample_rate"]) == ([samples], rate)


def test_few_codebooks_and_single_files(encoded, weights, tmp_path, capsys):
  audio, _ = encoded
  command = ["encode", str(audio / "a.wav"), "--weights", weights]
  command += ["--out", str(tmp_path), "--num-codebooks", "1"]
  assert main(command) == 0
  assert Tokens.load(tmp_path / "a.jxc").codes_BxTxK.shape == (1, 50, 1)
  assert main(["info", str(tmp_path / "a.jxc")]) == 0
  assert '"num_codebooks": 1' in capsys.readouterr().out


def test_small_token_files_hold_the_same(encoded, weights, tmp_path, capsys):
  audio, tokens = encoded
  command = ["--entropy", str(audio), "--weights", weights, "--out", str(tmp_path)]
  assert main(["encode", *command]) == 0  # which is not given what follows
  assert _names(tmp_path) == _names(tokens)
  for name in _names(tokens):
    small, plain = (Tokens.load(folder / name) for folder in (tmp_path, tokens))
    np.testing.assert_array_equal(small.codes_BxTxK, plain.codes_BxTxK)
    assert small.origin.fingerprint == plain.origin.fingerprint
    assert (tmp_path / name).stat().st_size < (tokens / name).stat().st_size
  assert main(["info", str(tmp_path / "a.jxc")]) == 0
  assert '"coding": "adaptive"' in capsys.readouterr().out
  out = str(tmp_path / "out")
  command = ["decode", str(tmp_path / "a.jxc"), "--weights", weights, "--out", out]
  assert main(command) == 0 and _names(tmp_path / "out") == ["a.wav"]


def test_a_batch_becomes_numbered_files(encoded, weights, tmp_path):
  tokens = Tokens.load(encoded[1] / "a.jxc")
  twice = Tokens(*(np.repeat(x, 2, 0) for x in (tokens.codes_BxTxK, tokens.mask_BxT)))
  origin = tokens.origin.replace(num_samples_B=np.array([100, 99]))
  twice.replace(origin=origin).save(tmp_path / "ab.jxc")
  command = ["decode", str(tmp_path / "ab.jxc"), "--weights", weights]
  assert main([*command, "--out", str(tmp_path / "out")]) == 0
  lengths = [soundfile.info(tmp_path / "out" / f"ab.{i}.wav").frames for i in (0, 1)]
  assert lengths == [100, 99]


def test_outputs_are_kept_unless_told_otherwise(encoded, weights, capsys):
  audio, tokens = encoded
  before = (tokens / "a.jxc").stat().st_mtime_ns
  command = ["encode", str(audio / "a.wav"), "--weights", weights, "--out", str(tokens)]
  assert main(command) == 2
  assert "a.jxc among them; --overwrite" in capsys.readouterr().err
  assert (tokens / "a.jxc").stat().st_mtime_ns == before
  assert main([*command, "--overwrite"]) == 0
  assert (tokens / "a.jxc").stat().st_mtime_ns > before


def test_bad_files_stop_or_are_skipped(encoded, weights, tmp_path, capsys):
  _write(tmp_path / "in" / "good.wav", 100, 1, RATE)
  data = (tmp_path / "in" / "good.wav").read_bytes()
  (tmp_path / "in" / "cut.wav").write_bytes(data[:-20])
  command = ["encode", str(tmp_path / "in"), "--weights", weights]
  command += ["--out", str(tmp_path / "out")]
  assert main(command) == 2
  assert "cut.wav: truncated" in capsys.readouterr().err
  assert not (tmp_path / "out").exists()
  assert main([*command, "--on-error", "skip"]) == 0
  assert _names(tmp_path / "out") == ["good.jxc", "skipped.json"]
  (entry,) = json.loads((tmp_path / "out" / "skipped.json").read_text())
  assert entry["item"].endswith("cut.wav") and "truncated" in entry["reason"]
  data = bytearray((tmp_path / "out" / "good.jxc").read_bytes())
  data[-8] ^= 1
  (tmp_path / "out" / "good.jxc").write_bytes(data)
  command = ["decode", str(tmp_path / "out"), "--weights", weights]
  assert main([*command, "--out", str(tmp_path / "wav"), "--on-error", "skip"]) == 2
  assert "no usable file; the first: " in capsys.readouterr().err


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ([], "name a preset or weights; with weights: "),
    (["--preset", "baseline"], "no weights of baseline are published"),
    (["--weights", "random"], "weights='random' needs a preset"),
    (["--preset", "vocoder", "--weights", "random"], "vocoder is a vocoder"),
  ],
)
def test_which_weights_must_be_said(tmp_path, capsys, monkeypatch, options, message):
  mel = dict(n_fft=16, hop=4, n_mels=5, padding="center")
  decoder = dict(mel, name="vocos", width=8, mlp_width=16, depth=1)
  del decoder["n_mels"]
  config = dict(sample_rate=RATE, mel=mel, decoder=decoder)
  monkeypatch.setitem(PRESETS, "vocoder", config)
  soundfile.write(tmp_path / "a.wav", np.zeros(800), 16_000)
  command = ["encode", str(tmp_path / "a.wav"), *options]
  assert main([*command, "--out", str(tmp_path / "out")]) == 2
  assert message in capsys.readouterr().err
  assert not (tmp_path / "out").exists()


def test_random_weights_are_had_for_the_asking(tmp_path, monkeypatch):
  monkeypatch.setitem(PRESETS, "tiny", api_helpers.CONFIG)
  soundfile.write(tmp_path / "a.wav", np.zeros(800), RATE)
  command = ["encode", str(tmp_path / "a.wav"), "--preset", "tiny"]
  assert not main([*command, "--weights", "random", "--out", str(tmp_path / "out")])
  assert Tokens.load(tmp_path / "out" / "a.jxc").codes_BxTxK.shape == (1, 400, K)


def test_tokens_of_other_weights(encoded, weights, tmp_path, capsys):
  tokens = Tokens.load(encoded[1] / "a.jxc")
  other = tokens.replace(origin=tokens.origin.replace(fingerprint="0" * 64))
  other.save(tmp_path / "a.jxc")
  command = ["decode", str(tmp_path / "a.jxc"), "--weights", weights]
  command += ["--out", str(tmp_path)]
  assert main(command) == 2
  assert "a.jxc: the tokens were made with other weights" in capsys.readouterr().err
  assert main([*command, "--any-weights"]) == 0


@pytest.mark.parametrize(
  "names,message",
  [
    (["gone.wav"], "gone.wav: there is no such file or folder"),
    (["notes.txt"], "notes.txt: expected a .wav"),
    (["empty"], "empty: no .wav, .flac, .mp3, .ogg, .oga"),
    (["x.wav", "sub/x.flac"], "would both be written to"),
    (["pipe.wav"], "pipe.wav: is no regular file; standard input is read as -"),
  ],
)
def test_bad_inputs_are_found_before_the_weights(names, message, tmp_path, capsys):
  (tmp_path / "empty").mkdir()
  for name in ("notes.txt", "x.wav", "sub/x.flac"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
  os.mkfifo(tmp_path / "pipe.wav")
  inputs = [str(tmp_path / name) for name in names]
  assert main(["encode", *inputs, "--weights", "gone", "--out", "out"]) == 2
  assert message in capsys.readouterr().err


def test_weights_and_codebooks_that_are_not_there(encoded, weights, tmp_path, capsys):
  command = ["encode", str(encoded[0]), "--out", str(tmp_path), "--weights"]
  assert main([*command, str(tmp_path / "gone")]) == 2
  assert "no weights at" in capsys.readouterr().err
  assert main([*command, weights, "--num-codebooks", "9"]) == 2
  assert f"num_codebooks must be 1 to {K}, got 9" in capsys.readouterr().err
