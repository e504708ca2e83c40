"""`jaxcodec convert`: published weights to ours, and back."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxcodec import files, presets
from jaxcodec.api import sources
from jaxcodec.build.codec import make_preset
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.shapes import variable_shapes
from jaxcodec.codecs.vocoder import Vocoder
from jaxcodec.porting import originals, probe, readers, weight_norm_names
from jaxcodec.porting.weights import export_torch, import_weights
from jaxcodec.weights import BUFFERS, load_metadata, load_params, save_params


def convert_file(
  source: files.PathLike,
  preset: str | Mapping[str, Any] | None,
  out: files.PathLike,
  *,
  layout: str | None = None,
  verify: bool = False,
) -> str:
  """Converts published weights to a `params.safetensors`, or one of those back.

  Args:
    source: published weights (see `readers`) or a `params.safetensors`, as a path or by
      the name of a preset or repository.
    preset: name or config of the codec; None if the source says it.
    out: file to write, or a folder for Hugging Face's layout.
    layout: of what is written back, `original` or `huggingface`; None keeps the
      layout that the weights were read from.
    verify: also run probe audio through the codec and compare; beside weights that
      are written back, the result is kept as `probe.npz`.

  Returns:
    Lines for the user: what was done and, with `verify`, what was measured.

  Raises:
    OSError, ValueError: naming the file; nothing is written then.
  """
  found_at = sources.find(source)
  _check_out(found_at.path, pathlib.Path(out))
  if isinstance(preset, str):
    preset = sources.config_named(preset) or preset
  elif preset is None:
    preset = found_at.config()
  if found_at.ours:
    return _export(found_at.path, preset, pathlib.Path(out), layout, verify)
  if layout is not None:
    raise ValueError(f"{source}: --layout is for weights that are written back")
  config = presets.config_of(preset)
  codec = make_preset(config)
  found = import_weights(found_at.path, codec, found_at.encodec_path(codec))
  lines = [f"{source} ({found.layout} layout) -> {out}", *found.notes]
  if verify:
    stored = probe.load(_beside(found_at.path))
    lines.append(_verify(codec, found.variables, stored)[0])
  origin = {"layout": found.layout, "weight_norm": found.weight_norm}
  metadata = {"config": json.dumps(config), **origin}
  content = dict(found.variables)
  if found.buffers:
    content[BUFFERS] = found.buffers
  save_params(out, content, metadata)
  return "\n".join(lines)


def _export(
  source: files.PathLike,
  preset: str | Mapping[str, Any],
  out: pathlib.Path,
  layout: str | None,
  verify: bool,
) -> str:
  metadata = load_metadata(source)
  codec = make_preset(preset)
  shapes = variable_shapes(codec)
  variables = load_params(source, like=shapes)
  layout = layout or metadata.get("layout", "original")
  said, answer = _verify(codec, variables, None) if verify else ("", None)
  export_torch(
    variables,
    codec,
    out,
    layout,
    weight_norm=metadata.get("weight_norm", weight_norm_names.WEIGHT_G),
    buffers=load_params(source).get(BUFFERS),
  )
  lines = [f"{source} -> {out} ({layout} layout)"]
  if verify:
    lines.append(said)
  if answer is not None:
    probe.save(_beside(out), answer)
  return "\n".join(lines)


def _check_out(source: pathlib.Path, out: pathlib.Path) -> None:
  """Raises ValueError if what is converted would be overwritten."""
  if source.is_dir():
    source = readers.weights_file(source)
  if source.resolve() in (out.resolve(), (out / source.name).resolve()):
    raise ValueError(f"--out: {source} is what is converted; choose another place")


def _beside(weights: pathlib.Path) -> pathlib.Path:
  """Returns where the probe of a file or a folder of weights lies."""
  return (weights if weights.is_dir() else weights.parent) / probe.FILE


def _verify(
  codec: Codec | Vocoder, variables: Any, stored: probe.Probe | None
) -> tuple[str, probe.Probe | None]:
  """Returns what was measured, or why nothing was, and the codec's own answer."""
  if isinstance(codec, Vocoder):
    return "not verified: a vocoder makes no codes", None
  subject, against = probe.Subject(codec, variables), f"the stored {probe.FILE}"
  if stored is None:
    if reason := originals.why_absent(codec):
      said = f"not verified: no {probe.FILE} beside the weights, and {reason}"
      return said, subject.probe()
    against = originals.NAME
    stored = originals.run(codec, variables, subject.audio_BxNxC)
  agreement, error = probe.compare(subject, stored)
  size, values = stored.codes_BxTxK.size, len(np.unique(stored.codes_BxTxK))
  said = (
    f"{agreement:.4%} of {size} codes ({values} values) agree with {against}; the audio"
    f" of the same codes differs by {error:.1e} of its peak"
  )
  return said, subject.probe()
