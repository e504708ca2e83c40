"""The training loop. It knows no model: a `Task` does the rest."""

import contextlib
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh

from jaxcodec import files
from jaxcodec.parallel import sharding
from jaxcodec.progress import Progress
from jaxcodec.train import overview, prefetch
from jaxcodec.train.checkpoint import Checkpointer
from jaxcodec.train.held_out import HeldOutEvaluator
from jaxcodec.train.interrupts import Agreement, Interrupted, Signals
from jaxcodec.train.log import TrainLog
from jaxcodec.train.metrics_file import MetricsWriter
from jaxcodec.train.nonfinite import NonFiniteRecord, StepResult
from jaxcodec.train.profile import Profile
from jaxcodec.train.rates import Rates
from jaxcodec.train.step import (
  COMPILE_FAST,
  CompiledStep,
  PhasedStep,
  begin,
  observe,
  outcome_shardings,
  phases,
  summarize,
)
from jaxcodec.types import Batch, Task


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
  skip_nonfinite: int = 0,
  profile_steps: tuple[int, int] | None = None,
  init_from: Any = None,
  show: Sequence[str] = ("loss",),
  desc: str = "train",
  on_log: Callable[[int, dict[str, Any]], None] | None = None,
) -> Any:
  """Trains to `steps`, going on from the latest checkpoint in `workdir`.

  Killed at any moment and started again, it ends with the same bits, on GPUs if XLA is
  told to add up in one order (docs/training.md): a checkpoint holds the state (random
  keys included) and the position of the data. Of several
  processes all call this, each with its part of the data; the first writes metrics.

  `workdir` gets `checkpoints/`, `metrics.jsonl` and `parameters.txt`. SIGINT and
  SIGTERM let the step finish, save and raise `Interrupted`, an exit with code 130 or
  143; a second one acts as if it had not been caught. Sent to one of several processes,
  it stops all of them after the same step.

  Args:
    task: model, losses and optimisers.
    data: batches without end, dicts of arrays; see `prefetch.DataIterator`.
    steps: updates in total; nothing runs if that many are done.
    workdir: this run's folder.
    mesh: devices, from `sharding.make_mesh`.
    seed: of the initial state.
    rules: the sharding table.
    log_every: steps between lines of metrics, whose values are the last step's.
    checkpoint_every: steps between checkpoints; there's one at the last step too.
    keep: how many of the latest checkpoints stay.
    best: (metric, "min" or "max"), e.g. ("eval/loss", "min"): the best checkpoint by
      it stays too and is what is returned.
    eval_data: batches to evaluate on, the first `eval_batches` each time.
    eval_every: steps between evaluations; there's one at the last step too.
    eval_batches: how many batches an evaluation reads at most.
    skip_nonfinite: how many steps that aren't finite a run may skip, leaving the state
      as it was; the metric `skipped_steps` counts them. Needs memory for a second
      state. 0 stops at the first.
    profile_steps: (first, last) to trace into `workdir/profile`.
    init_from: variables to begin with in place of random ones, as the task's
      `inference_variables` returns them; or a function that makes them, which is not
      called where there is a checkpoint.
    show: metrics for the progress bar.
    desc: the bar's name.
    on_log: called with the step and everything that is logged.

  Returns:
    The final state, or with `best` that of the best checkpoint.

  Raises:
    NonFiniteError: at the first metric, gradients' norms among them, that isn't finite
      and may not be skipped; the step, the metrics and the batch's `index_B` are then
      in `workdir/nonfinite.json`.
    ValueError: if the data end, or the checkpoint is of another model.
    UnknownMetric: before the first step, if `best` isn't among what is evaluated.
    Interrupted: see above.
  """
  folder = pathlib.Path(workdir)
  profile = Profile(_process_folder(folder), profile_steps)
  with contextlib.ExitStack() as stack:
    checkpoints = Checkpointer(folder / "checkpoints", keep=keep, best=best)
    stack.enter_context(checkpoints)
    iterator = prefetch.open_data(data)
    start = _start(task, iterator, checkpoints, mesh, rules, seed, init_from)
    if start.step >= steps:
      logging.info("%s: %d steps are done, %d asked for", folder, start.step, steps)
      return _choose_best(checkpoints, start, start.state, start.step)
    evaluate = None
    if eval_data is not None:
      evaluate = HeldOutEvaluator(task, eval_data, eval_every, eval_batches, mesh)
      if best is not None:
        evaluate.check(best[0], start.state)
    overview.log_parameters(folder, start.target)
    progress = Progress(
      total=steps,
      desc=desc,
      initial=start.step,
      unit="examples",
      scale=start.examples,
    )
    batches = prefetch.Prefetch(iterator, mesh)
    own_folder = _process_folder(folder)
    log = TrainLog(
      MetricsWriter(own_folder, step=start.step),
      progress,
      Rates(batches, mesh),
      NonFiniteRecord(own_folder, skip_nonfinite, start.step),
      log_every=log_every,
      start=start.step,
      last=steps,
      summarize=jax.jit(
        lambda rows: summarize(task, rows), out_shardings=sharding.replicated(mesh)
      ),
      show=show,
      on_log=on_log,
    )
    for resource in (progress, log, batches, profile):
      stack.enter_context(resource)
    signals = stack.enter_context(Signals())
    if start.step:
      progress.message(f"{desc}: going on after step {start.step}")
    shardings = jax.tree.map(lambda leaf: leaf.sharding, start.target)
    steps_of = {
      first: CompiledStep(
        observe(phase, keep_state=skip_nonfinite > 0),
        mesh,
        around_compilation=log.time_compilation,
        donate_argnums=0,
        out_shardings=(shardings, outcome_shardings(mesh)),
      )
      for first, phase in phases(task).items()
    }
    loop = _Loop(PhasedStep(steps_of), start, log, checkpoints, evaluate, profile)
    final = loop.run(batches, signals, steps, checkpoint_every)
    return _choose_best(checkpoints, start, final, steps)


