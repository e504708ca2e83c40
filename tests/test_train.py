"""The training loop: equal bits after any interruption, clear stops, right rates."""

import functools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import compile_flags
import grain.python as grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_toy
from train_toy import Data, Task, bits, fit

from jaxcodec.data.batches.length_buckets import Plan, make_buckets
from jaxcodec.data.batches.utterances import utterance_batches
from jaxcodec.data.token_store import TokenSource, write_tokens
from jaxcodec.parallel import sharding
from jaxcodec.train import interrupts, nonfinite
from jaxcodec.train.checkpoint import Checkpointer
from jaxcodec.train.metrics_file import read_metrics
from jaxcodec.train.step import observe

PROGRAM = pathlib.Path(train_toy.__file__)


def without_times(records):
  timed = (
    "time",
    "step_seconds",
    "step_seconds_std",
    "input_wait_fraction",
    "examples_per_s",
    "examples_per_s_per_device",
    "flops_per_s_per_device",
  )
  return [
    {name: value for name, value in record.items() if name not in timed}
    for record in records
    if "compile_seconds" not in record
  ]


class Stop(Exception):
  pass


def stop_at(step):
  def on_log(at, values):
    if at == step:
      raise Stop

  return on_log


@pytest.mark.parametrize("mesh", [{"data": 1}, {"data": 4, "fsdp": 2}])
def test_stopped_and_resumed_ends_with_the_same_bits(tmp_path, mesh):
  options = {"mesh": sharding.make_mesh(mesh), "eval_data": [train_toy.make_batch(99)]}
  straight = fit(tmp_path / "a", 10, **options)
  with pytest.raises(Stop):
    fit(tmp_path / "b", 10, on_log=stop_at(8), **options)
  resumed = fit(tmp_path / "b", 10, **options)
  assert int(resumed.step) == 10 and bits(resumed) == bits(straight)
  records = [without_times(read_metrics(tmp_path / run)) for run in "ab"]
  assert records[0] == records[1]
  assert [record["step"] for record in records[0]] == [*range(1, 11), 10]


def test_fewer_steps_first_is_the_same_run(tmp_path):
  fit(tmp_path / "a", 5)
  assert bits(fit(tmp_path / "a", 10)) == bits(fit(tmp_path / "b", 10))


def test_the_loop_does_what_a_plain_loop_does(tmp_path):
  task = Task()
  train_step = jax.jit(task.train_step)
  state = jax.jit(task.init)(jax.random.key(3), _arrays(0))
  for number in range(7):
    state, metrics = train_step(state, _arrays(number))
  trained = fit(tmp_path, 7, seed=3)
  assert bits(trained) == bits(state)
  last = read_metrics(tmp_path)[-1]
  assert last["loss"] == float(metrics["loss"])
  np.testing.assert_array_equal(last["usage"], metrics["usage"])


def _arrays(number):
  batch = train_toy.make_batch(number)
  return {name: batch[name] for name in ("x_BxD", "y_B")}


def test_nothing_runs_when_all_steps_are_done(tmp_path):
  done = fit(tmp_path, 5)
  seen = []
  again = fit(tmp_path, 5, on_log=lambda step, values: seen.append(step))
  assert bits(again) == bits(done) and seen == []


def _loader():
  source = [train_toy.make_batch(number, 1) for number in range(24)]
  sampler = grain.IndexSampler(
    24, shard_options=grain.NoSharding(), shuffle=True, num_epochs=None, seed=1
  )
  stack = grain.Batch(8, drop_remainder=True, batch_fn=_stack)
  return grain.DataLoader(
    data_source=source, sampler=sampler, operations=[stack], worker_count=0
  )


def _map_dataset():
  source = [train_toy.make_batch(number, 1) for number in range(24)]
  dataset = grain.MapDataset.source(source).seed(1).shuffle().repeat()
  return dataset.to_iter_dataset().batch(8, batch_fn=_stack)


def _stack(examples):
  return {name: np.concatenate([e[name] for e in examples]) for name in examples[0]}


def _utterances(tmp_path):
  """Makes batches of three shapes, for more than an epoch."""
  path = tmp_path / "train.array_record"
  if not path.exists():
    write_tokens(path, map(_record, range(12)))
  source = TokenSource(path)
  buckets = make_buckets(source, budget=64, max_frames=99, num_buckets=3)
  assert 1 < len(buckets) and len(Plan(buckets, 0)) < 10
  return utterance_batches(source, buckets, seed=1).map(_as_regression)


