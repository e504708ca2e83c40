"""The generate stage: held-out utterances spoken anew by the language model.

Each test utterance's semantic tokens are given (oracle, as in the study), behind those
of a prompt by the same speaker, whose codes are given too; the model fills in the rest.
"""

import hashlib
import json
import pathlib
from typing import Any

import jax
import numpy as np

from jaxcodec import build, export, files
from jaxcodec.data.audio_io import write_wav
from jaxcodec.data.split import PARTS
from jaxcodec.data.token_store import TokenSource
from jaxcodec.inference import bucketed
from jaxcodec.pipeline.audio_files import safe_name
from jaxcodec.pipeline.experiment import PARAMS, Experiment
from jaxcodec.progress import Progress
from jaxcodec.types import Tokens

INDEX = "index.jsonl"


def generate_all(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Writes a wav for each of the first test utterances, and the index of them.

  Each utterance has a random key of its own, so that it sounds the same whatever else
  is generated; what an interrupted run wrote is kept.
  """
  jobs = _jobs(experiment)
  todo = [job for job in jobs if not (folder / job["wav"]).exists()]
  if todo:
    _generate(experiment, folder, todo)
  shown = ("id", "speaker", "text", "seed", "prompt_id", "prompt_seconds", "wav")
  lines = [json.dumps({name: job[name] for name in shown}) + "\n" for job in jobs]
  files.write_text(folder / INDEX, "".join(lines))
  return [INDEX, *(job["wav"] for job in jobs)]


def _jobs(experiment: Experiment) -> list[dict[str, Any]]:
  """What to generate: the utterance's tokens, its prompt's, and the seed."""
  settings, spec = experiment.config["generate"], experiment.spec
  folder = experiment.done["tokens"].folder
  parts = {part: TokenSource(folder / f"{part}.array_record") for part in PARTS}
  most = int(settings["prompt_seconds"] * spec.frame_rate)
  jobs = []
  for index in range(min(len(parts["test"]), settings["num_utterances"])):
    record = parts["test"][index]
    prompt = _prompt(parts, record)
    frames = min(most, len(prompt["semantic_T"])) if prompt else 0
    seed = hashlib.sha256(f"{experiment.seed}:{record['id']}".encode()).digest()
    jobs.append(
      {
        **{name: record[name] for name in ("id", "speaker", "text", "samples")},
        "target_T": record["semantic_T"],
        "prompt_T": prompt["semantic_T"][:frames] if prompt else np.zeros(0, np.int32),
        "prompt_TxK": prompt["codes_TxK"][:frames] if prompt else None,
        "prompt_id": prompt["id"] if prompt else None,
        "prompt_seconds": frames / spec.frame_rate,
        "seed": int.from_bytes(seed[:4]) & 0x7FFFFFFF,
        "wav": f"{safe_name(record['id'])}.wav",
      }
    )
  return jobs


def _prompt(parts, record) -> dict[str, Any] | None:
  """Another utterance of the speaker, held out if there is one; the longest."""
  for names in (("valid", "test"), ("train",)):
    found = [
      (label["frames"], label["id"], parts[name], index)
      for name in names
      for index, label in enumerate(parts[name].labels)
      if label["speaker"] == record["speaker"] and label["id"] != record["id"]
    ]
    if found:
      *_, source, index = max(found, key=lambda one: one[:2])
      return source[index]
  return None


def _generate(experiment, folder, jobs):
  config, spec = experiment.config, experiment.spec
  model = build.make_slm(config, spec)
  params = export.load_params(experiment.done["slm"].folder / PARAMS)["params"]
  params, sampler = jax.device_put(params), build.make_sampler(config)
  lengths = [len(job["prompt_T"]) + len(job["target_T"]) for job in jobs]
  batch_size = config["generate"]["batch_size"]
  with Progress(len(jobs), "generate", unit="clips") as progress:
    for padded, rows, members in bucketed(lengths, lambda _: batch_size):
      batch = [jobs[i] for i in members]
      inputs = _inputs(batch, rows, padded, spec)
      codes_BxTxK = model.generate(params, sampler=sampler, **inputs).codes_BxTxK
      codes_BxTxK = np.asarray(codes_BxTxK)
      spoken = []
      for row, job in enumerate(batch):
        first = len(job["prompt_T"])
        spoken.append(codes_BxTxK[row, first : first + len(job["target_T"])])
      for job, audio_N in zip(batch, experiment.codec.decode(spoken), strict=True):
        path = folder / job["wav"]
        write_wav(path, audio_N[: job["samples"]], spec.sample_rate)
        progress.update()


def _inputs(jobs, rows, padded, spec) -> dict[str, Any]:
  semantic_BxT = np.zeros((rows, padded), np.int32)
  codes_BxTxK = np.zeros((rows, padded, spec.num_codebooks), np.int32)
  mask_BxT, prompt_BxT = (np.zeros((rows, padded), bool) for _ in range(2))
  for row, job in enumerate(jobs):
    semantic_T = np.concatenate([job["prompt_T"], job["target_T"]])
    semantic_BxT[row, : len(semantic_T)] = semantic_T
    mask_BxT[row, : len(semantic_T)] = True
    first = len(job["prompt_T"])
    prompt_BxT[row, :first] = True
    if first:
      codes_BxTxK[row, :first] = job["prompt_TxK"]
  seeds = [job["seed"] for job in jobs] + [0] * (rows - len(jobs))
  key_B = jax.vmap(jax.random.key)(np.array(seeds, np.uint32))
  return {
    "rng": key_B,
    "semantic_BxT": semantic_BxT,
    "mask_BxT": mask_BxT,
    "prompt": Tokens(codes_BxTxK, prompt_BxT),
  }
