"""The speech language models that `slm.name` chooses from."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxcodec.build.conditions import Condition, SemanticTokens, Texts
from jaxcodec.build.fields import Config, ConfigError
from jaxcodec.build.slm_batches import Batches, TokenWindows, Utterances
from jaxcodec.inference.code_scores import (
  CodeScores,
  DelayScores,
  MaskGitScores,
  ValleScores,
)
from jaxcodec.registry import Registry
from jaxcodec.slm.ar_choice import ArSampler, DelaySampler
from jaxcodec.slm.decode import IterativeSampler
from jaxcodec.slm.delay import Delay
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.slm.valle import Valle
from jaxcodec.tasks.slm import SlmTask
from jaxcodec.types import SpeechLanguageModel


@dataclasses.dataclass(frozen=True)
class LanguageModel:
  """All that the config, the stages, the dry run and the API know of a kind of model.

  Attributes:
    model: called with `spec`, what `condition.size` gives and the fields of
      `config.slm`; what it raises for a bad value becomes a ConfigError.
    sampler: dataclass of `config.generate.sampler`, handed to the model's `generate`.
    condition: what the model is given to say.
    batches: what it trains on; its attributes are fields of `config.slm_train`.
    progress: metrics that the progress bar shows beside the losses.
    task: called with the model and the settings of `config.slm_train`; see `SlmTask`.
    scores: what the model says of codes that are being coded, if it can.
  """

  model: Callable[..., SpeechLanguageModel]
  sampler: type[Any]
  condition: Condition
  batches: type[Batches]
  progress: tuple[str, ...] = ()
  task: Callable[..., Any] = SlmTask
  scores: type[CodeScores] | None = None


LANGUAGE_MODELS: Registry[LanguageModel] = Registry(
  "slm.name",
  {
    "maskgit": LanguageModel(
      model=MaskGit,
      sampler=IterativeSampler,
      condition=SemanticTokens(),
      batches=TokenWindows,
      progress=("accuracy", "eval/ce_c0_wrong_semantic"),
      scores=MaskGitScores,
    ),
    "delay": LanguageModel(
      model=Delay,
      sampler=DelaySampler,
      condition=Texts(),
      batches=Utterances,
      progress=("loss_c0", "eval/ce_c0_wrong_text"),
      scores=DelayScores,
    ),
    "valle": LanguageModel(
      model=Valle,
      sampler=ArSampler,
      condition=Texts(),
      batches=Utterances,
      progress=("ar_loss", "nar_loss", "eval/ce_c0_wrong_text"),
      scores=ValleScores,
    ),
  },
  ConfigError,
)


def language_model(config: Config) -> LanguageModel:
  """The kind of model that `config.slm.name` names; raises ConfigError if none is."""
  return LANGUAGE_MODELS.lookup(config["slm"].get("name"))
