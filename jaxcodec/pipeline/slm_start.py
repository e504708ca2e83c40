"""The variables that a language model's training begins with."""

from typing import Any

import jax

from jaxcodec.build.slm import fresh_params
from jaxcodec.codecs.code_vectors import code_vectors
from jaxcodec.parallel import sharding
from jaxcodec.pipeline import train_options
from jaxcodec.pipeline.experiment import Experiment
from jaxcodec.slm import codebook_start


def initial_variables(experiment: Experiment) -> dict[str, Any] | None:
  """Returns the variables of `slm_train.init_from`, or begins with the codebooks.

  Returns:
    None where `slm_train` has neither, or the model has no `with_codebooks`: training
    then begins with random ones.

  Raises:
    ConfigError: naming the field.
  """
  settings = experiment.config["slm_train"]
  found = train_options.initial_variables(experiment, "slm")
  if found is not None or experiment.synthetic or not settings.get("codebook_start"):
    return found
  model, codec = experiment.models.slm_task.model, experiment.models.codec
  if not hasattr(model, "with_codebooks"):
    return None
  start, fresh = jax.random.split(experiment.key("slm_start"))

  @jax.jit
  def begin(variables):
    params = fresh_params(model, fresh)
    vector_KxVxC = code_vectors(codec, variables)
    return codebook_start.begin(model, params, start, vector_KxVxC)

  return sharding.to_host({"params": begin(experiment.codec_variables())})
