"""The sharding table places arrays without changing what is computed."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import train_toy
from jax.sharding import AxisType, PartitionSpec

from jaxcodec.build.codec import DISCRIMINATORS, make_preset
from jaxcodec.codecs.shapes import variable_shapes
from jaxcodec.nn import attention
from jaxcodec.parallel import sharding
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.types import TokenSpec


@pytest.mark.parametrize(
  ("shape", "sizes"),
  [
    (None, (8, 1, 1)),
    ({"data": -1, "fsdp": 1, "tensor": 1}, (8, 1, 1)),
    ({"data": -1, "fsdp": 2}, (4, 2, 1)),
    ({"data": 2, "fsdp": -1, "tensor": 2}, (2, 2, 2)),
    ({"data": 1}, (1, 1, 1)),
  ],
)
def test_mesh_from_config(shape, sizes):
  mesh = sharding.make_mesh(shape)
  assert dict(mesh.shape) == dict(zip(("data", "fsdp", "tensor"), sizes, strict=True))
  assert set(mesh.axis_types) == {AxisType.Auto}


@pytest.mark.parametrize(
  ("shape", "message"),
  [
    ({"dta": 8}, "mesh.dta is unknown: the axes are data, fsdp, tensor"),
    ({"data": 0}, "mesh.data must be a positive integer or -1, got 0"),
    ({"data": 2.0}, "mesh.data must be a positive integer or -1, got 2.0"),
    ({"data": -1, "fsdp": -1}, "only one mesh axis can be -1"),
    ({"data": -1, "fsdp": 3}, "3 doesn't divide the 8 devices"),
    ({"data": 16}, r"mesh needs 16 devices \(data=16, fsdp=1, tensor=1\), there are 8"),
  ],
)
def test_a_mesh_that_cannot_be_names_the_field(shape, message):
  with pytest.raises(ValueError, match=message):
    sharding.make_mesh(shape)


def transformer_state():
  """Returns the transformer's abstract parameters, AdamW state and average."""
  model = attention.Transformer(depth=3, heads=4)

  def init(rng):
    x_BxTxD = jnp.zeros((1, 6, 64))
    params = model.init(rng, x_BxTxD, attention.bidirectional(jnp.ones((1, 6), bool)))[
      "params"
    ]
    return {"params": params, "ema": params, "opt": optax.adamw(1e-3).init(params)}

  return jax.eval_shape(init, jax.random.key(0))


def specs(shardings):
  leaves = jax.tree_util.tree_leaves_with_path(shardings)
  return {sharding.leaf_path(path): leaf.spec for path, leaf in leaves}


def test_transformer_is_cut_over_heads_hidden_units_and_width():
  mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
  state = transformer_state()
  found = specs(sharding.state_shardings(mesh, state, sharding.DEFAULT_RULES))
  expected = {
    "qkv": PartitionSpec(None, "fsdp", None, "tensor", None),
    "attention_out": PartitionSpec(None, "tensor", None, "fsdp"),
    "mlp_in": PartitionSpec(None, "fsdp", None, "tensor"),
    "mlp_out": PartitionSpec(None, "tensor", "fsdp"),
  }
  for prefix in ("params", "ema", "opt/0/mu", "opt/0/nu"):
    for name, spec in expected.items():
      assert found.pop(f"{prefix}/layers/{name}/kernel") == spec
  assert found and set(found.values()) == {PartitionSpec()}
  assert "params/last_norm/gain" in found and "opt/0/count" in found


def leaf_spec(shape, rules, path="params/a/kernel", mesh=None):
  mesh = mesh or sharding.make_mesh({"data": 2, "fsdp": 4})
  *parents, name = path.split("/")
  tree = {name: jax.ShapeDtypeStruct(shape, jnp.float32)}
  for parent in reversed(parents):
    tree = {parent: tree}
  (spec,) = specs(sharding.state_shardings(mesh, tree, rules)).values()
  return spec


@pytest.mark.parametrize(
  ("shape", "spec"),
  [
    ((7, 32, 64), (None, None, "fsdp")),
    ((7, 64, 32), (None, "fsdp")),
    ((64, 64), (None, "fsdp")),
    ((101, 32), (None, "fsdp")),
    ((101, 33), ()),
    ((2, 4), ()),
    ((), ()),
  ],
)
def test_largest_takes_the_largest_dimension_that_divides(shape, spec):
  rules = sharding.Rules(paths=(("kernel$", sharding.LARGEST),), min_size=16)
  assert leaf_spec(shape, rules) == PartitionSpec(*spec)


def test_first_rule_decides_and_the_default_is_whole():
  rules = sharding.Rules(
    paths=(("special/kernel$", (None, "out")), ("kernel$", sharding.LARGEST)),
    axes={"out": "fsdp"},
    min_size=1,
  )
  assert leaf_spec((64, 8), rules) == PartitionSpec("fsdp")
  special = "opt/0/mu/special/kernel"
  assert leaf_spec((64, 8), rules, special) == PartitionSpec(None, "fsdp")
  assert leaf_spec((3, 64, 8), rules, special) == PartitionSpec(None, None, "fsdp")
  # Statistics of fewer dimensions, such as Adafactor's, stay whole.
  assert leaf_spec((8,), rules, special) == PartitionSpec()
  assert leaf_spec((64, 8), rules, "params/kernel/bias") == PartitionSpec()
  with pytest.raises(
    ValueError, match=r"special/kernel: dimension 1 of shape \(64, 6\)"
  ):
    leaf_spec((64, 6), rules, special)


# Of every kind of encoder, quantiser and decoder one.
CODECS = (
  "encodec_48khz",
  "dac_16khz",
  "encodecq_vocos",
  "semantic_vocos",
  "simvq_vocos",
  "vocos_mel_24khz",
)


