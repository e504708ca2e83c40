"""What a trained language model says of its codec's codes, to code them by."""

import os
import pathlib

import jax

from jaxcodec import files, shipped
from jaxcodec.api.slm_loading import find_run
from jaxcodec.build.conditions import VOCABULARY
from jaxcodec.build.language_models import language_model
from jaxcodec.build.slm import make_slm
from jaxcodec.data.text import Vocabulary
from jaxcodec.inference.code_scores import CodeScores
from jaxcodec.weights import load_params, token_fingerprint


def load_code_scores(weights: files.PathLike) -> CodeScores:
  """Loads the scores of a language model, by which token files can be coded.

  Neither the text front end nor HuBERT that the model was trained with is needed.

  Args:
    weights: as of `load_slm`.

  Raises:
    FileNotFoundError, ValueError: as of `load_slm`, and for a model that has none.
  """
  run = find_run(weights)
  kind = language_model(run.config)
  if kind.scores is None:
    raise ValueError(
      f"{weights}: models {run.config['slm']['name']!r} have no scores to code by"
    )
  path = run.folder / "slm" / VOCABULARY
  vocabulary = Vocabulary.load(path) if kind.condition.needs_text else None
  model = make_slm(run.config, run.spec, vocabulary)
  codec = token_fingerprint(load_params(run.codec_file))
  return kind.scores(model, run.params(model), codec, _about(weights))


def shipped_code_scores(name: str) -> CodeScores | None:
  """Loads the scores of a model that comes with the package; None if none does."""
  known = name in shipped.language_models()
  return load_code_scores(shipped.ROOT / name) if known else None


def _about(weights: files.PathLike) -> dict[str, str]:
  name = os.fspath(weights)
  if pathlib.Path(name).exists():
    name = pathlib.Path(name).resolve().name  # where it lies is nobody's business
  return {"name": name, "jax": jax.__version__, "platform": jax.default_backend()}
