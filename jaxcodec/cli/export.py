"""`jaxcodec export`: a trained run as a small folder of weights with a model card.

Or a codec as programs that need no jaxcodec; see `jaxcodec.deploy`.
"""

import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxcodec import files, shipped, stages, weights
from jaxcodec.api.slm_loading import SHARED_CODEC
from jaxcodec.build.conditions import SEMANTIC, VOCABULARY
from jaxcodec.cli import model_card


def export_run(
  run: files.PathLike,
  out: files.PathLike,
  part: str,
  remarks: model_card.Remarks = model_card.TO_WRITE,
  bits: int = 16,
) -> str:
  """Writes a run's codec or language model, in float16, with a model card.

  A language model is written without its codec where that comes with the package, as
  float16 has it. Where it doesn't, the codec is in float16 whatever `bits` says, so
  that its tokens stay those that the model was trained on.

  Args:
    run: the work directory of an experiment.
    out: folder, made if it is not there. A model card that is there already stays.
    part: "codec" or "slm".
    remarks: for the model card, what the run doesn't say; left to be written if absent.
    bits: of each of the part's weights, 16 or 8; see `weights.narrow`.

  Returns:
    Lines for the user.

  Raises:
    FileNotFoundError, ValueError: naming the file.
  """
  run, out = pathlib.Path(run), pathlib.Path(out)
  config_file = run / "config.json"
  if not (run / part / weights.FILE).is_file() or not config_file.is_file():
    raise FileNotFoundError(f"{run}: expected a work directory with a trained {part}")
  done = [out / name / stages.DONE for name in ("codec", "slm")]
  if out.resolve() == run.resolve() or any(path.exists() for path in done):
    raise ValueError(f"--out: {out} is an experiment's work directory; choose another")
  config = json.loads(config_file.read_text(encoding="utf-8"))["config"]
  if part == "codec":
    _copy(run / "codec" / weights.FILE, out / weights.FILE, bits)
  else:
    _export_slm(run, config, out, bits)
  if not (out / shipped.CARD).exists():
    card = model_card.card(out.name, run, out, part, remarks)
    files.write_text(out / shipped.CARD, card)
  sizes = [path.stat().st_size for path in out.rglob(weights.FILE)]
  return (
    f"{run} -> {out}: {sum(sizes) / 1e6:.1f} MB\n"
    f"complete the model card: {out / shipped.CARD}"
  )


def export_programs(
  preset: str | None, source: files.PathLike, out: files.PathLike, seconds: float
) -> str:
  """Writes a codec's encode and decode as programs; see `deploy.folder.write`.

  Args:
    preset: of weights that don't say it.
    source: weights that `jaxcodec.load` takes.
    out: folder, made if it is not there.
    seconds: length of the longest clip that must fit.

  Returns:
    A line for the user.

  Raises:
    FileNotFoundError, ValueError: naming what is wrong.
  """
  from jaxcodec.api.loading import load_variables
  from jaxcodec.codecs.codec import Codec
  from jaxcodec.deploy import folder

  codec, variables = load_variables(preset, source)
  if not isinstance(codec, Codec):
    raise ValueError(f"{source}: is a vocoder: it makes no tokens to export")
  about = folder.write(codec, variables, out, seconds)
  longest = about["encode"][-1] * about["hop"] / about["sample_rate"]
  return (
    f"{source} -> {out}: programs for clips of up to {longest:.1f} s;"
    f" {pathlib.Path(out) / folder.CARD} says how to run them"
  )


def _export_slm(
  run: pathlib.Path, config: Mapping[str, Any], out: pathlib.Path, bits: int
) -> None:
  codec_file = run / "codec" / weights.FILE
  record: dict[str, Any] = {"config": _portable(config)}
  if shared := _shipped_codec(codec_file):
    record[SHARED_CODEC] = shared
    checksum = files.sha256(shipped.ROOT / shared / weights.FILE)
  else:
    checksum = _copy(codec_file, out / "codec" / weights.FILE, 16)
  files.write_json(out / "config.json", record)
  _copy(run / "slm" / weights.FILE, out / "slm" / weights.FILE, bits)
  spec = json.loads((run / "slm" / "spec.json").read_text(encoding="utf-8"))
  files.write_json(out / "slm" / "spec.json", {**spec, "codec_sha256": checksum})
  for name in (VOCABULARY, SEMANTIC):
    if (run / "slm" / name).is_file():
      shutil.copyfile(run / "slm" / name, out / "slm" / name)


def _portable(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the config without the paths that it had on the machine of the run."""
  changed = {"data": {**config["data"], "path": None}}
  for section in ("codec_train", "slm_train"):
    changed[section] = {**config[section], "init_from": None}
  return {**config, **changed}


def _copy(source: pathlib.Path, target: pathlib.Path, bits: int) -> str:
  variables, metadata = weights.load_params(source), weights.load_metadata(source)
  return weights.save_params(target, variables, metadata, bits=bits)


def _shipped_codec(path: pathlib.Path) -> str | None:
  """Returns the name of the codec that has these weights, once they are float16."""
  variables = weights.load_params(path)
  rounded = weights.fingerprint(_rounded(variables))
  for name in shipped.codecs():
    theirs = weights.load_params(shipped.ROOT / name / weights.FILE)
    if weights.fingerprint(theirs) == rounded:
      return name
  return None


def _rounded(tree: Any) -> Any:
  if isinstance(tree, Mapping):
    return {name: _rounded(child) for name, child in tree.items()}
  return tree.astype(np.float16) if tree.dtype == np.float32 else tree
