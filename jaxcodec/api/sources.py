"""Finds a codec's weights by name, and how the codec is built that they are of."""

import json
import pathlib
from typing import Any, NamedTuple

from jaxcodec import files, hub, shipped
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.vocoder import Vocoder
from jaxcodec.porting import described
from jaxcodec.porting.families import needs_encodec
from jaxcodec.presets import PRESETS, PUBLISHED
from jaxcodec.weights import FILE, is_params, load_metadata, params_file

RANDOM = "random"  # in place of weights
_ENCODEC = "encodec_24khz"


class Source(NamedTuple):
  """Where a codec's weights lie.

  Attributes:
    path: the file, or a folder of the original's.
    ours: whether `weights.save_params` wrote the file.
    repository: of the hub, if it was fetched from there.
  """

  path: pathlib.Path
  ours: bool
  repository: hub.Repository | None

  def config(self) -> str | dict[str, Any]:
    """Returns the codec's preset or config, by the repository or by what files say.

    Raises:
      ValueError: they don't say it, or say something that no codec has.
    """
    config: str | dict[str, Any] | None
    if self.ours:
      config = header_config(self.path)
    elif (config := _preset_of(self.repository)) is None:
      config = described.codec_config(self.path)
    if not config:
      raise ValueError(
        f"{self.path} does not say which codec it is of: name a preset, one of"
        f" {sorted(PRESETS)}"
      )
    return config

  def encodec_path(self, codec: Codec | Vocoder) -> pathlib.Path | None:
    """Returns where EnCodec's weights lie, for a codec of the hub that contains it.

    None where the weights need no other file, or it has to lie beside them.
    """
    if self.ours or self.repository is None or not needs_encodec(codec):
      return None
    return hub.find(PUBLISHED[_ENCODEC])


def published(preset: str) -> Source:
  """Finds the weights of a codec's name.

  Args:
    preset: of a codec that comes with the package, a preset with published weights, a
      repository of the hub, or the path of a folder.

  Raises:
    ValueError: there is no such codec, or nobody published weights of this preset.
    OSError: see `hub.find`.
  """
  if preset in shipped.codecs():
    return find(shipped.ROOT / preset)
  if preset in PUBLISHED:
    return find(f"{hub.SCHEME}{PUBLISHED[preset]}")
  if preset in PRESETS:
    raise ValueError(
      f"no weights of {preset} are published: train it and name its work directory, or"
      f" take weights={RANDOM!r}; published: {sorted(PUBLISHED)}"
    )
  if hub.repository(preset) is None and not pathlib.Path(preset).exists():
    raise ValueError(f"there is no codec {preset!r}; {names()}")
  return find(preset)


def find(weights: files.PathLike) -> Source:
  """Finds weights; raises as `hub.find` does."""
  here = pathlib.Path(weights).exists()
  path = params_file(hub.find(weights), "codec")
  return Source(path, is_params(path), None if here else hub.repository(weights))


def names() -> str:
  """Lists the names of codecs, for errors."""
  others = sorted(PRESETS.keys() - PUBLISHED.keys())
  return (
    f"with weights: {shipped.codecs()}; published: {sorted(PUBLISHED)}, or any"
    f" user/repo of the Hugging Face Hub; without weights: {others}"
  )


def config_named(name: str) -> str | dict[str, Any] | None:
  """Returns the preset or config that a codec's name means; None if it means none."""
  if name in shipped.codecs():
    return header_config(shipped.ROOT / name / FILE)
  if name in PRESETS:
    return name
  return _preset_of(hub.repository(name))


def _preset_of(repository: hub.Repository | None) -> str | None:
  """Returns the preset whose published weights a repository has."""
  by_id = {repo_id: preset for preset, repo_id in PUBLISHED.items()}
  return None if repository is None else by_id.get(repository.id)


def header_config(path: pathlib.Path) -> dict[str, Any]:
  """Returns the codec's config in the header of our weights; {} if it has none.

  An experiment's header has the rate beside the config.
  """
  metadata = load_metadata(path)
  config = json.loads(metadata.get("config", "{}"))
  if "sample_rate" in metadata:
    config.setdefault("sample_rate", int(metadata["sample_rate"]))
  return config if "sample_rate" in config else {}
