"""Checkpoints restore the same bits on any sharding; damaged ones are passed over."""

import json
import pathlib
import subprocess
import sys
import textwrap
from typing import ClassVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxcodec.parallel import sharding
from jaxcodec.train import checkpoint_packing
from jaxcodec.train.checkpoint import Checkpointer
from jaxcodec.train.checkpoint_checksums import CHECKSUMS, write_checksums

TX = optax.adamw(1e-3)


@jax.jit
def make_state():
  kernel = jax.random.normal(jax.random.key(1), (64, 32))
  params = {"dense": {"kernel": kernel, "bias": jnp.zeros(32, jnp.bfloat16)}}
  return {
    "params": params,
    "opt": TX.init(params),
    "rng": jax.random.key(7),
    "step": jnp.int32(0),
  }


def abstract(state):
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
  )


def assert_same_bits(a, b):
  def raw(x):
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
      x = jax.random.key_data(x)
    return np.asarray(x).tobytes()

  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert x.dtype == y.dtype and raw(x) == raw(y)


def test_state_data_position_and_step_come_back(tmp_path):
  state = make_state()
  with Checkpointer(tmp_path / "c") as checkpoints:
    assert checkpoints.restore(abstract(state)) is None
    checkpoints.save(3, state, '{"position": 3}')
  with Checkpointer(tmp_path / "c") as checkpoints:
    restored = checkpoints.restore(abstract(state))
  assert restored.step == 3 and restored.data_state == '{"position": 3}'
  assert_same_bits(restored.state, state)


def test_what_is_saved_does_not_change_when_the_state_is_donated_at_once(tmp_path):
  step = jax.jit(lambda x: x + 1, donate_argnums=0)
  x = jnp.zeros((1024, 1024))
  with Checkpointer(tmp_path / "c", keep=3) as checkpoints:
    for i in range(1, 4):
      x = step(x)
      checkpoints.save(i, {"x": x}, "")
      for _ in range(5):
        x = step(x)
    target = {"x": jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)}
    saved = [checkpoints.restore(target, i).state["x"] for i in (1, 2, 3)]
  for value, expected in zip(saved, (1, 7, 13), strict=True):
    np.testing.assert_array_equal(value, np.full(x.shape, expected, np.float32))


def test_restores_onto_another_mesh(tmp_path):
  state = make_state()
  rules = sharding.Rules(paths=((r"kernel$", sharding.LARGEST),), min_size=1)

  def placed(shape):
    mesh = sharding.make_mesh(shape)
    return sharding.state_shardings(mesh, state, rules)

  with Checkpointer(tmp_path / "c") as checkpoints:
    checkpoints.save(1, jax.device_put(state, placed({"data": 4, "fsdp": 2})), "")
  target = sharding.place_shapes(state, placed({"fsdp": 8}))
  with Checkpointer(tmp_path / "c") as checkpoints:
    restored = checkpoints.restore(target).state
  assert_same_bits(restored, state)
  kernel = restored["opt"][0].mu["dense"]["kernel"].sharding
  assert kernel == NamedSharding(kernel.mesh, PartitionSpec("fsdp"))
  assert len(kernel.mesh.devices.flat) == 8


def test_large_and_cut_leaves_are_not_packed():
  state = small_and_large(1.0) | {"cut": jnp.zeros((64, 8))}
  mesh = sharding.make_mesh({"fsdp": 8})
  cut = NamedSharding(mesh, PartitionSpec("fsdp"))
  packed = checkpoint_packing.pack(state | {"cut": jax.device_put(state["cut"], cut)})
  assert packed.names == {"float32": ["x"]}
  assert packed.rest["x"] is None and jax.tree.structure(packed.rest).num_leaves == 2


def test_goes_on_from_a_checkpoint_whose_leaves_were_written_one_by_one(
  tmp_path, monkeypatch
):
  state = make_state()
  monkeypatch.setattr(checkpoint_packing, "MAX_BYTES", -1)
  with Checkpointer(tmp_path / "c") as checkpoints:
    checkpoints.save(1, state, "")
  monkeypatch.undo()
  meta = tmp_path / "c" / "1" / "meta" / "metadata"
  content = json.loads(meta.read_text())
  assert content.pop("packed") == {}  # as before there were packs
  meta.write_text(json.dumps(content))
  write_checksums(tmp_path / "c" / "1")
  with Checkpointer(tmp_path / "c") as checkpoints:
    assert_same_bits(checkpoints.restore(abstract(state)).state, state)


@flax.struct.dataclass
class Earlier:
  step: jax.Array
  books: dict


@flax.struct.dataclass
class Later(Earlier):
  averages: dict
  BEGIN_AS: ClassVar = {"averages": "books"}


def test_a_field_that_an_earlier_revision_did_not_save_begins_as_another(tmp_path):
  books = {"vq_stats": {"embed": jnp.arange(6.0)}}
  saved = Earlier(jnp.int32(1), books)
  later = Later(jnp.int32(0), books, books)
  with Checkpointer(tmp_path / "c") as checkpoints:
    checkpoints.save(1, saved, "")
    found = checkpoints.restore(abstract(later)).state
    assert_same_bits(found, Later(saved.step, books, books))
    leaves = (found.averages, found.books)
    assert len({id(leaf) for leaf in jax.tree.leaves(leaves)}) == 2
    with pytest.raises(ValueError, match="another model.*\n.*books/vq_stats/embed"):
      checkpoints.restore(abstract(later.replace(books={})))


