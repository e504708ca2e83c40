"""Weights as training programs leave them: in wrappers, with prefixes, or with NaN."""

import json
import logging

import api_helpers
import jax
import numpy as np
import pytest

from jaxcodec import api, porting, weights
from jaxcodec.api import sources
from jaxcodec.build.codec import make_preset
from jaxcodec.cli.convert import convert_file
from jaxcodec.cli.main import main
from jaxcodec.codecs.shapes import variable_shapes
from jaxcodec.porting import readers, torch_zip, wrapped
from jaxcodec.porting.weights import export_torch, import_weights


@pytest.fixture(scope="module")
def codec():
  return make_preset(api_helpers.CONFIG)


@pytest.fixture(scope="module")
def variables(codec):
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32),
    variable_shapes(codec),
  )


@pytest.fixture(scope="module")
def state(codec, variables, tmp_path_factory):
  """Returns the original's state dict of these variables."""
  path = tmp_path_factory.mktemp("weights") / "w.pth"
  export_torch(variables, codec, path)
  return readers.read(path).state


def _write(path, tree):
  path.write_bytes(torch_zip.dumps(tree))
  return path


def _same(found, expected):
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_array_equal(one, other)


def _prefixed(state, prefix):
  return {prefix + name: array for name, array in state.items()}


def test_what_is_converted_stays(tmp_path, codec, variables, state):
  """Nothing is written where the weights lie, in either direction."""
  path, ours = _write(tmp_path / "w.pth", state), tmp_path / "p.safetensors"
  convert_file(path, api_helpers.CONFIG, ours)
  for source in (path, ours):
    before = source.read_bytes()
    with pytest.raises(ValueError, match="is what is converted; choose another place"):
      convert_file(source, api_helpers.CONFIG, source)
    assert source.read_bytes() == before
  folder = tmp_path / "folder"
  export_torch(variables, codec, folder, "huggingface")
  with pytest.raises(ValueError, match="is what is converted"):
    convert_file(folder, None, folder / "model.safetensors")


def test_an_error_says_which_of_the_weights_did_not_fit(tmp_path, state):
  partial = dict(list(state.items())[:-1])
  path = _write(tmp_path / "w.pth", {"model": state, "ema": partial})
  with pytest.raises(ValueError, match=r"(?s)not in the weights.*are those in 'ema'"):
    import_weights(path, make_preset(api_helpers.CONFIG))


@pytest.mark.parametrize(
  "prefix", ["module.", "_orig_mod.", "generator.", "model.", "module._orig_mod."]
)
def test_a_prefix_is_taken_off_and_said(tmp_path, codec, variables, state, prefix):
  others = {"discriminator.0.weight": np.ones(3, np.float32)}
  path = _write(tmp_path / "w.pth", {**_prefixed(state, prefix), **others})
  found = import_weights(path, codec)
  _same(found.variables, variables)
  (note,) = found.notes
  assert repr(prefix) in note and "1 arrays without it are left out" in note


WRAPPERS = {
  "best_state": lambda state: {"best_state": {"model": state}, "epoch": 3},
  "model": lambda state: {"model": state, "optimizer": {"state": {}, "lr": 0.1}},
  "state_dict": lambda state: {"state_dict": _prefixed(state, "generator."), "step": 1},
  "ema": lambda state: {"ema": {"state": {"model": state}}, "model": {"a": 1}},
  "generator": lambda state: {"generator": state, "steps": 9},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_are_looked_into_and_said(
  tmp_path, codec, variables, state, wrapper, caplog
):
  path = _write(tmp_path / "w.pth", WRAPPERS[wrapper](state))
  with caplog.at_level(logging.WARNING):
    _same(porting.convert(path, codec), variables)
  assert wrapper in caplog.text or "generator." in caplog.text


def test_plain_weights_say_nothing(tmp_path, codec, variables, state, caplog):
  for tree in (state, {"state_dict": state, "metadata": {"kwargs": {}}}):
    _same(porting.convert(_write(tmp_path / "w.pth", tree), codec), variables)
  assert not caplog.records


def test_convert_says_what_it_took_off(tmp_path, state):
  path = _write(tmp_path / "w.pth", {"model": _prefixed(state, "module.")})
  said = convert_file(path, api_helpers.CONFIG, tmp_path / "p.safetensors")
  assert "'model'" in said and "the prefix 'module.' is taken off" in said


def test_of_weights_that_do_not_fit_some_are_listed(tmp_path, codec, state):
  path = _write(tmp_path / "w.pth", _prefixed(state, "unknown."))
  with pytest.raises(ValueError, match="w.pth: the weights do not fit") as error:
    porting.convert(path, codec)
  lines = str(error.value).splitlines()
  assert len(lines) == 22 and lines[-1].endswith("more")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_with_nan_are_refused(tmp_path, codec, variables, state, value):
  name = next(iter(state))
  spoiled = state[name].copy()
  spoiled.flat[0] = value
  path = _write(tmp_path / "w.pth", {**state, name: spoiled})
  with pytest.raises(ValueError, match=f"w.pth: .*\n.*{name}: holds NaN or infinity"):
    porting.convert(path, codec)
  bad = jax.tree.map(np.copy, variables)
  jax.tree.leaves(bad)[0].flat[0] = value
  ours = tmp_path / weights.FILE
  weights.save_params(ours, bad, {"config": json.dumps(api_helpers.CONFIG)})
  with pytest.raises(ValueError, match="safetensors holds NaN or infinity, in 1 of"):
    api.load(weights=ours)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_cut_parameters_are_called_so(tmp_path, variables, share, capsys):
  path = tmp_path / weights.FILE
  weights.save_params(path, variables, {"config": json.dumps(api_helpers.CONFIG)})
  path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
  with pytest.raises(ValueError, match=f"{path} is truncated or isn't"):
    api.load(weights=path)
  command = ["convert", str(path), "--out", str(tmp_path / "out.pth")]
  assert main(command) == 2
  assert "is truncated or isn't" in capsys.readouterr().err


def test_a_shipped_name_may_stand_with_weights_of_ones_own(tmp_path, variables):
  path = tmp_path / weights.FILE
  weights.save_params(path, variables)
  with pytest.raises(ValueError, match="doesn't fit the model"):
    api.load("speech_16khz", path)
  shapes = variable_shapes(make_preset(sources.config_named("speech_16khz")))
  ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
  weights.save_params(path, ones)
  loaded = api.load("speech_16khz", path)
  assert loaded.fingerprint == weights.token_fingerprint(ones)


def test_an_optimiser_is_not_taken_for_weights():
  tree = {"model": {"a.weight": np.ones(2)}, "optimizer": {"state": {"m": np.ones(2)}}}
  state, notes = wrapped.look_into(tree)
  assert list(state) == ["a.weight"] and notes == ["the weights are those in 'model'"]
