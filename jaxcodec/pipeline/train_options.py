"""The settings of `codec_train` and `slm_train` that are for the training loop."""

from typing import Any

from jaxcodec import hub, porting, stages, weights
from jaxcodec.api import sources
from jaxcodec.build.fields import ConfigError, positive
from jaxcodec.build.slm import param_shapes
from jaxcodec.codecs.shapes import variable_shapes
from jaxcodec.pipeline.experiment import Experiment
from jaxcodec.tasks.quantizer_start import FITTED

_POSITIVE = ("log_every", "checkpoint_every", "eval_every", "eval_batches", "keep")
_ALSO = ("best", "skip_nonfinite", "profile_steps")


def loop_options(experiment: Experiment, section: str) -> dict[str, Any]:
  """Checks a section's settings and returns them as arguments of `train.loop.fit`.

  Raises:
    ConfigError: naming the field.
  """
  settings = experiment.config[section]
  for name in (*_POSITIVE, "accumulate"):
    positive(settings, section, name)
  if (limit := settings["skip_nonfinite"]) < 0:
    raise ConfigError(f"{section}.skip_nonfinite must not be negative, got {limit}")
  _check_best(settings, section)
  if settings["best"] is not None and experiment.synthetic:
    raise ConfigError(f"{section}.best: data.source=synthetic has nothing to evaluate")
  _check_profile(settings, section)
  return {name: settings[name] for name in (*_POSITIVE, *_ALSO)}


def _check_best(settings, section) -> None:
  best, field = settings["best"], f"{section}.best"
  if best is None:
    return
  if len(best) != 2 or best[1] not in ("min", "max"):
    raise ConfigError(f"{field} must be (metric, 'min' or 'max'), got {best}")
  if not best[0].startswith("eval/"):
    raise ConfigError(f"{field} must be one of evaluation, eval/..., got {best[0]!r}")
  if settings["checkpoint_every"] % settings["eval_every"]:
    raise ConfigError(
      f"{field} needs a {section}.checkpoint_every that is a multiple of eval_every"
      f" ({settings['eval_every']}), got {settings['checkpoint_every']}"
    )


def _check_profile(settings, section) -> None:
  steps = settings["profile_steps"]
  if steps is not None and (len(steps) != 2 or not 1 <= steps[0] <= steps[1]):
    raise ConfigError(
      f"{section}.profile_steps must be (first, last) with 1 <= first <= last, got"
      f" {steps}"
    )


def initial_variables(experiment: Experiment, stage: str) -> dict[str, Any] | None:
  """Loads the variables that `<stage>_train.init_from` names; None if it is None.

  Of a codec with frozen parts they are those of these parts alone.

  Raises:
    ConfigError: they cannot be read or do not fit; the leaves that differ are listed.
  """
  path = experiment.config[f"{stage}_train"]["init_from"]
  if path is None:
    return None
  try:
    file = weights.params_file(hub.find(path, stage), stage)
    if weights.is_params(file):
      found = weights.load_params(file)
    elif stage == "codec":
      codec = experiment.models.codec
      found = porting.convert(file, codec, sources.find(path).encodec_path(codec))
    else:
      raise ValueError(f"{file} has no parameters of a speech language model")
    freeze = experiment.config[f"{stage}_train"].get("freeze")
    shapes = _shapes(experiment, stage)
    if freeze:
      found, shapes = (weights.only_parts(tree, freeze) for tree in (found, shapes))
    return weights.restore_weight_norm(file, found, shapes)
  except (OSError, ValueError) as error:
    raise ConfigError(f"{stage}_train.init_from: {error}") from error


def recorded_config(experiment: Experiment, section: str) -> dict[str, Any]:
  """Returns what a stage's record says of its section: what the weights depend on.

  Weights to begin with are recorded by their checksum, not by where they lie. The
  features that a quantiser is taught belong to it.
  """
  settings = dict(experiment.config[section])
  for name in ("freeze", "codebook_start", "fill"):
    if not settings.get(name):  # configs of earlier versions lack the field
      settings.pop(name, None)
  for name in stages.WITHOUT_EFFECT[section]:
    if name != "eval_crops" or settings["best"] is None:  # which it chooses by
      settings.pop(name, None)
  if settings["init_from"] is not None:
    variables = initial_variables(experiment, section.removesuffix("_train"))
    settings["init_from"] = weights.fingerprint(variables)
  if settings.get("start") and not settings.get("freeze"):
    quantizer = experiment.config["codec"]["quantizer"]["name"]
    if quantizer in FITTED:  # earlier revisions left these as they were drawn
      settings["start"] = {**settings["start"], "quantizer": "fitted"}
  if "distill" in settings.get("weights", ()):
    taught = experiment.models.codec_task.semantic
    settings["semantic"] = taught and taught.config
  return settings


def _shapes(experiment: Experiment, stage: str) -> Any:
  """Returns a stage's variables as `ShapeDtypeStruct`s."""
  if stage == "codec":
    return variable_shapes(experiment.models.codec)
  return {"params": param_shapes(experiment.models.slm_task.model)}
