"""Language models score codes as they are read like whole clips, on any machine."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import speech_helpers

from jaxcodec.api.code_scores import shipped_code_scores
from jaxcodec.build.slm import fresh_params
from jaxcodec.cli.main import main
from jaxcodec.coding import scored
from jaxcodec.data.text import wrapped
from jaxcodec.inference.code_scores import DelayScores, MaskGitScores, ValleScores
from jaxcodec.slm import delay_model
from jaxcodec.slm.delay import Delay
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.slm.positions import Pace
from jaxcodec.slm.valle import Valle
from jaxcodec.types import Tokens, TokenSpec

SPEC = TokenSpec(num_codebooks=3, codebook_size=11, hop=80, sample_rate=8000)
SIZES = dict(width=16, depth=2, heads=2)
P, T, K, V = 4, 10, 3, 11
TEXT = wrapped()[None]


def _random(model):
  shapes = jax.eval_shape(lambda: fresh_params(model, jax.random.key(0)))
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: rng.normal(0, 0.4, x.shape).astype(x.dtype), shapes)


def _usual(model):
  """The pace of a usual text that stands beside the past and all that follows."""
  rate = model.symbols_per_frame
  return Pace(jnp.array([P * rate]), jnp.array([P]), jnp.array([rate]))


def _valle(model, params, codes_NxK):
  text, mask = (TEXT, jnp.ones((1, 2), bool)), jnp.ones((1, P + T), bool)
  given = *text, codes_NxK[None, :, 0], mask, _usual(model)
  first = model.ar.apply({"params": params["ar"]}, *given)[0, P:-1, :-1]
  levels = [first]
  for level in range(1, K):
    shown = codes_NxK.copy()
    shown[P:, level:] = V
    given = *text, shown[None], mask, jnp.full(1, level), _usual(model)
    levels.append(model.nar.apply({"params": params["nar"]}, *given)[0, P:])
  return np.stack(levels, 1)


def _delay(model, params, codes_NxK):
  mask = jnp.ones((1, P + T), bool)
  delayed = delay_model.delay(codes_NxK[None], mask, V)
  steps = delayed, jnp.ones(delayed.shape[:2], bool), _usual(model)

  def both(net, *inputs):
    return net.logits(net(*inputs))

  given = TEXT, jnp.ones((1, 2), bool), *steps
  scores = model.model.apply({"params": params}, *given, method=both)[0]
  at = np.arange(P, P + T)[:, None] + np.arange(K)
  return np.asarray(scores)[at, np.arange(K), :-1]


def _maskgit(model, params, codes_NxK):
  found = np.zeros((T, K, V), np.float32)
  nothing = jnp.full((1, P + T), model.no_semantic)
  for level in range(K):
    # Of the first level, eighths are known, then quarters, then halves.
    passes = [range(0, T, 8), range(4, T, 8), range(2, T, 4), range(1, T, 2)]
    for n, frames in enumerate([range(T)] if level else passes):
      shown = codes_NxK.copy()
      shown[P:, level:] = V
      for known in passes[:n]:
        at = P + np.array(known)
        shown[at, 0] = codes_NxK[at, 0]
      given = shown[None], nothing, jnp.ones((1, P + T), bool), jnp.full(1, level)
      scores = model.apply({"params": params}, *given)[0, P:]
      found[np.array(frames), level] = scores[np.array(frames)]
  return found


MODELS = {
  "aligned": (ValleScores, _valle, Valle(SPEC, 5, **SIZES, positions="aligned")),
  "sequence": (ValleScores, _valle, Valle(SPEC, 5, **SIZES)),
  "delay": (DelayScores, _delay, Delay(SPEC, 5, **SIZES)),
  "maskgit": (MaskGitScores, _maskgit, MaskGit(SPEC, 4, **SIZES)),
}


@pytest.mark.parametrize("room", [2, 0])
@pytest.mark.parametrize("name", MODELS)
def test_codes_are_scored_as_in_a_whole_clip(name, room):
  """Step by step, from what is known alone, as by a pass over all of the clip."""
  kind, expected, model = MODELS[name]
  params = _random(model)
  codes_NxK = np.random.default_rng(1).integers(0, V, (P + T, K)).astype(np.int32)
  scores = kind(model, params, "ab", {})
  scores.frames, scores.past = T + room, P + room
  found, seen = np.full((T, K, V), np.nan), []
  steps, codes = scores.reveal(codes_NxK[:P], T), None
  try:
    while True:
      cells, scores_NxV = steps.send(codes)
      codes = [int(codes_NxK[P + t, k]) for t, k in cells]
      found[tuple(np.transpose(cells))] = scores_NxV
      seen += cells
  except StopIteration:
    pass
  assert len(seen) == len(set(seen)) == T * K
  whole = expected(model, params, codes_NxK)
  np.testing.assert_allclose(found, whole, rtol=0, atol=3e-5)


def test_it_is_computed_in_float32():
  half = Valle(SPEC, 5, **SIZES, dtype=jnp.bfloat16)
  params = _random(half)
  runs = [
    ValleScores(model, params, "ab", {}) for model in (half, MODELS["sequence"][2])
  ]
  for scores in runs:
    scores.frames = scores.past = 4
  codes = np.random.default_rng(0).integers(0, V, (5, 2)).astype(np.int32)
  assert scored.encode([codes], 4, runs[0]) == scored.encode([codes], 4, runs[1])


_READ = """
import sys, jax, numpy as np
from jaxcodec.types import Tokens
assert jax.device_count() == 3
given = zip(sys.argv[1::2], sys.argv[2::2])
found = [Tokens.load(path, language_model=run) for run, path in given]
print([tokens.codes_BxTxK.tolist() for tokens in found])
"""


def test_files_come_back_on_other_devices(tmp_path, capsys):
  """Three devices and fully optimised programs, whose numbers differ by rounding."""
  expected, given = [], []
  audio = [
    speech_helpers.write_noise(tmp_path / "audio" / f"{seed}.wav", seconds, seed)
    for seed, seconds in enumerate((0.4, 2.6))
  ]
  for kind in ("valle", "delay", "maskgit"):
    run = speech_helpers.write_run(tmp_path / kind, kind)
    plain, small, one = (run / name for name in ("plain", "small", "one"))
    encode = ["encode", *audio, "--weights", str(run), "--out"]
    assert main([*encode, str(plain)]) == 0
    assert main([*encode, str(small), f"--entropy={run}"]) == 0
    del encode[2]
    assert main([*encode, str(one), f"--entropy={run}"]) == 0
    for name in ("0.jxc", "1.jxc"):
      given += [str(run), str(small / name)]
      expected.append(Tokens.load(plain / name).codes_BxTxK.tolist())
    # Whatever is beside it.
    assert (small / "0.jxc").read_bytes() == (one / "0.jxc").read_bytes()
  environment = {
    **os.environ,
    "XLA_FLAGS": "--xla_force_host_platform_device_count=3",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
  }
  command = [sys.executable, "-c", _READ, *given]
  done = subprocess.run(command, env=environment, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert done.stdout == f"{expected}\n"
  decode = ["decode", str(one), "--weights", str(run), "--out", str(tmp_path / "a")]
  capsys.readouterr()
  assert main(decode) == 2
  assert "the language model 'maskgit': say where" in capsys.readouterr().err
  assert main([*decode, "--language-model", str(run)]) == 0
  assert [path.name for path in (tmp_path / "a").iterdir()] == ["0.wav"]


def test_a_model_of_another_codec_is_refused_before_any_work(tmp_path, capsys):
  run = speech_helpers.write_run(tmp_path / "run", "valle")
  audio = speech_helpers.write_noise(tmp_path / "a.wav", 0.4)
  out = tmp_path / "out"
  command = ["encode", audio, "--weights", str(run), "--out", str(out)]
  assert main([*command, "--entropy=speech_tts"]) == 2
  assert "'speech_tts' is of another codec's tokens" in capsys.readouterr().err
  assert main([*command, "--stream", f"--entropy={run}"]) == 2
  assert "--stream takes --entropy alone" in capsys.readouterr().err
  assert not list(out.glob("*.jxc"))


def test_a_file_can_name_only_what_comes_along(tmp_path):
  found = shipped_code_scores("speech_tts")
  assert (found.scheme, found.about["name"]) == ("delay-1", "speech_tts")
  run = speech_helpers.write_run(tmp_path / "run", "valle")
  for name in (str(run), "user/repo", "speech_16khz", ""):
    assert shipped_code_scores(name) is None
