"""What `jaxcodec convert` does: a file of weights to another."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxcodec import files, presets
from jaxcodec.build.codec import make_preset
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.shapes import variable_shapes
from jaxcodec.codecs.vocoder import Vocoder
from jaxcodec.porting import originals, probe
from jaxcodec.porting.weights import export_torch, imported
from jaxcodec.weights import BUFFERS, is_params, load_metadata, load_params, save_params


def convert_file(
  source: files.PathLike,
  preset: str | Mapping[str, Any] | None,
  out: files.PathLike,
  *,
  layout: str | None = None,
  verify: bool = False,
) -> str:
  """Published weights to a `params.safetensors`, or one of those back.

  Args:
    source: published weights (see `readers`), or a `params.safetensors`.
    preset: name or config of the codec; None if the source carries its config.
    out: file to write, or a folder for Hugging Face's layout.
    layout: in which to write ours back, `original` or `huggingface`; None as it came.
    verify: also run probe audio through the codec and compare; weights that are
      written back get its result as `probe.npz` beside them.

  Returns:
    What was done and, with `verify`, what was measured.

  Raises:
    FileNotFoundError, ValueError: naming the file; nothing is written then.
  """
  if is_params(source):
    return _exported(source, preset, pathlib.Path(out), layout, verify)
  if preset is None or layout is not None:
    raise ValueError(f"{source}: to convert it, name its preset and no layout")
  config = presets.config_of(preset)
  codec = make_preset(config)
  found = imported(source, codec)
  lines = [f"{source} ({found.layout} layout) -> {out}"]
  if verify:
    stored = probe.load(_beside(pathlib.Path(source)))
    lines.append(_verified(codec, found.variables, stored)[0])
  origin = {"layout": found.layout, "weight_norm": found.weight_norm}
  metadata = {"config": json.dumps(config), **origin}
  content = dict(found.variables)
  if found.buffers:
    content[BUFFERS] = found.buffers
  save_params(out, content, metadata)
  return "\n".join(lines)


def _exported(source, preset, out, layout, verify):
  metadata = load_metadata(source)
  if preset is None and "config" not in metadata:
    raise ValueError(f"{source} does not say which codec it is of: name a preset")
  config = presets.config_of(_carried(metadata) if preset is None else preset)
  codec = make_preset(config)
  shapes = variable_shapes(codec)
  variables = load_params(source, like=shapes)
  as_it_was = {n: metadata[n] for n in ("weight_norm",) if n in metadata}
  as_it_was["buffers"] = load_params(source).get(BUFFERS)
  layout = layout or metadata.get("layout", "original")
  export_torch(variables, codec, out, layout, **as_it_was)
  lines = [f"{source} -> {out} ({layout} layout)"]
  if verify:
    said, answer = _verified(codec, variables, None)
    lines.append(said)
    if answer is not None:
      probe.save(_beside(out), answer)
  return "\n".join(lines)


def _carried(metadata: dict[str, str]) -> dict[str, Any]:
  """The codec's config in a header; an experiment's has the rate beside it."""
  config = json.loads(metadata["config"])
  if "sample_rate" in metadata:
    config.setdefault("sample_rate", int(metadata["sample_rate"]))
  return config


def _beside(weights: pathlib.Path) -> pathlib.Path:
  """Where the probe of a file or a folder of weights lies."""
  return (weights if weights.is_dir() else weights.parent) / probe.FILE


def _verified(
  codec: Codec | Vocoder, variables: Any, stored: probe.Probe | None
) -> tuple[str, probe.Probe | None]:
  """What was measured, or why nothing was, and the codec's own answer."""
  if isinstance(codec, Vocoder):
    return "not verified: a vocoder makes no codes", None
  subject, against = probe.Subject(codec, variables), f"the stored {probe.FILE}"
  if stored is None:
    if reason := originals.missing(codec):
      said = f"not verified: no {probe.FILE} beside the weights, and {reason}"
      return said, subject.probe()
    against = originals.NAME
    stored = originals.answer(codec, variables, subject.audio_BxNxC)
  agreement, error = probe.compare(subject, stored)
  size, values = stored.codes_BxTxK.size, len(np.unique(stored.codes_BxTxK))
  said = (
    f"{agreement:.4%} of {size} codes ({values} values) agree with {against}; the audio"
    f" of the same codes differs by {error:.1e} of its peak"
  )
  return said, subject.probe()
