"""Exported parameters: safetensors reads them, bytes repeat, damage is named."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from jax.sharding import PartitionSpec

from jaxcodec import files, weights
from jaxcodec.parallel import sharding

VARIABLES = {
  "params": {
    "b": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)},
    "a": {"bias": np.float32([1, -1]), "scale": np.float32(3)},
  },
  "stats": {"inited": np.array([True, False]), "count": np.int32(7)},
}
METADATA = {"z": "1", "a": "ä", "m": '"quoted"'}


def test_the_library_reads_what_we_write(tmp_path):
  path = tmp_path / "p.safetensors"
  digest = weights.save_params(path, VARIABLES, METADATA)
  assert digest == files.sha256(path)
  flat = safetensors.numpy.load_file(path)
  assert set(flat) == {
    "params/a/bias",
    "params/a/scale",
    "params/b/kernel",
    "stats/count",
    "stats/inited",
  }
  np.testing.assert_array_equal(
    flat["params/b/kernel"], VARIABLES["params"]["b"]["kernel"]
  )
  assert flat["params/a/scale"].shape == () and flat["stats/inited"].dtype == bool
  with safetensors.safe_open(path, framework="numpy") as file:
    metadata = file.metadata()
  assert len(metadata.pop(weights.CHECKSUM)) == 64 and metadata == METADATA
  size = int.from_bytes(path.read_bytes()[:8], "little")
  assert (8 + size) % 8 == 0


def test_a_file_of_halves_is_read_as_float32(tmp_path):
  path, whole = tmp_path / "half.safetensors", tmp_path / "whole.safetensors"
  x = np.linspace(-3, 3, 4001, dtype=np.float32)
  tree = {"params": {"x": x}, "n": {"k": np.int32(7)}}
  for bits, file in ((16, path), (32, whole)):
    weights.save_params(file, tree, METADATA, bits=bits)
  assert path.stat().st_size < 0.55 * whole.stat().st_size
  found = weights.load_params(path, like=tree)
  expected = np.float32(np.float16(x))
  np.testing.assert_array_equal(found["params"]["x"], expected)
  assert found["params"]["x"].dtype == np.float32 and found["n"]["k"] == 7
  assert weights.load_metadata(path) == METADATA
  with pytest.raises(
    ValueError, match="params/x has values beyond float16, up to 70000"
  ):
    weights.save_params(path, {"params": {"x": np.float32([7e4])}}, bits=16)


def test_weights_in_8_bits_are_off_by_half_a_step_of_their_block(tmp_path):
  path, rng = tmp_path / "p.safetensors", np.random.default_rng(0)
  x = rng.normal(size=(40, 33)).astype(np.float32) * rng.gamma(1.0, size=(40, 1))
  x = x.astype(np.float32)
  x.reshape(-1)[64:96] = 0  # a block without any
  vector = rng.gamma(1.0, size=(1, 1, 2000)).astype(np.float32)
  tree = {"params": {"x": x, "scale": vector}, "n": {"k": np.arange(2000)}}
  weights.save_params(path, tree, METADATA, bits=8)
  found = weights.load_params(path, like=tree)
  flat, got = (np.pad(a.reshape(-1), (0, 24)) for a in (x, found["params"]["x"]))
  greatest = np.abs(flat.reshape(-1, 32)).max(-1, keepdims=True)
  error = np.abs(flat - got).reshape(-1, 32)
  assert got.dtype == np.float32 and (error <= greatest * (0.5 / 127 + 2**-10)).all()
  assert 0.3 < (error / greatest.clip(1e-9)).max() * 254 and not got[64:96].any()
  half = np.float32(np.float16(vector))
  np.testing.assert_array_equal(found["params"]["scale"], half)
  np.testing.assert_array_equal(found["n"]["k"], np.arange(2000))
  assert weights.is_params(path)
  weights.save_params(tmp_path / "again", found, METADATA, bits=8)
  again = weights.load_params(tmp_path / "again")["params"]["x"]
  np.testing.assert_array_equal(again, found["params"]["x"])
  with pytest.raises(ValueError, match=r"one of \(32, 16, 8\), got 4"):
    weights.save_params(path, tree, bits=4)


def test_round_trip_from_devices_and_half_precision(tmp_path):
  path = tmp_path / "p.safetensors"
  mesh = sharding.make_mesh({"fsdp": 8})
  sharded = jax.device_put(
    jnp.arange(16.0), jax.sharding.NamedSharding(mesh, PartitionSpec("fsdp"))
  )
  tree = {"x": sharded, "half": jnp.array([0.5, 3.0], jnp.bfloat16)}
  weights.save_params(path, tree)
  back = weights.load_params(path, like=jax.eval_shape(lambda: tree))
  np.testing.assert_array_equal(back["x"], np.arange(16, dtype=np.float32))
  np.testing.assert_array_equal(back["half"], np.float32([0.5, 3.0]))
  assert back["half"].dtype == np.float32 and weights.load_metadata(path) == {}
  nested = tmp_path / "n.safetensors"
  weights.save_params(nested, VARIABLES)
  assert jax.tree.structure(weights.load_params(nested)) == jax.tree.structure(
    VARIABLES
  )


SAVE = """
import sys, numpy as np
from jaxcodec import weights
keys = sys.argv[2].split(",")
tree = {k: {"w": np.full(3, ord(k), np.float32)} for k in keys}
print(weights.save_params(sys.argv[1], tree, {k: k for k in keys}))
"""


def test_bytes_do_not_depend_on_order_or_process(tmp_path):
  digests = set()
  for i, keys in enumerate(["a,b,c,d", "d,b,a,c"]):
    command = [sys.executable, "-c", SAVE, str(tmp_path / f"{i}"), keys]
    env = {**os.environ, "PYTHONHASHSEED": str(i)}
    digests.add(subprocess.check_output(command, env=env))
  assert len(digests) == 1


def test_mismatches_are_all_listed(tmp_path):
  path = tmp_path / "p.safetensors"
  weights.save_params(path, {"a": np.zeros((2, 3)), "b": {"c": np.zeros(1)}})
  with pytest.raises(ValueError) as error:
    weights.load_params(path, like={"a": np.zeros((3, 2)), "d": np.zeros(1)})
  message = str(error.value)
  assert str(path) in message and "missing: d" in message
  assert "left over: b/c" in message
  assert "misshapen: a is (2, 3), expected (3, 2)" in message


@pytest.mark.parametrize("size", [0, 5, 40, -1])
def test_truncated_or_foreign_files_are_named(tmp_path, size):
  path = tmp_path / "p.safetensors"
  weights.save_params(path, VARIABLES)
  path.write_bytes(path.read_bytes()[:size])
  for load in (weights.load_params, weights.load_metadata):
    with pytest.raises(ValueError, match=f"{path} is truncated or isn't"):
      load(path)
  with pytest.raises(FileNotFoundError, match="no parameters at .*gone"):
    weights.load_params(tmp_path / "gone")


def test_bad_keys_and_metadata_are_named(tmp_path):
  with pytest.raises(ValueError, match="key 'a/b' in 'params' holds a slash"):
    weights.save_params(tmp_path / "p", {"params": {"a/b": np.zeros(1)}})
  with pytest.raises(ValueError, match="metadata 'n' must be a string, got 1"):
    weights.save_params(tmp_path / "p", {"a": np.zeros(1)}, {"n": 1})
  assert list(tmp_path.iterdir()) == []


def test_all_weight_norms_are_folded_in_or_none(tmp_path):
  def layer(**scale):
    return {"kernel": np.ones((1, 2, 3)), **scale}

  scale = {"scale": np.ones((1, 1, 3))}
  like = {"params": {"a": layer(**scale), "b": layer(**scale)}}
  folded = {"params": {"a": layer(), "b": layer()}}
  weights.save_params(tmp_path / "folded.safetensors", folded)
  assert weights.load_params(tmp_path / "folded.safetensors", like)["params"].keys()
  damaged = {"params": {"a": layer(**scale), "b": layer()}}
  weights.save_params(tmp_path / "damaged.safetensors", damaged)
  with pytest.raises(ValueError, match="missing: params/b/scale"):
    weights.load_params(tmp_path / "damaged.safetensors", like)


def test_every_flipped_bit_is_found(tmp_path):
  path = tmp_path / "p.safetensors"
  weights.save_params(path, {"x": np.ones(3, np.float32)}, {"rate": "16000"})
  content = path.read_bytes()
  for position in (content.index(b"16000"), content.index(b'"x"') + 1, -1):
    path.write_bytes(content)
    with open(path, "r+b") as file:
      file.seek(position % len(content))
      file.write(bytes([content[position] ^ 1]))
    with pytest.raises(ValueError, match="p.safetensors was altered"):
      weights.load_params(path)
