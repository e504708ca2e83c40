"""What `jaxcodec convert` does: a file of weights to another."""

import json
import pathlib
from typing import Any

from jaxcodec import build, export, files, presets
from jaxcodec.codecs.codec import Codec
from jaxcodec.porting import originals, probe
from jaxcodec.porting.weights import Preset, export_torch, imported


def convert_file(
  source: files.PathLike,
  preset: Preset | None,
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
  if export.is_params(source):
    return _exported(source, preset, pathlib.Path(out), layout, verify)
  if preset is None or layout is not None:
    raise ValueError(f"{source}: to convert it, name its preset and no layout")
  config, found = presets.config_of(preset), imported(source, preset)
  lines = [f"{source} ({found.layout} layout) -> {out}"]
  if verify:
    stored = probe.load(_beside(pathlib.Path(source)))
    lines.append(_compared(build.make_preset(config), found.variables, stored))
  origin = {"layout": found.layout, "weight_norm": found.weight_norm}
  metadata = {"config": json.dumps(config), **origin}
  content = dict(found.variables)
  if found.buffers:
    content[export.BUFFERS] = found.buffers
  export.save_params(out, content, metadata)
  return "\n".join(lines)


def _exported(source, preset, out, layout, verify):
  metadata = export.load_metadata(source)
  if preset is None and "config" not in metadata:
    raise ValueError(f"{source} does not say which codec it is of: name a preset")
  config = presets.config_of(
    json.loads(metadata["config"]) if preset is None else preset
  )
  codec = build.make_preset(config)
  shapes = build.variable_shapes(codec)
  variables = export.load_params(source, like=shapes)
  as_it_was = {n: metadata[n] for n in ("weight_norm",) if n in metadata}
  as_it_was["buffers"] = export.load_params(source).get(export.BUFFERS)
  layout = layout or metadata.get("layout", "original")
  export_torch(variables, config, out, layout, **as_it_was)
  lines = [f"{source} -> {out} ({layout} layout)"]
  if verify:
    lines.append(_compared(codec, variables, None))
    probe.save(_beside(out), probe.Subject(codec, variables).probe())
  return "\n".join(lines)


def _beside(weights: pathlib.Path) -> pathlib.Path:
  """Where the probe of a file or a folder of weights lies."""
  return (weights if weights.is_dir() else weights.parent) / probe.FILE


def _compared(codec: Codec, variables: Any, stored: probe.Probe | None) -> str:
  """What `verify` measured, or why it measured nothing."""
  subject, against = probe.Subject(codec, variables), f"the stored {probe.FILE}"
  if stored is None:
    if reason := originals.missing(codec):
      return f"not verified: no {probe.FILE} beside the weights, and {reason}"
    against = originals.NAME
    audio_BxNxC = probe.audio(subject.codec)
    stored = originals.answer(codec, variables, audio_BxNxC)
  return probe.report(subject, stored, against)
