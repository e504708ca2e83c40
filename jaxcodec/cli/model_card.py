"""The model card of a run: what it is, on what it was trained, what was measured."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import yaml

from jaxcodec import presets, weights
from jaxcodec.build.codec import make_codec
from jaxcodec.data.text.languages import DEFAULT
from jaxcodec.hub import layouts
from jaxcodec.report.format import align, interval, metric_label, number

PROMPT = "Say here"  # how lines begin that the author has to write
_MEASURED = {"codec": "reconstruction", "slm": "generation"}
_TASKS = {"codec": "audio-to-audio", "slm": "text-to-speech"}
_LOADERS = {"codec": "load", "slm": "load_slm"}


class Remarks(NamedTuple):
  """What a run does not say.

  Attributes:
    purpose: what the model is for.
    data: which recordings, how many hours, under which licence.
    limits: what the model should not be used for.
    licence: of the weights.
  """

  purpose: str
  data: str
  limits: str
  licence: str


TO_WRITE = Remarks(
  f"{PROMPT} in a line what it is for.",
  f" {PROMPT} which recordings, how many hours, and under which license.",
  f"{PROMPT} what it should not be used for.",
  f"{PROMPT} under which license the weights are.",
)


def stated(repo_id: str, part: str, licence: str) -> Remarks:
  """Returns remarks for a card that nobody completes by hand."""
  return Remarks(
    f'A {layouts.TITLES[part]}: `jaxcodec.{_LOADERS[part]}("{repo_id}")`.',
    "",
    "Sound unlike what it was trained on: nothing else was measured.",
    licence,
  )


def card(
  name: str, run: pathlib.Path, out: pathlib.Path, part: str, remarks: Remarks
) -> str:
  """Returns the model card of a run.

  Args:
    name: the title.
    run: the work directory.
    out: the folder with the exported weights.
    part: "codec" or "slm".
    remarks: what the run does not say.
  """
  config = json.loads((run / "config.json").read_text(encoding="utf-8"))["config"]
  steps = {stage: config[f"{stage}_train"]["steps"] for stage in ("codec", part)}
  trained = ", ".join(f"{count} steps of the {stage}" for stage, count in steps.items())
  split = json.loads((run / "codec" / "split.json").read_text(encoding="utf-8"))
  data = f"`data.source={config['data']['source']}`, {len(split['train'])} utterances."
  return f"""# {name}

{remarks.purpose}

{_facts(config, out, part, remarks.licence)}

## Trained on

{data}{remarks.data}
{trained}; `seed={config["seed"]}`.

## Measures

{_measures(run / "results.json", _MEASURED[part])}

## Not good for

{remarks.limits}

## Config

```json
{json.dumps(config["codec" if part == "codec" else "slm"], indent=2, sort_keys=True)}
```
"""


def front_matter(part: str, licence: str) -> str:
  """Returns the lines that the hub reads at the top of a model card."""
  said = {
    "license": licence,
    "library_name": "jaxcodec",
    "pipeline_tag": _TASKS[part],
    "tags": ["neural-audio-codec" if part == "codec" else "speech-language-model"],
  }
  return f"---\n{yaml.safe_dump(said, sort_keys=False)}---\n"


def _facts(
  config: Mapping[str, Any], out: pathlib.Path, part: str, licence: str
) -> str:
  spec = make_codec(config).spec
  parts = presets.expand(config["codec"])
  names = ", ".join(
    f"{parts[p]['name']} {p}" for p in ("encoder", "quantizer", "decoder")
  )
  rows = [
    ("codec", names),
    (
      "rates",
      f"{spec.sample_rate / 1000:g} kHz, {spec.frame_rate:g} frames a second,"
      f" {spec.num_codebooks} codebooks of {spec.codebook_size} codes:"
      f" {spec.bitrate / 1000:g} kbit/s",
    ),
  ]
  if part == "slm":
    rows.append(("language model", config["slm"]["name"]))
    if "text" in config:
      rows.append(("language", config["text"].get("language", DEFAULT)))
  folder = out / "slm" if part == "slm" else out
  rows.append(("size", _size(folder / weights.FILE)))
  rows.append(("license", licence))
  return "\n".join(["| | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])


def _size(path: pathlib.Path) -> str:
  params = weights.load_params(path)["params"]
  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  return f"{count / 1e6:.1f} M parameters, {path.stat().st_size / 1e6:.1f} MB"


def _measures(path: pathlib.Path, name: str) -> str:
  results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
  if not results.get(name):
    return "None yet."
  rows = [
    (metric_label(m, results["metrics"][m]), number(v["mean"]), interval(v["ci95"]))
    for m, v in results[name].items()
  ]
  count = max(value["n"] for value in results[name].values())
  table = align([("measure", "mean", "95 % interval"), *rows])
  return f"Of {count} held-out utterances of the same data.\n\n{table}"
