"""The training loop. It knows no model: a `Task` does the rest."""

import contextlib
import itertools
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh

from jaxcodec import distributed, files, prefetch, sharding
from jaxcodec.checkpoint import Checkpointer
from jaxcodec.interrupts import Agreement, Interrupted, Signals
from jaxcodec.metrics_writer import MetricsWriter
from jaxcodec.progress import Progress
from jaxcodec.train_log import NonFiniteError, StepResult, TrainLog
from jaxcodec.types import Batch, Task

# Drawing hundreds of initial weights is a program that runs once, in no time, but that
# LLVM would spend minutes on.
_COMPILE_FAST = {
  "xla_backend_optimization_level": 0,
  "xla_llvm_disable_expensive_passes": True,
}


def fit(
  task: Task,
  data: Iterable[Batch],
  *,
  steps: int,
  workdir: files.PathLike,
  mesh: Mesh,
  seed: int,
  rules: sharding.Rules = sharding.DEFAULT_RULES,
  log_every: int = 50,
  checkpoint_every: int = 1000,
  keep: int = 2,
  best: tuple[str, Literal["min", "max"]] | None = None,
  eval_data: Iterable[Batch] | None = None,
  eval_every: int = 1000,
  eval_batches: int = 8,
  show: Sequence[str] = ("loss",),
  desc: str = "train",
  on_log: Callable[[int, dict[str, Any]], None] | None = None,
) -> Any:
  """Trains to `steps`, going on from the latest checkpoint in `workdir`.

  Killed at any moment and started again, it ends with the same bits: a checkpoint
  holds the state (random keys included) and the position of the data. Of several
  processes all call this, each with its part of the data; the first writes metrics.

  `workdir` gets `checkpoints/` and `metrics.jsonl`. SIGINT and SIGTERM let the step
  finish, save and raise `Interrupted`, an exit with code 130 or 143; a second one acts
  as if it had not been caught. Sent to one of several processes, it stops all of them
  after the same step.

  Args:
    task: model, losses and optimisers.
    data: batches without end, dicts of arrays; see `prefetch.DataIterator`.
    steps: updates in all; nothing runs if that many are done.
    workdir: this run's folder.
    mesh: devices, from `sharding.make_mesh`.
    seed: of the initial state.
    rules: the sharding table.
    log_every: steps between lines of metrics, whose values are the last step's.
    checkpoint_every: steps between checkpoints; there's one at the last step too.
    keep: how many of the latest checkpoints stay.
    best: (metric, "min" or "max"): the best by it stays too, e.g. ("eval/loss", "min").
    eval_data: batches to evaluate on, the first `eval_batches` each time.
    eval_every: steps between evaluations; there's one at the last step too.
    eval_batches: at most so many.
    show: metrics for the progress bar.
    desc: the bar's name.
    on_log: called with the step and all that is logged.

  Returns:
    The final state.

  Raises:
    NonFiniteError: at the first metric that isn't finite; the step, the metrics and
      the batch's `index_B` are then in `workdir/nonfinite.json`.
    ValueError: if the data end, or the checkpoint is of another model.
    Interrupted: see above.
  """
  folder = pathlib.Path(workdir)
  with contextlib.ExitStack() as stack:
    checkpoints = Checkpointer(folder / "checkpoints", keep=keep, best=best)
    stack.enter_context(checkpoints)
    iterator = prefetch.open_data(data)
    start = _start(task, iterator, checkpoints, mesh, rules, seed)
    if start.step >= steps:
      logging.info("%s: %d steps are done, %d asked for", folder, start.step, steps)
      return start.state
    progress = Progress(
      *(steps, desc), initial=start.step, unit="examples", scale=start.examples
    )
    batches = prefetch.Prefetch(iterator, mesh)
    mine = _process_folder(folder)
    log = TrainLog(
      *(mine, MetricsWriter(mine, step=start.step), progress, batches),
      examples=start.examples,
      log_every=log_every,
      start=start.step,
      last=steps,
      show=show,
      on_log=on_log,
    )
    evaluate = None
    if eval_data is not None:
      evaluate = _Evaluation(task, eval_data, eval_every, eval_batches, mesh)
    for resource in (progress, log, batches):
      stack.enter_context(resource)
    signals = stack.enter_context(Signals())
    if start.step:
      progress.message(f"{desc}: going on after step {start.step}")
    loop = _Loop(task, mesh, start, log, checkpoints, evaluate)
    return loop.run(batches, signals, steps, checkpoint_every)


def _process_folder(folder: pathlib.Path) -> pathlib.Path:
  """Where this process writes its metrics: the first one's are the run's."""
  index = jax.process_index()
  return folder / f"process_{index}" if index else folder


class _Start(NamedTuple):
  step: int
  state: Any
  shardings: Any
  examples: int


