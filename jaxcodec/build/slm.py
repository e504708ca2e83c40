"""`config.slm`, `slm_train`, `semantic` and `generate` to a language model."""

from jaxcodec.build.fields import (
  Config,
  ConfigError,
  call,
  named,
  positive,
  whole_frames,
)
from jaxcodec.data.text import Vocabulary
from jaxcodec.semantic.settings import SemanticSettings
from jaxcodec.slm.ar_choice import ArSampler
from jaxcodec.slm.decode import IterativeSampler
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.slm.valle import Valle
from jaxcodec.tasks.slm import SlmTask
from jaxcodec.types import TokenSpec

SLMS = {"maskgit": MaskGit, "valle": Valle}
SAMPLERS = {"maskgit": IterativeSampler, "valle": ArSampler}
# What slm_train has for every model, and for each what its batches are.
_FIELDS = {
  *("steps", "optimizer", "ema_decay", "log_every", "checkpoint_every"),
  *("eval_every", "eval_batches", "accumulate", "init_from", "skip_nonfinite"),
  *("keep", "best", "profile_steps"),
}
_BATCH_FIELDS = {
  "maskgit": ("batch_size", "crop_seconds"),
  "valle": ("max_seconds", "frames_per_batch", "num_buckets", "continuations"),
}


def reads_text(config: Config) -> bool:
  """Whether the language model speaks texts, rather than semantic tokens."""
  return config["slm"].get("name") == "valle"


def make_slm(
  config: Config, spec: TokenSpec, vocabulary: Vocabulary | None = None
) -> MaskGit | Valle:
  """The speech language model that `config.slm` describes.

  Args:
    config: of an experiment.
    spec: of the codec.
    vocabulary: of `config.text`, for a model that reads text.

  Raises:
    ConfigError: naming the field.
  """
  slm = config["slm"]
  if slm["width"] % slm["heads"]:
    raise ConfigError(
      f"slm.width ({slm['width']}) must be a multiple of slm.heads ({slm['heads']})"
    )
  if not reads_text(config):
    num_semantic = positive(config["semantic"], "semantic", "num_clusters")
    return named(SLMS, config, "slm", spec=spec, num_semantic=num_semantic)
  if vocabulary is None:
    raise ConfigError(
      "text is missing: slm.name is 'valle', which reads texts; give text.front_end"
      " and text.max_symbols"
    )
  return named(SLMS, config, "slm", spec=spec, num_text=len(vocabulary))


def make_slm_task(
  config: Config, spec: TokenSpec, vocabulary: Vocabulary | None = None
) -> SlmTask:
  """The speech language model with its optimiser; see `make_slm`."""
  model, train = make_slm(config, spec, vocabulary), config["slm_train"]
  _check_training(config, spec)
  settings = dict(train["optimizer"], steps=train["steps"])
  settings |= {name: train[name] for name in ("ema_decay", "accumulate")}
  return call(SlmTask, settings, "slm_train.optimizer", model=model)


def _check_training(config: Config, spec: TokenSpec) -> None:
  train, name = config["slm_train"], config["slm"]["name"]
  known = _FIELDS | set(_BATCH_FIELDS[name])
  if unknown := sorted(train.keys() - known):
    raise ConfigError(
      f"slm_train.{unknown[0]}: unknown for {name!r}; known: {sorted(known)}"
    )
  if missing := sorted(known - train.keys()):
    raise ConfigError(f"slm_train.{missing[0]} is missing, which {name!r} needs")
  for field in _BATCH_FIELDS[name]:
    if field.endswith("_seconds"):
      whole_frames(config, "slm_train", field, spec)
    elif field != "continuations" or train[field] != 0:
      positive(train, "slm_train", field)


def semantic_settings(config: Config, spec: TokenSpec) -> SemanticSettings:
  """What `config.semantic` says, for a codec."""
  positive(config["semantic"], "semantic", "num_clusters")
  fields = dict(config["semantic"])
  return call(SemanticSettings, fields, "semantic", sample_rate=spec.sample_rate)


def make_sampler(config: Config) -> IterativeSampler | ArSampler:
  """How to decode: `config.generate.sampler`, of the kind that `slm.name` takes."""
  sampler = dict(config["generate"]["sampler"])
  return call(SAMPLERS[config["slm"]["name"]], sampler, "generate.sampler")
