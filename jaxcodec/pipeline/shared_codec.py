"""An experiment on the codec, tokens, or generated codes of other ones."""

import json
import os
import pathlib
from collections.abc import Mapping

from jaxcodec import stages, weights
from jaxcodec.build.fields import ConfigError

# Where an experiment finds the generate stage whose codes it speaks.
GENERATED = "generated"


def use_codec_of(source: str | os.PathLike, workdir: str | os.PathLike) -> None:
  """Links the finished codec and tokens of `source` into `workdir`.

  The links are relative, so that both can be moved together. The experiment should run
  the stages after them only, which don't write there. `evaluate` keeps what it measures
  of the codec alone in `source`'s folder `measured`, for the next experiment on it.

  Raises:
    ConfigError: `source` hasn't finished them, `workdir` has ones of its own, or the
      tokens are not the codec's.
  """
  _link(source, workdir, {"codec": "codec", "tokens": "tokens"}, "codec_from")
  _check_tokens(pathlib.Path(source))


def use_tokens_of(source: str | os.PathLike, workdir: str | os.PathLike) -> None:
  """Links the finished tokens of `source`, for which `workdir` trains a decoder.

  Raises:
    ConfigError: see `use_codec_of`.
  """
  _link(source, workdir, {"tokens": "tokens"}, "tokens_from")


def use_slm_of(source: str | os.PathLike, workdir: str | os.PathLike) -> None:
  """Links the language model of `source`, and what it generated as `generated`.

  The experiment then speaks the same codes by its own codec.

  Raises:
    ConfigError: see `use_codec_of`.
  """
  _link(source, workdir, {"slm": "slm", "generate": GENERATED}, "slm_from")


def _link(
  source: str | os.PathLike,
  workdir: str | os.PathLike,
  names: Mapping[str, str],
  option: str,
) -> None:
  """Links stages of `source`, each by the name that it is mapped to."""
  source, workdir = pathlib.Path(source), pathlib.Path(workdir)
  for name, own in names.items():
    if stages.load_stage(source, name) is None:
      raise ConfigError(f"{option}: {name!r} is not complete in {source}")
    link, target = workdir / own, (source / name).resolve()
    if link.resolve() == target:
      continue
    if link.exists() or link.is_symlink():
      raise ConfigError(f"{option}: {workdir} has a {own!r} of its own; remove it")
    workdir.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(target, workdir.resolve()))


def _check_tokens(source: pathlib.Path) -> None:
  """Raises ConfigError if tokens of another experiment are not those of the codec."""
  codec, tokens = ((source / name).resolve() for name in ("codec", "tokens"))
  if codec.parent == tokens.parent:
    return
  recorded = json.loads((tokens / "spec.json").read_text()).get("token_fingerprint")
  if recorded != weights.token_fingerprint(weights.load_params(codec / weights.FILE)):
    raise ConfigError(
      f"codec_from: the tokens in {source} were made by another encoder or quantiser"
      " than its codec has"
    )
