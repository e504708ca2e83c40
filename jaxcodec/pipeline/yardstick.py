"""The codec without a network that an experiment's codec is measured beside."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxcodec.build.fields import ConfigError
from jaxcodec.data import split as splits
from jaxcodec.evals import mdct_kmeans
from jaxcodec.evals.metric import EvalClip
from jaxcodec.pipeline import kept_measures
from jaxcodec.pipeline.experiment import Experiment, data_inputs


def check(experiment: Experiment) -> None:
  """Raises ConfigError where there is too little training audio to fit it to."""
  if not wanted(experiment):
    return
  spec, utterances = experiment.spec, experiment.source.utterances
  seconds = sum(utterances[i].seconds for i in experiment.split["train"])
  frames = min(mdct_kmeans.most_frames(spec), int(seconds * spec.frame_rate))
  if frames < spec.codebook_size:
    raise ConfigError(
      f"evaluate.mdct_kmeans: must be False: {spec.codebook_size} codes need as many"
      f" frames of training audio, and there are {frames}"
    )


def wanted(experiment: Experiment) -> bool:
  """Whether the config asks for it; those of earlier revisions don't."""
  return bool(experiment.config["evaluate"].get(mdct_kmeans.NAME))


def clips(experiment: Experiment, originals: list[EvalClip]) -> list[EvalClip]:
  """Passes the clips' references through it, fitted to the training recordings."""
  return mdct_kmeans.coded_clips(originals, _fitted(experiment))


def _fitted(experiment: Experiment) -> mdct_kmeans.MdctKmeans:
  """Returns it as fitted before for this data, or fits it and keeps it."""
  return mdct_kmeans.fit_once(
    kept_measures.folder_of(experiment) or kept_measures.own_folder(experiment),
    inputs(experiment),
    lambda: mdct_kmeans.fit(_recordings(experiment), experiment.spec, experiment.seed),
  )


def inputs(experiment: Experiment) -> dict[str, Any]:
  """Returns plain data that what is fitted follows from.

  Which recordings are long enough to train on depends on the codec's crops.
  """
  spec = experiment.spec
  return {
    "data": data_inputs(experiment),
    "split": splits.digest(experiment.source.utterances, experiment.split),
    "seed": experiment.seed,
    "codes": (spec.hop, spec.sample_rate, spec.num_codebooks, spec.codebook_size),
  }


def _recordings(experiment: Experiment) -> Iterator[np.ndarray]:
  """Yields the training recordings in an order that depends on the seed."""
  order = np.random.default_rng(experiment.seed)
  for index in order.permutation(experiment.split["train"]):
    yield experiment.audio(int(index))
