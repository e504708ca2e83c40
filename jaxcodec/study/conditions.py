"""What the rows of a study differ in besides the parts that they are named for."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jaxcodec.stages import WITHOUT_EFFECT, flatten
from jaxcodec.study.evidence import decoder_kind
from jaxcodec.study.grid import StudyError

Config = Mapping[str, Any]

# Sections of a config that all rows share, and the fields that a language model's
# rows share with another one's.
_SHARED = ("data", "evaluate", "semantic")
_OF_ALL_SLMS = (
  ("slm_train", "steps"),
  ("generate", "prompt_seconds"),
  ("generate", "min_seconds"),
  ("generate", "max_seconds"),
)
_OF_A_SLM = ("slm", "slm_train", "generate", "text")
# Fields of the codec's parts that rows of another frame rate must have otherwise.
_OF_A_RATE = {
  "quantizer": ("num_codebooks", "codebook_size"),
  "decoder": ("hop", "n_fft", "strides"),
}
# Fields of language models that count frames.
_IN_FRAMES = ("frames_per_batch", "sampler.max_frames")
# Fields of `codec_train` that say which tokens a decoder is trained for.
_TOKENS = ("freeze", "init_from")
_ABSENT = "(absent)"


class Differences(NamedTuple):
  """Lines such as `codec_train.steps: 3 in dac-s0; 9 in baseline-s0`.

  Attributes:
    training: fields outside of the codec, such as data, steps and losses.
    codec: fields of the codec that are no part's own, such as quantiser dropout, and
      those of parts of the same kind.
    encoder: fields of the encoder, which some systems of the paper have their own of,
      and the frame rate, which comes with its strides.
  """

  training: list[str]
  codec: list[str]
  encoder: list[str]


def check_matched(
  configs: Mapping[str, Config], specs: Mapping[str, Mapping[str, Any]]
) -> Differences:
  """Compares rows, and accepts no difference but those of encoders and frame rates.

  Args:
    configs: each row's config, by the row's name.
    specs: each row's token spec, with at least `num_codebooks`, `frame_rate` (Hz) and
      `bitrate` (bits per second), as in results.json.

  Raises:
    StudyError: naming every field that differs, its values and the rows.
  """
  found = compare(configs, specs)
  if wrong := [*found.training, *found.codec]:
    raise StudyError("\n  ".join(["rows differ besides their parts:", *wrong]))
  return found


def of_codec(config: Config) -> Config:
  """Returns the config of a cell that trains a codec alone, as it is to be compared.

  It has the fields of some language model, which play no part there.
  """
  return {name: fields for name, fields in config.items() if name not in _OF_A_SLM}


def compare(
  configs: Mapping[str, Config], specs: Mapping[str, Mapping[str, Any]]
) -> Differences:
  """Returns every field in which rows differ besides quantiser and decoder.

  Quantisers are compared in the fields that both have, encoders and decoders with
  others of their kind, and the training of decoders for given tokens with others such,
  as codecs that make tokens may learn in another way. Rows of different frame rates
  must have one bitrate; fields that follow from the rate, such as the number of
  codebooks, are compared among rows of the same. Configs of rows that aren't done yet
  should have the defaults of parts written out, as `build.codec.with_defaults` does.

  Args:
    configs, specs: see `check_matched`.
  """
  training = {name: dict(_training(c, specs[name])) for name, c in configs.items()}
  by_role: dict[bool, dict[str, Any]] = {False: {}, True: {}}
  for name, config in configs.items():
    frozen = bool(config.get("codec_train", {}).get("freeze"))
    by_role[frozen][name] = dict(_codec_training(config))
  codec = {name: dict(_codec(c, specs[name])) for name, c in configs.items()}
  encoder = {name: dict(_encoder(c, specs[name])) for name, c in configs.items()}
  unequal = [line for rows in (training, *by_role.values()) for line in _unequal(rows)]
  return Differences(sorted(unequal), _unequal(codec), _unequal(encoder))


def _training(config: Config, spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  for name in _SHARED:
    yield from flatten(_with_effect(config, name), name)
  for section, field in _OF_ALL_SLMS:
    if section in config:
      yield from _scoped(section, {field: config[section].get(field)})
  slm = config.get("slm", {}).get("name")
  for name in _OF_A_SLM:
    for path, value in flatten(_with_effect(config, name)):
      rate = f" at {spec['frame_rate']:g} Hz" if path in _IN_FRAMES else ""
      yield f"{name} of {slm}{rate}: {path}", value
  yield "tokens.kbps", round(spec["bitrate"] / 1000, 6)
  yield from _scoped(
    f"tokens at {spec['frame_rate']:g} Hz", {"num_codebooks": spec["num_codebooks"]}
  )


def _codec_training(config: Config) -> Iterator[tuple[str, Any]]:
  section = _with_effect(config, "codec_train")
  section = {k: v for k, v in section.items() if k not in _TOKENS}
  weights = dict(section.get("weights", {}))
  # Of a loss that some quantisers alone have.
  taught = {k: weights.pop(k) for k in ("distill",) if k in weights}
  yield from _scoped("codec_train.weights", taught)
  yield from flatten({**section, "weights": weights}, "codec_train")


def _with_effect(config: Config, name: str) -> dict[str, Any]:
  """Returns a section without what no result depends on, such as where data lie."""
  section = dict(config.get(name) or {})
  for field in WITHOUT_EFFECT.get(name, ()):
    section.pop(field, None)
  return section


def _codec(config: Config, spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  codec = config["codec"]
  for field in ("sample_rate", "segments", "normalize", "dtype"):
    yield f"codec.{field}", codec.get(field)
  quantizer = {k: v for k, v in codec["quantizer"].items() if k != "name"}
  scopes = (
    ("quantizer", "codec.quantizer", quantizer),
    ("decoder", f"codec.decoder of {decoder_kind(codec)}", codec["decoder"]),
  )
  for part, scope, fields in scopes:
    of_rate = {k: fields[k] for k in _OF_A_RATE[part] if k in fields}
    yield from _scoped(scope, {k: v for k, v in fields.items() if k not in of_rate})
    yield from _scoped(f"{scope} at {spec['frame_rate']:g} Hz", of_rate)


def _encoder(config: Config, spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  fields = dict(config["codec"].get("encoder", {}))
  name = fields.pop("name", None)
  yield "codec.encoder.name", name
  yield from _scoped(f"codec.encoder of {name}", fields)
  yield "tokens.frame_rate", spec["frame_rate"]


def _scoped(scope: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  """Yields fields that are compared only with rows that have them."""
  for path, value in flatten(dict(fields)):
    yield f"{scope}: {path}", value


def _unequal(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
  """Returns a line a path whose values differ.

  A path with a scope (`scope: field`) is compared among the rows that have it.
  """
  lines = []
  for path in sorted({path for row in rows.values() for path in row}):
    names: dict[str, list[str]] = {}
    for name, row in rows.items():
      if path in row or ": " not in path:
        found = row.get(path)  # None is what a field means that earlier configs lack
        value = _ABSENT if found is None else json.dumps(found, default=str)
        names.setdefault(value, []).append(name)
    if len(names) > 1:
      values = "; ".join(f"{v} in {_listed(rows)}" for v, rows in names.items())
      lines.append(f"{path.replace(': ', '.', 1)}: {values}")
  return lines


def _listed(names: list[str], most: int = 3) -> str:
  more = f" and {len(names) - most} more" if len(names) > most else ""
  return ", ".join(names[:most]) + more