def _start(task, iterator, checkpoints, mesh, rules, seed) -> _Start:
  """The state to begin with, restored or fresh; leaves the data where it goes on."""
  position = prefetch.read_position(iterator)
  example = sharding.put_batch(mesh, next(iterator))
  rng = jax.random.key(seed)
  with sharding.use_mesh(mesh):
    shapes = jax.eval_shape(task.init, rng, example)
    shardings = sharding.state_shardings(mesh, shapes, rules)
    target = jax.tree.map(
      lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
    )
    restored = checkpoints.restore(target)
    if restored is None:
      init = jax.jit(
        lambda *args: _strong(task.init(*args)),
        out_shardings=shardings,
        compiler_options=_COMPILE_FAST if jax.default_backend() == "cpu" else None,
      )
      step, state = 0, init(rng, example)
    else:
      step, state, position = restored
  prefetch.set_position(iterator, position)
  examples = max((x.shape[0] for x in example.values()), default=0)
  return _Start(step, state, shardings, examples)


def _strong(state: Any) -> Any:
  """Without weak types, which a checkpoint can't hold: the same program on resume."""
  return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), state)


class _Loop:
  def __init__(self, task, mesh, start, log, checkpoints, evaluate):
    self._state, self._step = start.state, start.step
    self._log, self._checkpoints, self._evaluate = log, checkpoints, evaluate
    whole = sharding.replicated(mesh)
    self._train_step = _Compiled(
      _checked(task.train_step),
      mesh,
      log.compiling,
      donate_argnums=0,
      out_shardings=(start.shardings, whole, whole),
    )

  def run(self, batches, signals, steps: int, checkpoint_every: int) -> Any:
    agree = Agreement()
    while self._step < steps:
      batch = batches.get()
      self._state, metrics, finite = self._train_step(self._state, batch.arrays)
      self._step += 1
      self._log.push(StepResult(self._step, metrics, finite, batch.index_B))
      last, stop = self._step == steps, agree(signals.number)
      evaluated = self._measure(last)
      if last or stop is not None or self._step % checkpoint_every == 0:
        self._save(batch.position, evaluated)
      if stop is not None:
        raise Interrupted(stop, self._step)
    return self._state

  def _measure(self, last: bool) -> dict[str, Any]:
    if self._evaluate is None or not (last or self._evaluate.due(self._step)):
      return {}
    self._log.flush()
    with self._log.paused():
      evaluated = self._evaluate(self._state)
    self._log.write(self._step, evaluated)
    return evaluated

  def _save(self, position: str, evaluated: dict[str, Any]) -> None:
    self._log.flush()
    with self._log.paused():
      if not _finite(self._state):
        raise NonFiniteError(f"step {self._step}: the state isn't finite; not saved")
      scalars = {name: float(v) for name, v in evaluated.items() if not np.ndim(v)}
      self._checkpoints.save(self._step, self._state, position, scalars or None)


class _Evaluation:
  """Weighted means of a task's `eval_step` over the first batches of a set."""

  def __init__(self, task, data, every: int, batches: int, mesh: Mesh):
    self._data, self._every, self._batches, self._mesh = data, every, batches, mesh
    whole = sharding.replicated(mesh)
    self._eval_step = _Compiled(task.eval_step, mesh, out_shardings=whole)

  def due(self, step: int) -> bool:
    return step % self._every == 0

  def __call__(self, state: Any) -> dict[str, Any]:
    results = [
      self._eval_step(state, sharding.put_batch(self._mesh, batch))
      for batch in itertools.islice(self._data, self._batches)
    ]
    if not results:
      raise ValueError("the evaluation data are empty")
    results = jax.device_get(results)
    weights = [result.pop("weight") for result in results]
    total = np.sum(weights)
    return {
      f"eval/{name}": sum(w * r[name] for w, r in zip(weights, results, strict=True))
      / total
      for name in results[0]
    }


class _Compiled:
  """A jitted function of state and batch, compiled at sight of each batch shape.

  Ahead of its first call, so that what compiling takes can be told from running.
  """

  def __init__(self, function, mesh: Mesh, compiling=contextlib.nullcontext, **options):
    self._jitted, self._mesh = jax.jit(function, **options), mesh
    self._compiling = compiling
    self._programs: dict[Any, Any] = {}

  def __call__(self, state: Any, batch: dict[str, jax.Array]) -> Any:
    key = tuple((name, x.shape, x.dtype) for name, x in batch.items())
    program = self._programs.get(key)
    if program is None:
      with self._compiling(), sharding.use_mesh(self._mesh):
        program = self._jitted.lower(state, batch).compile()
      distributed.wait()  # the first to run it would not wait long for the others
      self._programs[key] = program
    return program(state, batch)


def _checked(train_step):
  """Adds whether all metrics are finite, so that one value a step has to be read."""

  def step(state, batch):
    state, metrics = train_step(state, batch)
    finite = [jnp.isfinite(value).all() for value in metrics.values()]
    return state, metrics, jnp.stack([jnp.array(True), *finite]).all()

  return step


@jax.jit
def _finite(state: Any) -> jax.Array:
  floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.inexact)]
  return jnp.stack([jnp.array(True), *(jnp.isfinite(x).all() for x in floats)]).all()
