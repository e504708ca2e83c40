"""Compares the rate of a config's input with that of its codec's training."""

import pathlib
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from jaxcodec.build.fields import crop_samples
from jaxcodec.build.resolve import resolve
from jaxcodec.data.batches import crops as data_pipeline
from jaxcodec.data.sources.synthetic import synthetic_crops
from jaxcodec.doctor.diagnosis import PASS, WARN
from jaxcodec.parallel import sharding
from jaxcodec.pipeline.experiment import Experiment, open_experiment, plain
from jaxcodec.train import loop

_SECONDS = 5.0
_STEPS = 6
_MARGIN = 1.25  # how much faster the input should be than the training


def rates(config: Any) -> Iterator[tuple[str, str]]:
  """Measures examples/s of the input alone and of the training step alone."""
  with tempfile.TemporaryDirectory() as folder:
    experiment = open_experiment(resolve(plain(config)), pathlib.Path(folder))
    utterances = experiment.source.utterances
    hours = sum(utterance.seconds for utterance in utterances) / 3600
    yield PASS, f"{len(utterances)} recordings, {hours:.2f} h"
    if experiment.skipped:
      reason = experiment.skipped[0]["reason"]
      yield WARN, f"{len(experiment.skipped)} recordings are left out: {reason}, ..."
    delivered, consumed = _input_rate(experiment), _training_rate(experiment, folder)
  text = (
    f"the input alone gives {delivered:.1f} examples/s, the codec's training step"
    f" takes {consumed:.1f}"
  )
  if delivered > _MARGIN * consumed:
    yield PASS, text
  else:
    yield WARN, f"{text}: a faster disk, prepared shards or more cores are wanted"


def _shape(experiment: Experiment) -> dict[str, int]:
  config = experiment.config
  samples = crop_samples(config, "codec_train", experiment.spec)
  size = config["codec_train"]["batch_size"]
  return {"crop_samples": samples, "batch_size": size, "seed": experiment.seed}


def _input_rate(experiment: Experiment) -> float:
  """Measures examples/s that reach the devices, after the first batch."""
  shape = _shape(experiment)
  source, indices = experiment.source, experiment.split["train"]
  rate = experiment.spec.sample_rate
  workers = experiment.config["data"]["workers"]
  batches = iter(
    data_pipeline.crops(source, indices, sample_rate=rate, workers=workers, **shape)
  )
  next(batches)
  count, start = 0, time.monotonic()
  while time.monotonic() - start < _SECONDS:
    sharding.put_batch(experiment.mesh, next(batches))
    count += shape["batch_size"]
  return count / (time.monotonic() - start)


def _training_rate(experiment: Experiment, folder: str) -> float:
  """Measures examples/s that the loop trains on, with synthetic input."""
  lines = []
  loop.fit(
    experiment.models.codec_task,
    synthetic_crops(**_shape(experiment)),
    steps=_STEPS,
    workdir=folder,
    mesh=experiment.mesh,
    seed=experiment.seed,
    log_every=_STEPS,
    checkpoint_every=_STEPS,
    desc="step",
    on_log=lambda _, values: lines.append(values),
  )
  return lines[-1]["examples_per_s"]
