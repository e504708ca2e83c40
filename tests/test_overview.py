"""The overview of parameters, against sizes counted by hand."""

import flax.struct
import jax
import jax.numpy as jnp
import pytest
import train_toy

from jaxcodec.parallel import sharding
from jaxcodec.train import overview


@flax.struct.dataclass
class State:
  step: object
  params: object
  disc_params: object
  opt: object


def cells(table):
  """Returns the rows of a table as {name: other cells}."""
  rows = [line.strip("|").split("|") for line in table.splitlines() if "|" in line]
  return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


@pytest.fixture(scope="module")
def state():
  """Returns a state with 80 codec and 2 discriminator numbers, on a mesh of 2 x 4."""
  mesh = sharding.make_mesh({"data": 2, "fsdp": 4})
  rules = sharding.Rules(paths=(("kernel$", sharding.LARGEST),), min_size=1)
  kernel = jax.ShapeDtypeStruct((4, 16), jnp.float32)
  bias = jax.ShapeDtypeStruct((16,), jnp.bfloat16)
  shapes = State(
    step=jax.ShapeDtypeStruct((), jnp.int32),
    params={"encoder": {"conv": {"kernel": kernel, "bias": bias}}},
    disc_params={"scale": jax.ShapeDtypeStruct((2,), jnp.float32)},
    opt={"kernel": kernel},
  )
  return sharding.place_shapes(shapes, sharding.state_shardings(mesh, shapes, rules))


def test_modules_and_total(state):
  rows = cells(overview.summarize(state))
  assert rows["params/encoder"] == ["2", "80", "288", "96"]  # 64 of them in each device
  assert rows["disc_params/scale"] == ["1", "2", "8", "8"]
  assert rows["total"] == ["3", "82", "296", "104"]
  assert len(rows) == 3 + 1  # and the head; neither optimiser nor step


def test_each_parameter_with_its_sharding(state):
  table = overview.tabulate(state)
  rows = cells(table)
  conv = "params/encoder/conv"
  assert rows[f"{conv}/kernel"] == ["(4, 16)", "float32", "64", "(None, 'fsdp')"]
  assert rows[f"{conv}/bias"] == ["(16,)", "bfloat16", "16", "()"]
  assert table.endswith("Total: 82 -- 296 bytes")
  assert not any(name.startswith("opt") for name in rows)


def test_training_writes_all_of_them(tmp_path, caplog):
  with caplog.at_level("INFO", logger="absl"):
    train_toy.fit(tmp_path, 1)
  rows = cells((tmp_path / overview.FILE).read_text())
  assert rows["params/hidden"][:3] == ["(8, 16)", "float32", "128"]
  assert "params/hidden" in caplog.text and overview.FILE in caplog.text