def _record(number):
  codes_TxK = np.random.default_rng(number).integers(0, 9, (8 + 2 * number, 8))
  symbols = {"text_S": np.array([3]), "semantic_T": codes_TxK[:, 0]}
  labels = {"id": str(number), "speaker": "a", "text": "b"}
  return {**labels, **symbols, "codes_TxK": codes_TxK}


def _as_regression(batch):
  x_BxD = batch["codes_BxTxK"].mean(1, dtype=np.float32)
  frames_B = batch["mask_BxT"].mean(1, dtype=np.float32)
  return {"x_BxD": x_BxD, "y_B": frames_B, "index_B": batch["index_B"]}


@pytest.mark.parametrize("make", [_loader, _map_dataset, _utterances])
def test_grain_goes_on_where_it_was(tmp_path, make):
  if make is _utterances:
    make = functools.partial(make, tmp_path)
  straight = fit(tmp_path / "a", 10, data=make())
  fit(tmp_path / "b", 5, data=make())
  assert bits(fit(tmp_path / "b", 10, data=make())) == bits(straight)


def _environment():
  # One device: the program is the one that a laptop runs.
  return {
    **os.environ,
    "XLA_FLAGS": compile_flags.FAST,
    "PYTHONPATH": str(PROGRAM.parents[1]),
  }


@pytest.mark.slow
def test_kill_9_at_a_random_moment_ends_with_the_same_bits(tmp_path):
  def start():
    command = [sys.executable, str(PROGRAM), str(tmp_path / "killed"), "200"]
    pipe = subprocess.PIPE
    return subprocess.Popen(
      command, env=_environment(), stdout=pipe, stderr=pipe, text=True
    )

  process, checkpoints = start(), tmp_path / "killed" / "checkpoints"
  while process.poll() is None and not any(
    path.name.isdigit() for path in checkpoints.glob("*")
  ):
    time.sleep(0.01)
  time.sleep(random.uniform(0, 0.1))
  process.kill()
  process.communicate()
  assert process.returncode == -signal.SIGKILL
  finished = start()
  out, err = finished.communicate(timeout=240)
  assert finished.returncode == 0, err
  assert "going on after step" in err
  straight = fit(tmp_path / "straight", 200, log_every=3)
  assert out.strip() == bits(straight)
  records = [without_times(read_metrics(tmp_path / n)) for n in ("straight", "killed")]
  assert records[0] == records[1] and records[0][-1]["step"] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_with_its_code(tmp_path, number, capfd):
  def on_log(step, values):
    if step == 2:
      os.kill(os.getpid(), number)

  before = signal.getsignal(number)
  with pytest.raises(interrupts.Interrupted) as stop:
    fit(tmp_path, 1000, on_log=on_log)
  assert stop.value.code == 128 + number and 3 <= stop.value.step <= 4
  with Checkpointer(tmp_path / "checkpoints") as checkpoints:
    assert checkpoints.steps() == [stop.value.step]
  name = signal.Signals(number).name
  assert f"{name}: saving after this step" in capfd.readouterr().err
  assert f"{name} after step {stop.value.step}, which is saved" in str(stop.value)
  assert signal.getsignal(number) is before
  end = stop.value.step + 3
  assert bits(fit(tmp_path, end)) == bits(fit(tmp_path / "other", end))


def test_runs_outside_the_main_thread(tmp_path):
  results = []
  thread = threading.Thread(target=lambda: results.append(fit(tmp_path, 2)))
  thread.start()
  thread.join()
  assert int(results[0].step) == 2


def test_a_non_finite_loss_stops_and_names_the_batch(tmp_path):
  def spoil(number, batch):
    if number == 6:
      batch["y_B"][3] = np.nan
    return batch

  with pytest.raises(nonfinite.NonFiniteError, match="step 7: grad_norm, loss, usage"):
    fit(tmp_path, 20, data=Data(spoil=spoil))
  (record,) = json.loads((tmp_path / "nonfinite.json").read_text())
  assert record["step"] == 7 and record["metrics"]["loss"] == "nan"
  assert record["index_B"] == list(range(48, 56))
  with Checkpointer(tmp_path / "checkpoints") as checkpoints:
    assert checkpoints.steps() == [5]


def test_a_non_finite_step_before_a_checkpoint_is_never_saved(tmp_path):
  def spoil(number, batch):
    batch["y_B"][0] = np.inf if number == 4 else 0
    return batch

  with pytest.raises(nonfinite.NonFiniteError, match="step 5: .*loss"):
    fit(tmp_path, 20, data=Data(spoil=spoil))
  with Checkpointer(tmp_path / "checkpoints") as checkpoints:
    assert checkpoints.steps() == []


