"""The tokens stage: every recording as codes and frame-aligned semantic tokens."""

import dataclasses
import functools
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
from absl import logging

from jaxcodec import files, weights
from jaxcodec.build.conditions import SEMANTIC, VOCABULARY
from jaxcodec.data.split import PARTS
from jaxcodec.data.token_store import join_tokens, write_tokens
from jaxcodec.inference import placement
from jaxcodec.inference.frames import by_frame
from jaxcodec.parallel import processes, sharding
from jaxcodec.pipeline.experiment import PARAMS, Experiment
from jaxcodec.progress import Progress
from jaxcodec.semantic import tokenizer as semantic

SPEC, SKIPPED_TEXTS = "spec.json", "skipped.json"
# Recordings that are encoded together and written to one file, a piece; the pieces of a
# part are joined when all are there.
_CHUNK, PIECES = 64, "pieces"
# Frames that the semantic tokeniser is fitted on, and how many it may choose them from.
_FIT_FRAMES, _MOST_FRAMES = 200_000, 400_000
_MOST_SAMPLES = 2**22  # of a batch of features on a device


def write_all(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Fits the semantic tokeniser on the training part, then tokenises every part.

  What an interrupted run completed (the tokeniser, pieces) is kept. Processes share the
  pieces; but for rounding, the files do not depend on the number of processes.
  """
  place = placement.for_corpus()
  # HuBERT's attention holds a number for each pair of a row's frames.
  place = dataclasses.replace(place, samples=min(place.samples, _MOST_SAMPLES))
  features = place.put(experiment.semantic_features)
  frames = functools.partial(by_frame, spec=experiment.spec, placement=place)
  processes.on_first(lambda: _fit(experiment, folder / SEMANTIC, features, frames))
  tokenizer = semantic.SemanticTokenizer.load(folder / SEMANTIC, features)
  semantic_tokens = lambda clips: frames(tokenizer.encode, clips=clips)  # noqa: E731
  outputs = [SEMANTIC, SPEC]
  for part in PARTS:
    name = f"{part}.array_record"
    if not processes.on_first((folder / name).exists):
      _write_part(experiment, part, folder, semantic_tokens)
    outputs.append(name)
  processes.on_first(lambda: _write_spec(experiment, folder))
  if experiment.vocabulary is not None:
    outputs += [VOCABULARY, SKIPPED_TEXTS]
  return outputs


def _write_part(experiment, part, folder, semantic_tokens) -> None:
  indices = experiment.split[part]
  chunks = [indices[i : i + _CHUNK] for i in range(0, len(indices), _CHUNK)]
  pieces = [
    (folder / PIECES / f"{part}-{number:06d}.array_record", chunk)
    for number, chunk in enumerate(chunks)
  ]
  own = processes.take_share(pieces)
  total = sum(len(chunk) for _, chunk in own)
  with (
    processes.share_failure(),
    Progress(total, f"{part} tokens", unit="clips") as bar,
  ):
    todo = [(path, chunk) for path, chunk in own if not path.exists()]
    bar.update(total - sum(len(chunk) for _, chunk in todo))
    start = time.monotonic()
    for path, chunk in todo:
      write_tokens(path, _records(experiment, chunk, semantic_tokens, bar))
    _log_speed(experiment, part, [i for _, chunk in todo for i in chunk], start)
  joined = folder / f"{part}.array_record"
  processes.on_first(lambda: join_tokens(joined, [path for path, _ in pieces]))


def _log_speed(experiment, part, indices, start) -> None:
  """Logs how many hours of audio this process has tokenised an hour."""
  if seconds := sum(experiment.source.utterances[index].seconds for index in indices):
    hours, spent = seconds / 3600, time.monotonic() - start
    speed = seconds / max(spent, 1e-9)
    logging.info("%s tokens: %.2f h of audio, %.0f h an hour", part, hours, speed)


def _write_spec(experiment: Experiment, folder: pathlib.Path) -> None:
  codec = experiment.done["codec"]
  variables = experiment.codec_variables()
  content = {
    "token_spec": dataclasses.asdict(experiment.spec),
    "codec_sha256": codec.outputs[PARAMS]["sha256"],
    "token_fingerprint": weights.token_fingerprint(variables),
  }
  files.write_json(folder / SPEC, content)
  if experiment.vocabulary is not None:
    experiment.vocabulary.save(folder / VOCABULARY)
    files.write_json(folder / SKIPPED_TEXTS, experiment.texts.skipped)
  shutil.rmtree(folder / PIECES, ignore_errors=True)


def _fit(
  experiment: Experiment,
  path: pathlib.Path,
  features: semantic.Features,
  frames_of: Callable[..., list[np.ndarray]],
) -> None:
  """Fits the semantic tokeniser on the training part, or on a random share of it.

  Args:
    experiment: whose recordings they are.
    path: of the tokeniser's file.
    features: what it is fitted on.
    frames_of: calls a function of frames on clips.
  """
  if path.exists():
    return
  indices = experiment.split["train"]
  compute = functools.partial(semantic.compute, features)
  order = np.random.default_rng(experiment.seed).permutation(indices)
  found, frames = {}, 0
  with Progress(len(indices), "semantic features", unit="clips") as progress:
    for first in range(0, len(order), _CHUNK):
      if frames >= _MOST_FRAMES:
        break
      chunk = [int(index) for index in order[first : first + _CHUNK]]
      clips = [experiment.audio(index) for index in chunk]
      features_of = frames_of(compute, clips=clips)
      found |= dict(zip(chunk, features_of, strict=True))
      frames += sum(map(len, features_of))
      progress.update(len(chunk))
  several = processes.is_distributed()
  devices = jax.local_devices()
  mesh = sharding.make_mesh(devices=devices) if several else experiment.mesh
  tokenizer = semantic.fit(
    experiment.key("semantic"),
    features,
    [found[index] for index in sorted(found)],
    num_tokens=experiment.config["semantic"]["num_clusters"],
    max_frames=_FIT_FRAMES,
    sharding=sharding.batch_sharding(mesh),
  )
  tokenizer.save(path)


def _records(experiment, chunk, semantic_tokens, progress) -> Iterator[dict]:
  clips = [experiment.audio(index) for index in chunk]
  codes = experiment.codec.encode(clips, progress.update)
  meanings = semantic_tokens(clips)
  for index, clip, codes_TxK, semantic_T in zip(
    chunk, clips, codes, meanings, strict=True
  ):
    utterance = experiment.source.utterances[index]
    yield {
      "id": utterance.id,
      "speaker": utterance.speaker,
      "text": utterance.text,
      "samples": len(clip),
      "codes_TxK": codes_TxK.astype(np.uint16),
      "semantic_T": semantic_T.astype(np.int32),
      **_text(experiment, index),
    }


def _text(experiment: Experiment, index: int) -> dict[str, np.ndarray]:
  """Returns the ids of a recording's text, if it has one and the config has `text`."""
  text_ids = experiment.text_ids
  return {"text_S": text_ids[index]} if index in text_ids else {}
