"""The evaluate stage: measures reconstructions, generations and originals alike."""

import collections
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

import jaxcodec
from jaxcodec.data import held_out
from jaxcodec.data.audio.files import write_wav
from jaxcodec.data.text.languages import DEFAULT as ENGLISH
from jaxcodec.data.token_store import TokenSource
from jaxcodec.evals import registry
from jaxcodec.evals.evaluate import (
  SetMeasures,
  evaluate_shown,
  ground_truth,
  load_metrics,
)
from jaxcodec.evals.kept import measure_once
from jaxcodec.evals.metric import EvalClip, Metric
from jaxcodec.evals.results import build_results, package_versions, write_results
from jaxcodec.pipeline import kept_measures, reference_codecs
from jaxcodec.pipeline.experiment import PARAMS, Experiment, read_wav, safe_name
from jaxcodec.pipeline.generate import INDEX, LEFT_OUT
from jaxcodec.pipeline.records import recorded_config
from jaxcodec.report.format import below_yardstick
from jaxcodec.types import TokenSpec

RESULTS = "results.json"


def evaluate_all(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Measures held-out utterances; writes results.json and the audio."""
  reconstructed, audio = _reconstruct(experiment, folder)
  generated = _load_generated(experiment)
  originals = ground_truth(generated)
  references = reference_codecs.make_sets(experiment, reconstructed)
  of_references = reference_codecs.content(experiment, reconstructed)
  of_references["models"] = references.models
  of_codec = _content(experiment, reconstructed)
  of_originals = kept_measures.digest(originals)
  sets = (
    ("reconstruction", "reconstruction", lambda: reconstructed, of_codec),
    ("generation", "generation", lambda: generated, None),
    ("ground_truth", "generation", lambda: originals, of_originals),
    *(
      (name, "references", make, of_references)
      for name, make in references.sets.items()
    ),
  )
  evaluations, asked, absent = {}, {}, references.absent
  models = _own_weights(experiment) | references.models
  for name, metrics_of, clips, content in sets:
    metrics = metrics_of_set(experiment.config, experiment.spec, metrics_of)
    loaded = load_metrics(metrics)
    asked |= {metric.name: metric for metric in metrics}
    absent |= loaded.absent
    models |= loaded.models
    evaluations[name] = _measure(experiment, name, clips, loaded, content)
  results = build_results(
    evaluations,
    list(asked.values()),
    token_spec=experiment.spec,
    config=experiment.config,
    models=models,
    absent=absent,
  )
  results["data_fingerprint"] = experiment.source.fingerprint
  results["slm"] = _last_evaluation(experiment)
  results["endings"] = _endings(experiment)
  results["left_out"] = _left_out(experiment)
  write_results(folder / RESULTS, results)
  if behind := below_yardstick(results):
    logging.warning("%s", behind)
  return [RESULTS, *audio]


def _measure(experiment, name, clips, loaded, content) -> SetMeasures:
  """Measures a set; one that other experiments have too only once, where it is kept.

  Args:
    experiment, name, loaded: the experiment, the set, and its metrics.
    clips: makes the set's clips.
    content: plain data that the clips follow from; None if they are of this experiment
      alone.
  """

  def measure():
    return evaluate_shown(name, clips(), loaded.metrics)

  folder = kept_measures.folder_of(experiment)
  if folder is None or content is None:
    return measure()
  inputs = {
    "version": jaxcodec.__version__,
    "evaluate": recorded_config(experiment, "evaluate"),
    "language": _language_of_texts(experiment.config),
    "clips": content,
    "metrics": {metric.name: metric.describe() for metric in loaded.metrics},
    "models": loaded.models,
    "absent": loaded.absent,
    "packages": package_versions(loaded.metrics),
  }
  return measure_once(folder, name, inputs, measure)


def _content(experiment, reconstructed) -> dict[str, Any]:
  """Returns plain data that the reconstructions follow from.

  It isn't their samples, as two decodings on a GPU may differ in the last bits.
  """
  return {
    "codec": experiment.config["codec"],
    "stages": {name: experiment.done[name].as_input() for name in ("codec", "tokens")},
    "originals": kept_measures.digest(ground_truth(reconstructed)),
  }


def metrics_of_set(
  config: Mapping[str, Any], spec: TokenSpec, name: str
) -> list[Metric]:
  """Makes the metrics of `evaluate.reconstruction` or `evaluate.generation`.

  `references`, of any other codec, has the reconstruction's without those that need
  codes.
  """
  settings = config["evaluate"]
  names = settings["reconstruction" if name == "references" else name]
  metrics = registry.make_metrics(
    names,
    spec=spec,
    asr=settings["asr"],
    speaker_model=settings["speaker"],
    utmos=settings["utmos"],
    threads=settings["threads"],
    language=settings.get("language") or _language_of_texts(config),
  )
  return [metric for metric in metrics if name != "references" or not metric.of_codes]


def _language_of_texts(config):
  return config.get("text", {}).get("language", ENGLISH)


def _reconstruct(experiment, folder):
  """Codes some test utterances; returns clips to measure, and their wav files.

  They are those that were generated, so that what is generated stands beside what its
  codec leaves of the same sentences, and others where more are asked for.
  """
  spec, source = experiment.spec, experiment.source
  records = TokenSource(experiment.done["tokens"].folder / "test.array_record")
  count = min(len(records), experiment.config["evaluate"]["num_utterances"])
  index_of = experiment.index_of()
  names = [label["id"] for label in records.labels]
  said = {row["id"] for row in _generated_rows(experiment)}
  by_chance = held_out.by_chance(names)
  chosen = sorted(by_chance, key=lambda i: names[i] not in said)[:count]
  codes = [records[i]["codes_TxK"].astype(np.int32) for i in chosen]
  clips, files = [], []
  for i, decoded_N in enumerate(experiment.codec.decode(codes)):
    index = index_of[names[chosen[i]]]
    utterance, original_N = source.utterances[index], experiment.audio(index)
    decoded_N = decoded_N[: len(original_N)]
    wavs = {}
    for kind, audio_N in (("original", original_N), ("reconstruction", decoded_N)):
      file = f"audio/{safe_name(utterance.id)}.{kind}.wav"
      write_wav(folder / file, audio_N, spec.sample_rate)
      files.append(file)
      wavs[kind] = f"evaluate/{file}"
    clips.append(
      EvalClip(
        id=utterance.id,
        speaker=utterance.speaker,
        text=utterance.text,
        sample_rate=spec.sample_rate,
        audio=decoded_N,
        reference=original_N,
        codes_TxK=codes[i],
        wavs=wavs,
      )
    )
  return clips, files


def _generated_rows(experiment) -> list[dict[str, Any]]:
  """Returns what the generate stage's index says of each utterance."""
  text = (experiment.done["generate"].folder / INDEX).read_text()
  return [json.loads(line) for line in text.splitlines()]


def _load_generated(experiment):
  """Returns the generate stage's utterances as clips to measure."""
  folder, spec = experiment.done["generate"].folder, experiment.spec
  index_of = experiment.index_of()
  clips = []
  for row in _generated_rows(experiment):
    prompt_N = None
    if row["prompt_id"] is not None:
      samples = round(row["prompt_seconds"] * spec.sample_rate)
      prompt_N = experiment.audio(index_of[row["prompt_id"]])[:samples]
    clips.append(
      EvalClip(
        id=row["id"],
        speaker=row["speaker"],
        text=row["text"],
        sample_rate=spec.sample_rate,
        audio=read_wav(folder / row["wav"]) if row["wav"] else np.zeros(0, np.float32),
        reference=experiment.audio(index_of[row["id"]]),
        prompt=prompt_N,
        wavs={"generated": f"generate/{row['wav']}"} if row["wav"] else {},
      )
    )
  return clips


def _endings(experiment) -> dict[str, int]:
  """Counts the generations that ended by themselves, were cut, or have no frames."""
  rows = _generated_rows(experiment)
  empty = sum(not row["frames"] for row in rows)
  cut = sum(not row["ended"] for row in rows)
  return {"ended": len(rows) - cut - empty, "cut": cut, "empty": empty}


def _left_out(experiment) -> dict[str, int]:
  """Counts the test utterances that weren't generated for their length, by reason."""
  path = experiment.done["generate"].folder / LEFT_OUT
  rows = json.loads(path.read_text()) if path.is_file() else []  # of earlier versions
  return dict(collections.Counter(row["reason"] for row in rows))


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