def _process_folder(folder: pathlib.Path) -> pathlib.Path:
  """Returns where this process writes; the first one's metrics are the run's."""
  index = jax.process_index()
  return folder / f"process_{index}" if index else folder


class _Start(NamedTuple):
  """Where training begins.

  Attributes:
    step: updates done.
    state: on the devices.
    target: its shapes and shardings.
    examples: rows of a batch.
  """

  step: int
  state: Any
  target: Any
  examples: int


def _start(task, iterator, checkpoints, mesh, rules, seed, variables) -> _Start:
  """Restores or initialises the state, and sets the data to the matching position."""
  position = prefetch.read_position(iterator)
  example = sharding.put_batch(mesh, next(iterator))
  rng = jax.random.key(seed)
  with sharding.use_mesh(mesh):
    shapes = jax.eval_shape(task.init, rng, example)
    shardings = sharding.state_shardings(mesh, shapes, rules)
    target = sharding.place_shapes(shapes, shardings)
    restored = checkpoints.restore(target)
    if restored is None:
      # It has hundreds of weights to initialise, runs once and takes no time.
      init = jax.jit(
        lambda *args: _without_weak_types(_initialize(task, *args)),
        out_shardings=shardings,
        compiler_options=COMPILE_FAST if jax.default_backend() == "cpu" else None,
      )
      if callable(variables):
        variables = variables()
      step, state = 0, init(rng, example, variables)
    else:
      step, state, position = restored
    state = begin(task, state, example)
  prefetch.set_position(iterator, position)
  return _Start(step, state, target, _rows(example))


def _rows(batch: dict[str, jax.Array]) -> int:
  """Counts the examples of a batch."""
  return max((x.shape[0] for x in batch.values()), default=0)


def _choose_best(checkpoints, start: _Start, final: Any, last: int) -> Any:
  """Returns the best checkpoint's state, or the final one if none was measured.

  `last` is the final state's step as the loop counts, skipped updates included.
  """
  step = checkpoints.best_step()
  if step is None or step == last:
    return final
  logging.info("the result is that of step %d, the best", step)
  return checkpoints.restore(start.target, step).state


def _initialize(task, rng, example, variables) -> Any:
  state = task.init(rng, example)
  return state if variables is None else task.start_from(state, variables)


def _without_weak_types(state: Any) -> Any:
  """Checkpoints can't hold weak types: a resumed run would compile another program."""
  return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), state)


class _Loop:
  """Runs the steps; `fit` sets it up."""

  def __init__(self, train_step, start, log, checkpoints, evaluate, profile):
    self._state, self._step, self._train_step = start.state, start.step, train_step
    self._log, self._checkpoints = log, checkpoints
    self._evaluate, self._profile = evaluate, profile

  def run(self, batches, signals, steps: int, checkpoint_every: int) -> Any:
    agree = Agreement()
    while self._step < steps:
      batch, done = batches.get(), self._step
      self._step += 1
      self._profile.before(self._step)
      self._state, outcome = self._train_step(self._state, batch.arrays, done)
      self._profile.after(self._step, outcome)
      self._log.push(
        StepResult(
          step=self._step,
          metrics=outcome.metrics,
          finite=outcome.finite,
          index_B=batch.index_B,
          examples=_rows(batch.arrays),
          flops=self._train_step.flops,
        ),
        outcome.rows,
      )
      last, stop = self._step == steps, agree(signals.number)
      evaluated, due = self._evaluate_if_due(last), self._step % checkpoint_every == 0
      if last or due:
        self._save(batch.position, evaluated)
      elif stop is not None:  # unmeasured: what ran through has no such candidate
        self._save(batch.position, {})
      if stop is not None:
        raise Interrupted(stop, self._step)
    for _ in range(2):  # one may have come since; see `Agreement`
      if (stop := agree(signals.number)) is not None:
        raise Interrupted(stop, self._step)
    return self._state

  def _evaluate_if_due(self, last: bool) -> dict[str, Any]:
    if self._evaluate is None or not (last or self._evaluate.due(self._step)):
      return {}
    self._log.flush()
    with self._log.pause_rates():
      evaluated = self._evaluate(self._state)
    self._log.write(self._step, evaluated)
    return evaluated

  def _save(self, position: str, evaluated: dict[str, Any]) -> None:
    self._log.flush()
    with self._log.pause_rates():
      scalars = {name: float(v) for name, v in evaluated.items() if not np.ndim(v)}
      self._checkpoints.save(self._step, self._state, position, scalars or None)