def models():
  """Returns the abstract variables of each kind of model in its full size."""
  key, audio_BxN = jax.random.key(0), jnp.zeros((1, 8192))
  for name in CODECS:
    yield name, variable_shapes(make_preset(name))
  for name, discriminator in DISCRIMINATORS.items():
    yield name, jax.eval_shape(discriminator().init, key, audio_BxN)
  slm = MaskGit(TokenSpec(8, 1024, 320, 16_000), num_semantic=512)
  batch = {"codes_BxTxK": jnp.zeros((1, 4, 8), int), "mask_BxT": jnp.ones((1, 4), bool)}
  batch["semantic_BxT"] = batch["codes_BxTxK"][..., 0]
  yield "maskgit", {"params": jax.eval_shape(slm.init_params, key, batch)}


def test_every_large_leaf_of_every_model_has_a_rule():
  rules, unmatched, paths = sharding.DEFAULT_RULES, [], set()
  for name, variables in models():
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
      path = sharding.leaf_path(path)
      paths.add(path.rsplit("/", 1)[-1])
      if leaf.size >= rules.min_size and not any(
        re.search(pattern, path) for pattern, _ in rules.paths
      ):
        unmatched.append(f"{name}: {path} {leaf.shape}")
  assert unmatched == []
  assert {"kernel", "weight_hh", "embed", "embedding", "code_embed", "head"} <= paths


def test_batches_are_cut_over_data_and_fsdp():
  mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
  batch = {
    "x_BxD": np.arange(24.0).reshape(8, 3),
    "index_B": np.arange(8),
    "text": np.array(["a"] * 8),
    "speaker": [b"x"] * 8,
  }
  arrays = sharding.put_batch(mesh, batch)
  assert arrays.keys() == {"x_BxD", "index_B"}
  assert arrays["x_BxD"].dtype == np.float32 and arrays["index_B"].dtype == np.int32
  np.testing.assert_array_equal(arrays["x_BxD"], batch["x_BxD"])
  for shard in arrays["x_BxD"].addressable_shards:
    assert shard.data.shape == (2, 3)
  with pytest.raises(ValueError, match=r"'y' has shape \(6,\): .* multiple of 4"):
    sharding.put_batch(mesh, {"y": np.zeros(6)})
  with pytest.raises(ValueError, match=r"'scalar' has shape \(\)"):
    sharding.put_batch(mesh, {"scalar": 1.0})


def test_describe_counts_the_bytes_of_a_device():
  mesh = sharding.make_mesh({"data": 2, "fsdp": 4})
  rules = sharding.Rules(paths=(("kernel$", sharding.LARGEST),), min_size=1)
  state = {
    "kernel": jax.ShapeDtypeStruct((3, 16), jnp.float32),
    "step": jax.ShapeDtypeStruct((), jnp.int32),
  }
  text = sharding.describe(
    sharding.place_shapes(state, sharding.state_shardings(mesh, state, rules))
  )
  kernel, step, total = text.splitlines()
  assert kernel.split() == ["kernel", "3x16", "float32", "-,fsdp", "48"]
  assert step.split() == ["step", "scalar", "int32", "whole", "4"]
  assert total == "196 bytes of state, 52 a device"


TENSOR_RULES = sharding.Rules(
  paths=((r"/hidden$", ("in", "out")), (r"/kernel$", ("out", None))),
  axes={"in": "fsdp", "out": "tensor"},
)


def run(tmp_path, shape, rules):
  """Runs twenty steps from the same start; returns the losses and the final state."""
  losses = []
  state = train_toy.fit(
    tmp_path / "-".join(map(str, shape.values())),
    20,
    mesh=sharding.make_mesh(shape),
    rules=rules,
    checkpoint_every=1000,
    on_log=lambda step, values: losses.append(float(values["loss"])),
  )
  return losses, state


@pytest.mark.parametrize(
  ("shape", "rules"),
  [
    ({"data": 4, "fsdp": 2}, train_toy.RULES),
    ({"data": 2, "fsdp": 2, "tensor": 2}, TENSOR_RULES),
  ],
)
def test_one_device_and_eight_train_alike(tmp_path, shape, rules):
  losses, state = run(tmp_path, shape, rules)
  expected_losses, expected = run(tmp_path, {"data": 1}, rules)
  kernel = state.opt[0].mu["hidden"]
  assert kernel.sharding.shard_shape(kernel.shape) != kernel.shape
  assert kernel.sharding == state.ema["hidden"].sharding
  np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
  for a, b in zip(*map(jax.tree.leaves, (state.params, expected.params)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def collectives(shape, rules):
  """Returns the names of the collective operations in the compiled step."""
  mesh, task = sharding.make_mesh(shape), train_toy.Task()
  batch = sharding.put_batch(mesh, train_toy.make_batch(0))
  abstract = jax.eval_shape(task.init, jax.random.key(0), batch)
  shardings = sharding.state_shardings(mesh, abstract, rules)
  state = jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, shardings
  )
  step = jax.jit(task.train_step, out_shardings=(shardings, sharding.replicated(mesh)))
  text = step.lower(state, batch).compile().as_text()
  return set(re.findall(r" (all-reduce|all-gather|reduce-scatter)\(", text))


def test_the_program_holds_the_collectives_that_the_table_asks_for():
  assert collectives({"data": 1}, train_toy.RULES) == set()
  assert collectives({"data": 8}, train_toy.RULES) == {"all-reduce"}
  both = collectives({"data": 4, "fsdp": 2}, train_toy.RULES)
  assert {"all-gather", "all-reduce"} <= both
