"""What `jaxcodec convert` does: a file of weights to another."""

import json
import pathlib
from typing import Any

from jaxcodec import build, export, files
from jaxcodec.porting import originals, probe
from jaxcodec.porting.weights import Preset, expanded, export_torch, imported


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
  config, found = expanded(preset), imported(source, preset)
  lines = [f"{source} ({found.layout} layout) -> {out}"]
  if verify:
    stored = probe.load(_beside(pathlib.Path(source)))
    lines.append(_compared(config, found.variables, stored))
  origin = {"layout": found.layout, "weight_norm": found.weight_norm}
  metadata = {"config": json.dumps(config), **origin}
  export.save_params(out, found.variables, metadata)
  return "\n".join(lines)


def _exported(source, preset, out, layout, verify):
  metadata = export.load_metadata(source)
  if preset is None and "config" not in metadata:
    raise ValueError(f"{source} does not say which codec it is of: name a preset")
  config = expanded(json.loads(metadata["config"]) if preset is None else preset)
  shapes = build.variable_shapes(build.make_preset(config))
  variables = export.load_params(source, like=shapes)
  spelling = {n: metadata[n] for n in ("weight_norm",) if n in metadata}
  layout = layout or metadata.get("layout", "original")
  export_torch(variables, config, out, layout, **spelling)
  lines = [f"{source} -> {out} ({layout} layout)"]
  if verify:
    lines.append(_compared(config, variables, None))
    probe.save(_beside(out), probe.Subject(config, variables).probe())
  return "\n".join(lines)


def _beside(weights: pathlib.Path) -> pathlib.Path:
  """Where the probe of a file or a folder of weights lies."""
  return (weights if weights.is_dir() else weights.parent) / probe.FILE


def _compared(config: dict[str, Any], variables: Any, stored) -> str:
  """What `verify` measured, or why it measured nothing."""
  subject, against = probe.Subject(config, variables), f"the stored {probe.FILE}"
  if stored is None:
    if reason := originals.missing(config):
      return f"not verified: no {probe.FILE} beside the weights, and {reason}"
    against = originals.NAME
    audio_BxNxC = probe.audio(subject.codec)
    stored = originals.answer(config, variables, audio_BxNxC)
  return probe.report(subject, stored, against)
