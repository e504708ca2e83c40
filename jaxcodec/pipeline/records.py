"""What a stage's record of its inputs says of the config: what results depend on."""

from typing import Any

from jaxcodec.data.text.languages import DEFAULT
from jaxcodec.nn import remat
from jaxcodec.pipeline import train_options
from jaxcodec.pipeline.experiment import Experiment
from jaxcodec.pipeline.prompt_list import read_prompt_list
from jaxcodec.semantic.mfcc import Mfcc

# Fields that configs of earlier revisions lack, and the value that means what was done
# then.
_LATER = {
  "text": {"language": DEFAULT},
  "slm": {
    "nar_width": None,
    "nar_depth": None,
    "nar_draws": 1,
    "text_dropout": 0.0,
    "fully_masked": 0.0,
  },
  "generate": {"prompts": None},
  "evaluate": {"lyra": None, "language": None},
}
# The same of samplers' fields.
_NO_GUIDANCE = {"guidance": 1, "guidance_condition": 0, "guidance_prompt": 0}


def recorded_config(experiment: Experiment, section: str) -> Any:
  """Returns what is recorded of a section of the config.

  HuBERT's weights are recorded by their checksum, not by where they lie, and a list of
  prompts by what it says. `slm.remat` is recorded as whether anything is computed
  again, which was its value once.
  """
  if section.endswith("_train"):
    return train_options.recorded_config(experiment, section)
  settings, later = experiment.config[section], _LATER.get(section, {})
  if dropped := {name for name in later if settings.get(name) == later[name]}:
    settings = {name: x for name, x in settings.items() if name not in dropped}
  if section == "evaluate" and "threads" in settings:
    return {**settings, "threads": 2}  # which changes nothing, and was recorded once
  if section == "generate":
    return _generate(experiment, settings)
  if section == "slm":
    return _slm(settings)
  if section == "semantic":
    return _semantic(experiment, settings)
  return settings


def _generate(experiment, settings):
  sampler = settings["sampler"]
  unguided = {name for name, off in _NO_GUIDANCE.items() if sampler.get(name) == off}
  sampler = {name: x for name, x in sampler.items() if name not in unguided}
  settings = {**settings, "sampler": sampler}
  if "prompts" in settings:
    return {**settings, "prompts": read_prompt_list(experiment)}
  return settings


def _slm(settings):
  is_delay = settings.get("name") == "delay"
  if is_delay and settings.get("level_weights") == "uniform":  # later
    settings = {k: v for k, v in settings.items() if k != "level_weights"}
  if "remat" in settings:
    return {**settings, "remat": remat.mode(settings["remat"]) != "none"}
  return settings


def _semantic(experiment, settings):
  clusters = {"num_clusters": settings["num_clusters"]}
  if isinstance(experiment.semantic_features, Mfcc):
    return clusters
  return {**clusters, "hubert": experiment.semantic_features.config}