class Poisoned(Task):
  """A task whose state becomes NaN while its metrics stay finite."""

  def train_step(self, state, batch):
    state, metrics = super().train_step(state, batch)
    bias = {"bias": jnp.where(state.step >= 5, jnp.nan, state.ema["bias"])}
    return state.replace(ema=state.ema | bias), metrics


class Counting(Task):
  """A task with a metric that is made of its rows."""

  def train_step(self, state, batch):
    state, metrics = super().train_step(state, batch)
    rows = {"row_B": batch["y_B"]}
    return state, {**metrics, **rows, **self.summarize(rows)}

  def summarize(self, rows):
    return {"largest": rows["row_B"].max()}


@pytest.mark.parametrize("devices", [1, 8])
def test_metrics_of_rows_are_made_where_a_step_is_logged(tmp_path, devices):
  mesh = sharding.make_mesh({"data": devices})
  fit(tmp_path, 6, task=Counting(), log_every=4, mesh=mesh)
  found = [record for record in read_metrics(tmp_path) if "loss" in record]
  batches = {step: train_toy.make_batch(step - 1) for step in (4, 6)}
  assert [r["step"] for r in found] == list(batches)
  for record in found:
    assert record["largest"] == batches[record["step"]]["y_B"].max()
    assert "row_B" not in record
  batch = {name: batches[4][name] for name in ("x_BxD", "y_B")}
  state = jax.eval_shape(Counting().init, jax.random.key(0), batch)
  step = observe(Counting(), keep_state=False)
  _, outcome = jax.eval_shape(step, state, batch)
  assert set(outcome.metrics) == {"loss", "grad_norm", "usage"}
  assert set(outcome.rows) == {"row_B"}


def test_a_non_finite_state_is_never_saved(tmp_path):
  with pytest.raises(nonfinite.NonFiniteError, match="step 5: the state"):
    fit(tmp_path, 20, task=Poisoned())
  with Checkpointer(tmp_path / "checkpoints") as checkpoints:
    assert checkpoints.steps() == []


def test_evaluation_is_the_weighted_mean_over_the_first_batches(tmp_path):
  batches = [train_toy.make_batch(n, size) for n, size in ((50, 8), (51, 16), (52, 8))]
  logged = {}
  state = fit(
    tmp_path,
    4,
    eval_data=batches,
    eval_every=2,
    eval_batches=2,
    best=("eval/loss", "min"),
    on_log=lambda step, values: logged.setdefault(step, {}).update(values),
  )
  task = Task()
  losses = [
    float(task.eval_step(state, {n: b[n] for n in ("x_BxD", "y_B")})["loss"])
    for b in batches[:2]
  ]
  expected = (8 * losses[0] + 16 * losses[1]) / 24
  assert "eval/loss" in logged[2] and "eval/loss" not in logged[3]
  np.testing.assert_allclose(logged[4]["eval/loss"], expected, rtol=1e-5)
  with pytest.raises(ValueError, match="'loss' isn't measured; these are: eval/loss"):
    fit(tmp_path / "a", 1, eval_data=batches, best=("loss", "min"))
  assert not list((tmp_path / "a" / "checkpoints").glob("[0-9]*"))
  with pytest.raises(ValueError, match="evaluation data are empty"):
    fit(tmp_path / "b", 1, eval_data=[])


def test_the_best_is_kept_and_returned(tmp_path):
  options = dict(
    **dict(eval_data=[train_toy.make_batch(50)], eval_every=2, checkpoint_every=2),
    **dict(keep=1, best=("eval/loss", "max")),  # the worst, which is the first
  )
  best = fit(tmp_path / "a", 6, **options)
  assert bits(best) == bits(fit(tmp_path / "b", 2))
  assert {p.name for p in (tmp_path / "a" / "checkpoints").iterdir()} == {"2", "6"}
  assert bits(fit(tmp_path / "a", 6, **options)) == bits(best)


def test_an_interruption_is_no_candidate_for_the_best(tmp_path):
  data = [train_toy.make_batch(50)]
  options = dict(eval_data=data, eval_every=1, checkpoint_every=4)
  options |= dict(best=("eval/loss", "max"))  # the worst, which is the first
  whole = fit(tmp_path / "a", 8, **options)
  assert bits(whole) == bits(fit(tmp_path / "c", 4))

  def interrupt(step, values):
    if step == 2 and "eval/loss" not in values:
      os.kill(os.getpid(), signal.SIGTERM)

  with pytest.raises(interrupts.Interrupted):
    fit(tmp_path / "b", 8, on_log=interrupt, **options)
  assert bits(fit(tmp_path / "b", 8, **options)) == bits(whole)


