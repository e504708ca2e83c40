"""The evaluate stage: measures reconstructions, generations and originals alike."""

import json
import pathlib

import numpy as np

from jaxcodec.data.audio.files import write_wav
from jaxcodec.data.token_store import TokenSource
from jaxcodec.evals import registry
from jaxcodec.evals.evaluate import evaluate, ground_truth, load_metrics
from jaxcodec.evals.metric import Item, Metric, MetricAbsent
from jaxcodec.evals.opus import opus_items
from jaxcodec.evals.results import build_results, write_results
from jaxcodec.pipeline.experiment import PARAMS, Experiment, read_wav, safe_name
from jaxcodec.pipeline.generate import INDEX
from jaxcodec.progress import Progress

RESULTS = "results.json"


def evaluate_all(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Measures held-out utterances; writes results.json and the audio."""
  reconstructed, audio = _reconstruct(experiment, folder)
  generated = _load_generated(experiment)
  originals = ground_truth(generated)
  opus, absent = opus_sets(experiment, reconstructed)
  sets = (
    ("reconstruction", "reconstruction", reconstructed),
    ("generation", "generation", generated),
    ("ground_truth", "generation", originals),
    *opus,
  )
  evaluations, asked, models = {}, {}, _own_weights(experiment)
  for name, metrics_of, items in sets:
    metrics = metrics_of_set(experiment, metrics_of)
    loaded = load_metrics(metrics)
    asked |= {metric.name: metric for metric in metrics}
    absent |= loaded.absent
    models |= loaded.models
    with Progress(len(items), f"measure {name}", unit="clips") as progress:
      evaluations[name] = evaluate(
        items, loaded.metrics, progress=lambda done, total, p=progress: p.update()
      )
  results = build_results(
    evaluations,
    list(asked.values()),
    token_spec=experiment.spec,
    config=experiment.config,
    models=models,
    absent=absent,
  )
  results["slm"] = _last_evaluation(experiment)
  results["endings"] = _endings(experiment)
  write_results(folder / RESULTS, results)
  return [RESULTS, *audio]


def metrics_of_set(experiment: Experiment, name: str) -> list[Metric]:
  """Makes the metrics of `evaluate.reconstruction` or `evaluate.generation`.

  `opus` has the reconstruction's, without those that need codes.
  """
  settings = experiment.config["evaluate"]
  names = settings["reconstruction" if name == "opus" else name]
  if name == "opus":
    names = [name for name in names if name not in registry.OF_CODES]
  return registry.make_metrics(
    names,
    spec=experiment.spec,
    asr=settings["asr"],
    speaker_model=settings["speaker"],
    utmos=settings["utmos"],
    threads=settings["threads"],
  )


def opus_sets(
  experiment: Experiment, items: list[Item]
) -> tuple[list[tuple[str, str, list[Item]]], dict[str, str]]:
  """Passes the originals through Opus at the codec's bitrate and twice that, if asked.

  Returns:
    (name of the set, name of its metrics, items) of each, and by `opus` how to install
    Opus where it is missing.
  """
  if not experiment.config["evaluate"]["opus"]:
    return [], {}
  bitrate = experiment.spec.bitrate
  try:
    sets = [
      (name, "opus", opus_items(items, times * bitrate))
      for name, times in (("opus", 1), ("opus_double", 2))
    ]
  except MetricAbsent as absent:
    return [], {"opus": str(absent)}
  return sets, {}


def _reconstruct(experiment, folder):
  """Codes the first test utterances; returns items to measure, and their wav files."""
  spec, source = experiment.spec, experiment.source
  records = TokenSource(experiment.done["tokens"].folder / "test.array_record")
  count = min(len(records), experiment.config["evaluate"]["num_utterances"])
  index_of = experiment.index_of()
  codes = [records[i]["codes_TxK"].astype(np.int32) for i in range(count)]
  items, files = [], []
  for i, decoded_N in enumerate(experiment.codec.decode(codes)):
    index = index_of[records.labels[i]["id"]]
    utterance, original_N = source.utterances[index], experiment.audio(index)
    decoded_N = decoded_N[: len(original_N)]
    for kind, audio_N in (("original", original_N), ("reconstruction", decoded_N)):
      file = f"audio/{safe_name(utterance.id)}.{kind}.wav"
      write_wav(folder / file, audio_N, spec.sample_rate)
      files.append(file)
    items.append(
      Item(
        id=utterance.id,
        speaker=utterance.speaker,
        text=utterance.text,
        sample_rate=spec.sample_rate,
        audio=decoded_N,
        reference=original_N,
        codes_TxK=codes[i],
      )
    )
  return items, files


def _load_generated(experiment):
  """Returns the generate stage's utterances as items to measure."""
  folder, spec = experiment.done["generate"].folder, experiment.spec
  index_of = experiment.index_of()
  items = []
  for line in (folder / INDEX).read_text().splitlines():
    row = json.loads(line)
    prompt_N = None
    if row["prompt_id"] is not None:
      samples = round(row["prompt_seconds"] * spec.sample_rate)
      prompt_N = experiment.audio(index_of[row["prompt_id"]])[:samples]
    items.append(
      Item(
        id=row["id"],
        speaker=row["speaker"],
        text=row["text"],
        sample_rate=spec.sample_rate,
        audio=read_wav(folder / row["wav"]) if row["wav"] else np.zeros(0, np.float32),
        reference=experiment.audio(index_of[row["id"]]),
        prompt=prompt_N,
        failed=_why_failed(row),
      )
    )
  return items


def _why_failed(row) -> str | None:
  """Says why an utterance cannot be measured; one that was cut is measured as it is."""
  return None if row["frames"] else "nothing was generated: the model ended at once"


def _endings(experiment) -> dict[str, int]:
  """Counts the generations that ended by themselves, were cut, or have no frames."""
  lines = (experiment.done["generate"].folder / INDEX).read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  empty = sum(not row["frames"] for row in rows)
  cut = sum(not row["ended"] for row in rows)
  return {"ended": len(rows) - cut - empty, "cut": cut, "empty": empty}


def _own_weights(experiment):
  """Returns the checksums of the codec's and the language model's weights."""
  return {
    stage: experiment.done[stage].outputs[PARAMS]["sha256"]
    for stage in ("codec", "slm")
  }


def _last_evaluation(experiment) -> dict[str, float]:
  """Returns the held-out losses, nats, and accuracies of the weights that are used."""
  lines = (experiment.done["slm"].folder / "metrics.jsonl").read_text().splitlines()
  evaluated = [row for row in map(json.loads, lines) if "eval/loss" in row]
  last = evaluated[-1] if evaluated else {}
  if evaluated and (best := experiment.config["slm_train"]["best"]) is not None:
    every = experiment.config["slm_train"]["checkpoint_every"]
    saved = [row for row in evaluated[:-1] if row["step"] % every == 0] + [last]
    choose = min if best[1] == "min" else max
    last = choose(saved, key=lambda row: row[best[0]])
  return {
    name.removeprefix("eval/"): value
    for name, value in last.items()
    if name.startswith("eval/")
  }
