"""Checkpoints by Orbax, with checksums so that a damaged one is never restored.

A state has hundreds of small leaves, and Orbax's cost is per leaf, so they are joined
to a few arrays; see `checkpoint_packing`. A step's folder has the items `state` (the
large leaves), `packs` and `meta` (what is where, and the position of the data).
"""

import contextlib
import pathlib
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from jaxcodec import files
from jaxcodec.parallel import processes, sharding
from jaxcodec.train import checkpoint_best, checkpoint_checksums, checkpoint_packing
from jaxcodec.train.nonfinite import NonFiniteError


class Restored(NamedTuple):
  """A checkpoint's content; `data_state` is what this process passed to `save`."""

  step: int
  state: Any
  data_state: str


class Checkpointer(contextlib.AbstractContextManager):
  """The checkpoints of one training run, written in the background.

  Leaving the context waits for the write under way, also on an exception.
  """

  def __init__(
    self,
    folder: files.PathLike,
    *,
    keep: int = 2,
    best: tuple[str, Literal["min", "max"]] | None = None,
  ):
    """Opens or makes `folder`; moves damaged checkpoints to `<folder>.damaged`.

    Args:
      folder: where the checkpoints are, each in a folder named by its step.
      keep: how many of the latest to keep.
      best: (metric, "min" or "max"): also keep the best by a metric given to `save`.
    """
    self._folder = pathlib.Path(folder).absolute()
    self._folder.mkdir(parents=True, exist_ok=True)
    processes.on_first(lambda: checkpoint_checksums.move_damaged(self._folder))
    self._manager = ocp.CheckpointManager(
      self._folder,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=checkpoint_best.preservation_policy(keep, best),
        **checkpoint_best.manager_options(best),
        cleanup_tmp_directories=True,
        async_options=ocp.AsyncOptions(
          post_finalization_callback=self._write_checksums
        ),
      ),
    )
    self._best, self._saving_step = best, -1

  def __exit__(self, *exception: Any) -> None:
    self._manager.close()

  def steps(self) -> list[int]:
    """Returns the steps that can be restored, in order."""
    return sorted(self._manager.all_steps())

  def best_step(self) -> int | None:
    """Returns the step that is best by `best`'s metric, None if none was measured."""
    self._manager.wait_until_finished()
    return checkpoint_best.find_best_step(self._manager, self._best)

  def save(
    self,
    step: int,
    state: Any,
    data_state: str,
    metrics: dict[str, float] | None = None,
  ) -> None:
    """Starts to save; the state may be donated as soon as this returns.

    Args:
      step: updates done.
      state: any pytree of arrays, also typed random keys.
      data_state: position of this process' data iterator.
      metrics: by name; `best` chooses by one of them.

    Raises:
      NonFiniteError: if a float of the state isn't finite; nothing is saved.
      ValueError: if there are metrics and `best` isn't among them.
    """
    if metrics and self._best and self._best[0] not in metrics:
      names = ", ".join(sorted(metrics))
      raise ValueError(
        f"best metric {self._best[0]!r} isn't measured; these are: {names}"
      )
    self._manager.wait_until_finished()
    self._saving_step = step
    packed = checkpoint_packing.pack(_raw_keys(state))
    if not checkpoint_packing.is_finite(packed):
      raise NonFiniteError(f"step {step}: the state isn't finite; not saved")
    meta = {
      "leaves": _describe(state),
      "packed": packed.names,
      "data": processes.gather(data_state),
    }
    trees = {"state": packed.rest, "packs": packed.packs}
    items = _items(ocp.args.StandardSave, trees) | {"meta": ocp.args.JsonSave(meta)}
    self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)

  def restore(self, abstract_state: Any, step: int | None = None) -> Restored | None:
    """Restores the latest checkpoint or that of `step`; None if there never was one.

    Args:
      abstract_state: tree of `ShapeDtypeStruct` with the shardings to restore to,
        which need not be those that were saved. If its class has `BEGIN_AS`, a field
        there of which nothing was saved begins as the field that it is mapped to.
      step: one of `steps()`.

    Raises:
      ValueError: if the checkpoint holds other leaves, listing those that differ.
      RuntimeError: if none of the checkpoints is intact.
    """
    steps = processes.on_first(self.steps)
    if not steps:
      processes.on_first(
        lambda: checkpoint_checksums.raise_if_all_damaged(self._folder)
      )
      return None
    step = steps[-1] if step is None else step
    self._manager.wait_until_finished()
    meta = self._manager.restore(
      step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
    ).meta
    source = self._folder / str(step)
    absent = _absent_fields(abstract_state, meta["leaves"])
    target = abstract_state
    if absent:
      target = abstract_state.replace(**dict.fromkeys(absent, {}))
    _check_leaves(source, meta["leaves"], _describe(target))
    data_state = _choose_own(source, meta["data"])
    raw = self._read(step, _raw_keys(target), meta.get("packed", {}))
    state = _wrap_keys(raw, target)
    if absent:
      copies = {name: getattr(state, other) for name, other in absent.items()}
      state = state.replace(**jax.tree.map(jnp.copy, copies))
    return Restored(step, state, data_state)

  def _read(self, step: int, target: Any, names: dict[str, list[str]]) -> Any:
    rest = checkpoint_packing.without(target, names)
    trees = {"state": rest, "packs": checkpoint_packing.abstract_packs(target, names)}
    items = _items(ocp.args.StandardRestore, trees)
    read = self._manager.restore(step, args=ocp.args.Composite(**items))
    packs = read.get("packs", {})
    return checkpoint_packing.unpack(
      checkpoint_packing.Packed(read.get("state", rest), packs, names), target
    )

  def _write_checksums(self) -> None:
    """Adds the checksums to the checkpoint being written, before it's committed."""
    if not processes.is_first():
      return
    # Orbax calls this while the folder still has its temporary name.
    (folder,) = self._folder.glob(f"{self._saving_step}.*tmp*")
    checkpoint_checksums.write_checksums(folder)