def test_the_best_of_a_run_that_skipped_steps(tmp_path):
  """Step 4 is the best; the last state, of step 5, has as many updates."""

  def spoil(number, batch):
    if number == 1:
      batch["y_B"][0] = np.nan
    return batch

  options = dict(eval_data=[train_toy.make_batch(50)], eval_every=4, checkpoint_every=4)
  options |= dict(best=("eval/loss", "max"), skip_nonfinite=1)
  found = fit(tmp_path / "a", 5, data=Data(spoil=spoil), **options)
  until_best = fit(tmp_path / "b", 4, data=Data(spoil=spoil), **options)
  assert int(found.step) == 3 and bits(found) == bits(until_best)


def test_weights_to_begin_with(tmp_path):
  first = fit(tmp_path / "a", 5)
  variables = jax.device_get(Task().inference_variables(first))
  logged = []
  fit(tmp_path / "b", 1, init_from=variables, on_log=lambda _, v: logged.append(v))
  fresh = jax.jit(Task().init)(jax.random.key(0), _arrays(0))
  begun = Task().start_from(fresh, variables)
  _, metrics = jax.jit(Task().train_step)(begun, _arrays(0))
  assert logged[0]["loss"] == pytest.approx(float(metrics["loss"]))
  # What the run has since learnt is not begun again.
  resumed = fit(tmp_path / "b", 2, init_from=jax.tree.map(np.zeros_like, variables))
  assert np.abs(resumed.params["hidden"]).max() > 0.1


def test_weights_to_begin_with_are_not_made_where_training_goes_on(tmp_path):
  calls = []
  variables = fit(tmp_path / "a", 1).params

  def make():
    calls.append(1)
    return variables

  first = fit(tmp_path / "b", 1, init_from=make)
  again = fit(tmp_path / "c", 1, init_from=variables)
  jax.tree.map(np.testing.assert_array_equal, first.params, again.params)
  assert len(calls) == 1
  fit(tmp_path / "b", 2, init_from=make)
  assert len(calls) == 1


def test_rates_leave_compilation_out_and_see_slow_input(tmp_path):
  start, data = time.monotonic(), Data(seconds=0.03)
  fit(tmp_path, 12, data=data, log_every=4, checkpoint_every=100)
  elapsed = time.monotonic() - start
  first, *records = read_metrics(tmp_path)
  assert first["step"] == 1 and first["compile_seconds"] > 0
  assert [record["step"] for record in records] == [4, 8, 12]
  for record in records:
    assert record["examples_per_s"] == pytest.approx(8 / record["step_seconds"])
  # The first step isn't measured, and by then three batches may lie ready.
  measured = [n * r["step_seconds"] for n, r in zip((3, 4, 4), records, strict=True)]
  assert 8 * 0.03 < sum(measured) < elapsed - first["compile_seconds"]
  waited = [
    r["input_wait_fraction"] * m for r, m in zip(records, measured, strict=True)
  ]
  assert 0.5 < sum(waited) / sum(measured) <= 1


def test_bad_data_are_clear_errors(tmp_path):
  with pytest.raises(ValueError, match="training data ended"):
    fit(tmp_path / "a", 10, data=Data(end=7))
  with pytest.raises(TypeError, match=r"must give iterators with get_state\(\)"):
    fit(tmp_path / "b", 10, data=[train_toy.make_batch(0)])
  mesh = sharding.make_mesh({"data": 8})
  with pytest.raises(ValueError, match=r"'x_BxD' has shape \(6, 8\).* multiple of 8"):
    fit(tmp_path / "c", 10, data=Data(size=6), mesh=mesh)

  def fail(number, batch):
    if number == 3:
      raise OSError("cannot read clip.wav")
    return batch

  with pytest.raises(OSError, match="cannot read clip.wav"):
    fit(tmp_path / "d", 10, data=Data(spoil=fail))
  assert not [t for t in threading.enumerate() if t.name == "prefetch"]


def test_another_model_in_the_workdir_is_a_clear_error(tmp_path):
  fit(tmp_path, 2)
  with pytest.raises(ValueError, match="params/hidden.* saved, .* expected"):
    fit(tmp_path, 4, task=Task(width=8))


def test_a_damaged_latest_checkpoint_costs_only_the_steps_since(tmp_path, caplog):
  straight = fit(tmp_path, 10)
  for path in (tmp_path / "checkpoints" / "10" / "packs").rglob("*"):
    if path.is_file():
      path.write_bytes(path.read_bytes()[:-3])
  seen = []
  again = fit(tmp_path, 10, on_log=lambda step, values: seen.append(step))
  assert bits(again) == bits(straight) and seen == [6, 7, 8, 9, 10]
  assert "10 is damaged" in caplog.text
