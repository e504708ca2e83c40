"""Writes the finished cells of a made-up study."""

import json
import zlib

import numpy as np
import soundfile

from jaxcodec import files, presets, stages
from jaxcodec.data.token_store import write_tokens
from jaxcodec.evals.evaluate import SetMeasures
from jaxcodec.evals.registry import make_metrics
from jaxcodec.evals.results import build_results, read_results, write_results
from jaxcodec.stats import means
from jaxcodec.study import grid
from jaxcodec.types import TokenSpec

SPEC = TokenSpec(num_codebooks=2, codebook_size=8, hop=320, sample_rate=16_000)
SETTINGS = {
  "arg": "runlocal",
  "codecs": ["encodecq_vocos", "encodecq_dac", "dacq_vocos", "dac"],
  "slms": {"maskgit": "configs/a.py", "other": "configs/b.py"},
  "codecs_of": "maskgit",
  "seeds": [0],
  "overrides": ["data.source=folder"],
  "measures": {
    "reconstruction": "pesq_wb",
    "naturalness": "dnsmos_ovrl",
    "intelligibility": "wer",
    "speaker": "speaker_similarity",
  },
  "margins": {"naturalness": 0.1, "intelligibility": 0.03, "speaker": 0.03},
  "listening": {"sentences": 6, "originals": True},
}
CODEC_TRAIN = {
  "steps": 3,
  "batch_size": 4,
  "crop_seconds": 0.5,
  "adversarial_start": 2,
}
RECONSTRUCTION = ("pesq_wb", "codebook_usage")
GENERATION = ("wer", "speaker_similarity", "dnsmos_ovrl")


def settings(**changes):
  return {**SETTINGS, **changes}


def write_cells(cells, **changes):
  """Writes the stages that each cell should have finished."""
  for cell in cells:
    if cell.last == "tokens":
      stages.run_stage(cell.workdir, "tokens", {}, lambda f, c=cell: _tokens(f, c))
    elif cell.last != "evaluate":
      stages.run_stage(cell.workdir, cell.last, {}, lambda f: [])
    else:
      results = fake_results(cell, **changes)
      stages.run_stage(
        cell.workdir, "evaluate", {}, lambda f, r=results: _evaluate(f, r)
      )


def _rng(*parts):
  return np.random.default_rng(zlib.crc32(repr(parts).encode()))


def _tokens(folder, cell):
  outputs = []
  for part, count in (("train", 6), ("test", 2)):
    rng = _rng(cell.codec, part)
    records = (
      {"id": f"{part}{i}", "speaker": "a", "text": "b",
       "codes_TxK": rng.integers(0, 8, (50, 2)).astype(np.uint16),
       "semantic_T": rng.integers(0, 4, 50)}
      for i in range(count)
    )  # fmt: skip
    write_tokens(folder / f"{part}.array_record", records)
    outputs.append(f"{part}.array_record")
  files.write_json(folder / "spec.json", {"token_spec": {"codebook_size": 8}})
  return [*outputs, "spec.json"]


def _evaluate(folder, results):
  write_results(folder / "results.json", results)
  return ["results.json"]


def fake_results(cell, *, utterances=10, config=None):
  """Returns a cell's results.json, in which DAC's parts are better than others."""
  lead = cell.codec.count("dac")
  rng = _rng(cell.codec, cell.seed)
  evaluations = {
    "reconstruction": _evaluation(rng, utterances, RECONSTRUCTION, lead),
    "generation": _evaluation(_rng(*cell.command), utterances, GENERATION, lead),
    "ground_truth": _evaluation(_rng(cell.seed), utterances, GENERATION, 5),
  }
  metrics = make_metrics((*RECONSTRUCTION, *GENERATION), spec=SPEC)
  results = build_results(
    evaluations,
    metrics,
    token_spec=SPEC,
    config={**fake_config(cell.codec), "seed": cell.seed, **(config or {})},
    models={"whisper": "00ff", "codec": cell.codec},
    absent={},
  )
  cut = int(cell.slm == "other")
  return {**results, "endings": {"ended": utterances - cut, "cut": cut, "empty": 0}}


def _evaluation(rng, utterances, metrics, lead):
  rows, summary = [], {}
  words_U = 3 + np.arange(utterances) % 7  # the texts are the same for all systems
  for index, words in enumerate(words_U):
    row = {"id": f"u{index}", "speaker": "a", "text": "t", "seconds": 1.0, "failed": {}}
    for metric in metrics:
      row[metric] = float(lead + rng.normal())
      if metric == "wer":
        row["wer"] = float(rng.binomial(words, 0.5 - 0.1 * lead) / words)
        row["wer_weight"] = int(words)
    rows.append(row)
  for metric in metrics:
    weights = words_U if metric == "wer" else None
    values = np.array([row[metric] for row in rows])
    counts = {"n": utterances, "n_failed": 0}
    summary[metric] = {**means.estimate(values, weights), **counts}
  return SetMeasures(summary, rows)


def write_sounds(cells, utterances=2):
  """Writes sounds of the cells' first utterances, and the files that name them."""
  for cell in cells:
    if cell.design is None:
      continue
    results = read_results(cell.workdir / "evaluate" / "results.json")
    write_results(cell.workdir / "results.json", results)
    record = {"config": {}, "command": "python", "versions": {}}
    files.write_json(cell.workdir / "config.json", record)
    for folder in ("generate", "evaluate/audio"):
      (cell.workdir / folder).mkdir(parents=True, exist_ok=True)
    rows = [row for row in results["utterances"] if row["set"] == "generation"]
    lines = []
    for row in rows[:utterances]:
      for path in (
        f"evaluate/audio/{row['id']}.original.wav",
        f"evaluate/audio/{row['id']}.reconstruction.wav",
        f"generate/{row['id']}.wav",
      ):
        noise = 0.1 * _rng(cell.name, path).normal(size=8000)
        soundfile.write(cell.workdir / path, noise, 16_000)
      line = {"id": row["id"], "speaker": "a", "text": "t", "wav": f"{row['id']}.wav"}
      lines.append(json.dumps(line) + "\n")
    (cell.workdir / "generate" / "index.jsonl").write_text("".join(lines))


def fake_config(codec):
  return {
    "data": {"source": "folder", "sample_rate": 16_000, "options": {"name": None}},
    "codec": presets.preset(codec),
    "codec_train": CODEC_TRAIN,
    "slm_train": {"steps": 4, "batch_size": 2, "crop_seconds": 4.0},
    "generate": {"prompt_seconds": 3.0, "num_utterances": 9},
    "evaluate": {"num_utterances": 10},
  }


def plan(workdir, **changes):
  return grid.plan(settings(**changes), workdir, "launch/main.py")