def _items(args: type, trees: dict[str, Any]) -> dict[str, Any]:
  """Wraps the trees that have leaves, since Orbax refuses empty ones."""
  return {name: args(tree) for name, tree in trees.items() if jax.tree.leaves(tree)}


def _describe(state: Any) -> dict[str, str]:
  """Maps each leaf's path to its type and shape, such as "float32[3,4]"."""
  leaves = jax.tree_util.tree_leaves_with_path(state)
  return {
    sharding.leaf_path(path): f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
    for path, leaf in leaves
  }


def _is_key(leaf: Any) -> bool:
  return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _key_impl(leaf: Any) -> Any:
  impls = []  # a `ShapeDtypeStruct` doesn't name it, a traced array does
  jax.eval_shape(lambda key: impls.append(jax.random.key_impl(key)), leaf)
  return impls[0]


def _raw_keys(state: Any) -> Any:
  """Turns typed random keys into the plain integers that all Orbax versions take."""

  def unwrap(leaf):
    if not _is_key(leaf):
      return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
      plain = jax.eval_shape(jax.random.key_data, leaf)
      return jax.ShapeDtypeStruct(plain.shape, plain.dtype, sharding=leaf.sharding)
    return jax.random.key_data(leaf)

  return jax.tree.map(unwrap, state)


def _wrap_keys(raw: Any, like: Any) -> Any:
  """Undoes `_raw_keys`."""

  def wrap(leaf, target):
    if not _is_key(target):
      return leaf
    return jax.random.wrap_key_data(leaf, impl=_key_impl(target))

  return jax.tree.map(wrap, raw, like)


def _absent_fields(state: Any, saved: dict[str, str]) -> dict[str, str]:
  """Returns the items of the state's `BEGIN_AS` of whose field nothing was saved."""
  return {
    field: other
    for field, other in getattr(state, "BEGIN_AS", {}).items()
    if not any(path.startswith(f"{field}/") for path in saved)
  }


def _check_leaves(source, saved: dict[str, str], wanted: dict[str, str]) -> None:
  """Raises ValueError with the leaves that differ."""
  lines = [
    f"{path}: {saved.get(path, 'absent')} saved, {wanted.get(path, 'none')} expected"
    for path in sorted(saved.keys() | wanted.keys())
    if saved.get(path) != wanted.get(path)
  ]
  if lines:
    more = [f"and {len(lines) - 20} more"] if len(lines) > 20 else []
    raise ValueError(
      f"checkpoint {source} is of another model or optimiser:\n  "
      + "\n  ".join(lines[:20] + more)
    )


def _choose_own(source, texts: list[str]) -> str:
  """Returns this process' data position."""
  if len(texts) != jax.process_count():
    raise ValueError(
      f"checkpoint {source} holds the data positions of {len(texts)} processes, and"
      f" there are {jax.process_count()}: restore it with as many"
    )
  return texts[jax.process_index()]
