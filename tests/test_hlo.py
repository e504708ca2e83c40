"""Collectives read from compiled programs whose traffic is known in closed form."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcodec.dry_run import collectives
from jaxcodec.parallel import sharding

BYTES = 4 * 16 * 32  # of the arrays below


@pytest.fixture(scope="module")
def mesh():
  return sharding.make_mesh({"data": 2, "fsdp": 4})


def found(mesh, function, spec_in, spec_out, shape=(16, 32)):
  """Returns the collectives of a function of one float32 array with this sharding."""
  x = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec_in))
  program = jax.jit(function, out_shardings=NamedSharding(mesh, spec_out))
  return collectives.collectives(program.lower(x).compile().as_text())


def mapped(mesh, function, spec_in, spec_out):
  specs = dict(mesh=mesh, in_specs=spec_in, out_specs=spec_out)
  return jax.shard_map(function, **specs, check_vma=False)


def test_nothing_is_said_where_nothing_is_shared(mesh):
  assert found(mesh, lambda x: 2 * x, P("data", "fsdp"), P("data", "fsdp")) == []


def test_a_sum_over_rows(mesh):
  """In a ring, each of 8 devices passes on an eighth of 32 floats 2 x 7 times."""
  (one,) = found(mesh, lambda x: x.sum(0), P(("data", "fsdp")), P())
  assert (one.kind, one.size, one.groups) == ("all-reduce", 128, (tuple(range(8)),))
  assert one.sent == 2 * 7 / 8 * 128
  assert [one.members_within(block) for block in (2, 4, 8)] == [2, 4, 8]


@pytest.mark.parametrize(
  ("axis", "groups"),
  [
    ("fsdp", ((0, 1, 2, 3), (4, 5, 6, 7))),
    ("data", ((0, 4), (1, 5), (2, 6), (3, 7))),
  ],
)
def test_a_gather_names_the_devices_of_an_axis(mesh, axis, groups):
  (one,) = found(mesh, lambda x: x, P(axis), P())
  assert (one.kind, one.size, one.times) == ("all-gather", BYTES, 1)
  assert sorted(one.groups) == sorted(groups)
  assert one.sent == BYTES * (1 - 1 / len(groups[0]))
  assert one.members_within(4) == (4 if axis == "fsdp" else 1)


OPERATIONS = {
  # What a device has is a quarter of the array; `size` is of the whole that is shared.
  "reduce-scatter": (
    lambda x: jax.lax.psum_scatter(x, "fsdp", tiled=True),
    P(None, None),
    P("fsdp"),
    BYTES,
    BYTES * 3 / 4,
  ),
  "all-to-all": (
    lambda x: jax.lax.all_to_all(x, "fsdp", 1, 0, tiled=True),
    P("fsdp"),
    P(None, "fsdp"),
    BYTES / 4,
    BYTES / 4 * 3 / 4,
  ),
  "collective-permute": (
    lambda x: jax.lax.ppermute(x, "fsdp", [(i, (i + 1) % 4) for i in range(4)]),
    P("fsdp"),
    P("fsdp"),
    BYTES / 4,
    BYTES / 4,
  ),
}


@pytest.mark.parametrize("kind", OPERATIONS)
def test_each_kind_of_exchange(mesh, kind):
  function, spec_in, spec_out, size, sent = OPERATIONS[kind]
  function = mapped(mesh, function, spec_in, spec_out)
  (one,) = found(mesh, function, spec_in, spec_out)
  assert (one.kind, one.size, one.sent) == (kind, size, sent)


def test_loops_count_as_often_as_they_turn(mesh):
  def function(x):
    def layer(x, _):
      return jnp.sin(jax.lax.psum(x, "data")), None

    return jax.lax.scan(layer, x, length=5)[0]

  (one,) = found(mesh, mapped(mesh, function, P(), P()), P(), P())
  assert (one.kind, one.times, one.counted) == ("all-reduce", 5, True)
  assert one.sent == 5 * BYTES  # 2 * 1/2 of the array a turn


def test_a_loop_of_unknown_length_is_said_to_be_one(mesh):
  def function(x):
    step = lambda x: jax.lax.psum(x, "data") + 1  # noqa: E731
    return jax.lax.while_loop(lambda x: x[0, 0] < 9, step, x)

  (one,) = found(mesh, mapped(mesh, function, P(), P()), P(), P())
  assert (one.times, one.counted) == (1, False)


def test_of_a_condition_the_costliest_branch_counts(mesh):
  def function(x):
    small = lambda x: x + jax.lax.psum(x[:1], "data")  # noqa: E731
    return jax.lax.cond(x[0, 0] > 0, lambda x: jax.lax.psum(x, "data"), small, x)

  (one,) = found(mesh, mapped(mesh, function, P(), P()), P(), P())
  assert (one.kind, one.size) == ("all-reduce", BYTES)


# Spellings of other backends: asynchronous, with layouts, lists, iotas and loops whose
# length stands in their condition.
TEXT = """HloModule m, num_partitions=8

%condition (p: (s32[], f32[8])) -> pred[] {
  %p = (s32[]{:T(128)}, f32[8]{0:T(128)}) parameter(0)
  %limit = s32[]{:T(128)} constant(12)
  %at = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %lt = pred[]{:T(512)} compare(%at, %limit), direction=LT
}

%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %g = (bf16[8]{0:T(8,128)(2,1)}, bf16[32]{0}) all-gather-start(%x), GROUPS
  %d = bf16[32]{0} all-gather-done(%g)
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %w = (s32[], f32[8]) while(%t), condition=%condition, body=%body
  %r = (f32[8]{0}, /*index=1*/f32[2,2]{1,0}) all-reduce-start(%a, %b), replica_groups={}
  %c = (f32[8], f32[8], u32[], u32[]) collective-permute-start(%x), OTHER={{0,1},{1,0}}
  ROOT %y = f32[8]{0} get-tuple-element(%w), index=1
}
""".replace("OTHER", "source_target_pairs")


@pytest.mark.parametrize(
  ("groups", "first"),
  [
    ("{{0,2,4,6},{1,3,5,7}}", (0, 2, 4, 6)),
    ("[2,4]<=[8]", (0, 1, 2, 3)),
    ("[2,4]<=[4,2]T(1,0)", (0, 2, 4, 6)),
    ("mesh['a'=4,'b'=2] {'a'}", (0, 2, 4, 6)),
    ("mesh['a'=2,'b'=2,'c'=2] {'a','c'}", (0, 1, 4, 5)),
    ("mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}", (0, 1, 2, 3)),
  ],
)
def test_spellings_of_other_backends(groups, first):
  gather, reduce, permute = collectives.collectives(
    TEXT.replace("GROUPS", f"replica_groups={groups}")
  )
  assert (gather.kind, gather.size, gather.times) == ("all-gather", 64, 12)
  assert gather.groups[0] == first and len(gather.groups) == 2
  assert (reduce.kind, reduce.size) == ("all-reduce", 48)
  assert reduce.groups == (tuple(range(8)),)
  assert (permute.kind, permute.size) == ("collective-permute", 32)


@pytest.mark.parametrize("groups", ["mesh['a'=4] {'a':(1)2}", "[2,4]<=[?]", "@later"])
def test_what_cannot_be_read_is_an_error(groups):
  with pytest.raises(ValueError, match="unknown groups of devices"):
    collectives.collectives(TEXT.replace("GROUPS", f"replica_groups={groups}"))
  with pytest.raises(ValueError, match="no ENTRY"):
    collectives.collectives("HloModule m")
