"""Measures what the loop costs beside the step: data, logging, checkpoints.

    python benchmarks/loop.py --task=codec
    python benchmarks/loop.py --task=slm

`fit` runs the small experiment on real batches, from the spoken corpus or from a
token file, with its logging, and a checkpoint in every window of 100 steps (the
experiment itself saves three times less often). Between the windows the bare jitted
step runs on one batch that stays on the devices. The two take turns, so that whatever
else the machine does hits both, and the result is the ratio of the medians.
"""

import argparse
import pathlib
import statistics
import tempfile
import time

import jax
import numpy as np

from jaxcodec.build.codec import make_codec_task
from jaxcodec.build.fields import crop_samples, whole_frames
from jaxcodec.build.slm import make_slm_task
from jaxcodec.data import token_store
from jaxcodec.data.batches import crops as data_pipeline
from jaxcodec.data.batches import token_windows
from jaxcodec.parallel import sharding
from jaxcodec.pipeline.experiment import open_experiment, plain
from jaxcodec.recipes import config_file
from jaxcodec.train.loop import fit
from jaxcodec.train.step import phases

CONFIG = str(pathlib.Path(__file__).parents[1] / "configs" / "dac_maskgit.py:runlocal")
WINDOW, BARE, WARM = 100, 50, 3  # steps


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--task", choices=("codec", "slm"), required=True)
  parser.add_argument("--rounds", type=int, default=5)
  arguments = parser.parse_args()
  config = config_file.load(CONFIG, ["data.options.max_utterances=200"])
  jax.config.update("jax_num_cpu_devices", config.cpu_devices)
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    experiment = open_experiment(plain(config), folder)
    make = {"codec": codec, "slm": slm}[arguments.task]
    task, data = make(experiment, folder)
    turns = Turns(task, next(iter(data)), experiment)
    fit(
      task,
      data,
      steps=WINDOW * arguments.rounds + WINDOW // 2 + 1,
      workdir=folder / "run",
      mesh=experiment.mesh,
      seed=0,
      log_every=turns.every,
      checkpoint_every=WINDOW,
      on_log=turns,
    )
  turns.report(arguments.task)


def codec(experiment, _):
  """The codec's task and crops of the spoken corpus."""
  config, spec = experiment.config, experiment.spec
  data = data_pipeline.crops(
    experiment.source,
    experiment.split["train"],
    sample_rate=spec.sample_rate,
    crop_samples=crop_samples(config, "codec_train", spec),
    batch_size=config["codec_train"]["batch_size"],
    seed=0,
  )
  return make_codec_task(config), data


def slm(experiment, folder):
  """The language model's task and windows of a file of random tokens."""
  config, spec = experiment.config, experiment.spec
  rng, clusters = np.random.default_rng(0), config["semantic"]["num_clusters"]
  shape = (300, spec.num_codebooks)
  records = [
    {
      "id": f"{number}",
      "speaker": "a",
      "text": None,
      "codes_TxK": rng.integers(spec.codebook_size, size=shape),
      "semantic_T": rng.integers(clusters, size=shape[0]),
    }
    for number in range(200)
  ]
  token_store.write_tokens(folder / "tokens.array_record", records)
  data = token_windows.token_batches(
    token_store.TokenSource(folder / "tokens.array_record"),
    batch_size=config["slm_train"]["batch_size"],
    frames=whole_frames(config, "slm_train", "crop_seconds", spec),
    seed=0,
  )
  return make_slm_task(config, spec), data


class Turns:
  """Times the loop's windows between its calls, and the bare step in them."""

  every = 20

  def __init__(self, task, batch, experiment):
    mesh = experiment.mesh
    self._batch = sharding.put_batch(mesh, batch)
    with sharding.use_mesh(mesh):
      key = jax.random.key(0)
      shapes = jax.eval_shape(task.init, key, self._batch)
      places = sharding.state_shardings(mesh, shapes, sharding.DEFAULT_RULES)
      init = jax.jit(task.init, out_shardings=places)
      self._state = init(key, self._batch)
      whole = sharding.replicated(mesh)
      first = phases(task)[0].train_step  # the one that `fit` runs, too
      step = jax.jit(first, donate_argnums=0, out_shardings=(places, whole))
      self._step = step.lower(self._state, self._batch).compile()
    self._start = None
    self.loop, self.bare = [], []

  def __call__(self, step, _):
    if step % WINDOW != WINDOW // 2 // self.every * self.every:
      return
    if self._start is not None:
      # The step before this call's and the one in flight were run by then.
      self.loop.append((time.perf_counter() - self._start) / (WINDOW - 1))
    self._run(WARM)
    start = time.perf_counter()
    self._run(BARE)
    self.bare.append((time.perf_counter() - start) / BARE)
    self._start = time.perf_counter()

  def _run(self, steps):
    for _ in range(steps):
      self._state, metrics = self._step(self._state, self._batch)
    jax.block_until_ready(metrics)

  def report(self, name):
    bare, loop = (statistics.median(x) * 1e3 for x in (self.bare, self.loop))
    print(
      f"{name}: bare step {bare:.2f} ms, in the loop {loop:.2f} ms:"
      f" {loop / bare - 1:+.1%} ({len(self.loop)} windows of {WINDOW} steps)"
    )
    print("bare", [round(1e3 * t, 2) for t in self.bare])
    print("loop", [round(1e3 * t, 2) for t in self.loop])


if __name__ == "__main__":
  main()