def test_keeps_the_latest_and_the_best(tmp_path):
  losses = {1: 5.0, 2: 1.0, 3: 4.0, 4: 3.0, 5: 2.0}
  best = ("loss", "min")
  with Checkpointer(tmp_path / "c", keep=2, best=best) as checkpoints:
    for step, loss in losses.items():
      checkpoints.save(step, {"x": jnp.float32(step)}, "", {"loss": loss})
    checkpoints.save(6, {"x": jnp.float32(6)}, "")
  with Checkpointer(tmp_path / "c", keep=2, best=best) as checkpoints:
    assert checkpoints.steps() == [2, 5, 6]


def truncate(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def find(folder, name):
  if name in ("state", "packs"):
    paths = (p for p in (folder / name).rglob("*") if p.is_file())
    return max(paths, key=lambda p: p.stat().st_size)
  return next(folder.rglob(name))


def small_and_large(value):
  """Returns a state with small leaves, which are packed, and one that is not."""
  return {
    "x": jnp.full(4096, value),
    "y": jnp.full(checkpoint_packing.MAX_BYTES, value),
  }


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, pathlib.Path.unlink])
@pytest.mark.parametrize("victim", ["state", "packs", "_METADATA", CHECKSUMS])
def test_damage_is_found_reported_and_stepped_over(tmp_path, caplog, damage, victim):
  with Checkpointer(tmp_path / "c") as checkpoints:
    for step in (1, 2):
      checkpoints.save(step, small_and_large(float(step)), f"at {step}")
  damage(find(tmp_path / "c" / "2", victim))
  with Checkpointer(tmp_path / "c") as checkpoints:
    restored = checkpoints.restore(small_and_large(0.0))
    assert restored.step == 1 and restored.data_state == "at 1"
    assert_same_bits(restored.state, small_and_large(1.0))
    checkpoints.save(2, small_and_large(3.0), "again")
  assert f"checkpoint {tmp_path / 'c' / '2'} is damaged" in caplog.text
  assert (tmp_path / "c.damaged" / "2-0").is_dir()


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, pathlib.Path.unlink])
def test_damage_to_bookkeeping_that_has_no_checksum_does_no_harm(tmp_path, damage):
  with Checkpointer(tmp_path / "c") as checkpoints:
    checkpoints.save(1, {"x": jnp.ones(8)}, "at 1")
  damage(tmp_path / "c" / "1" / "_CHECKPOINT_METADATA")
  with Checkpointer(tmp_path / "c") as checkpoints:
    restored = checkpoints.restore({"x": jnp.zeros(8)})
  assert restored.data_state == "at 1"
  np.testing.assert_array_equal(restored.state["x"], np.ones(8, np.float32))


def test_all_damaged_is_an_error_not_a_silent_start_from_scratch(tmp_path):
  with Checkpointer(tmp_path / "c") as checkpoints:
    checkpoints.save(1, {"x": jnp.zeros(8)}, "")
  flip_a_bit(tmp_path / "c" / "1" / "packs" / "_METADATA")
  for _ in range(2):
    with Checkpointer(tmp_path / "c") as checkpoints:
      with pytest.raises(RuntimeError, match="no checkpoint .* is intact"):
        checkpoints.restore({"x": jnp.zeros(8)})


def test_half_removed_old_checkpoint_is_cleaned_up_quietly(tmp_path, caplog):
  with Checkpointer(tmp_path / "c") as checkpoints:
    for step in (1, 2):
      checkpoints.save(step, {"x": jnp.zeros(8)}, "")
  (tmp_path / "c" / "1" / "packs" / "_METADATA").unlink()
  with Checkpointer(tmp_path / "c") as checkpoints:
    assert checkpoints.steps() == [2]
  assert not (tmp_path / "c.damaged").exists() and "damaged" not in caplog.text


def test_another_model_is_a_clear_error(tmp_path):
  with Checkpointer(tmp_path / "c") as checkpoints:
    checkpoints.save(1, {"a": jnp.zeros((2, 3)), "b": jnp.zeros(1)}, "")
    with pytest.raises(ValueError) as error:
      checkpoints.restore({"a": jnp.zeros((2, 4)), "c": jnp.zeros(1)})
  message = str(error.value)
  assert "a: float32[2,3] saved, float32[2,4] expected" in message
  assert "b: float32[1] saved, none expected" in message
  assert "c: absent saved, float32[1] expected" in message


def test_leaving_on_an_exception_finishes_the_write(tmp_path):
  with pytest.raises(ZeroDivisionError):
    with Checkpointer(tmp_path / "c") as checkpoints:
      checkpoints.save(1, {"x": jnp.zeros(8)}, "")
      raise ZeroDivisionError
  with Checkpointer(tmp_path / "c") as checkpoints:
    assert checkpoints.steps() == [1]


KILLED_WHILE_SAVING = textwrap.dedent("""
  import os, signal, sys
  import jax.numpy as jnp
  from jaxcodec import files
  from jaxcodec.train import checkpoint
  checkpoints = checkpoint.Checkpointer(sys.argv[1])
  checkpoints.save(1, {"x": jnp.ones(8)}, "first")
  checkpoints._manager.wait_until_finished()
  # Dies once the second checkpoint is written, before it's committed.
  files.write_json = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
  checkpoints.save(2, {"x": jnp.ones(8)}, "second")
  checkpoints._manager.wait_until_finished()
""")


def test_killed_before_the_commit_leaves_the_one_before(tmp_path):
  command = [sys.executable, "-c", KILLED_WHILE_SAVING, str(tmp_path / "c")]
  assert subprocess.run(command, check=False).returncode == -9
  with Checkpointer(tmp_path / "c") as checkpoints:
    assert checkpoints.steps() == [1]
    assert checkpoints.restore({"x": jnp.zeros(8)}).data_state == "first"
    checkpoints.save(2, {"x": jnp.ones(8)}, "second")
  assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["1", "2"]
