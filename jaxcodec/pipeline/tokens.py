"""The tokens stage: every recording as codes and frame-aligned semantic tokens."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator

import numpy as np

from jaxcodec import files, sharding
from jaxcodec.data.split import PARTS
from jaxcodec.data.token_store import write_tokens
from jaxcodec.inference import by_frame
from jaxcodec.pipeline.experiment import PARAMS, Experiment
from jaxcodec.progress import Progress
from jaxcodec.semantic import tokenizer as semantic

SEMANTIC, SPEC = "semantic.safetensors", "spec.json"
VOCABULARY = "vocabulary.json"
# Recordings are encoded, and written, so many at a time.
_CHUNK = 64
# Frames that the semantic tokeniser is fitted on, and how many it may choose them from.
_FIT_FRAMES, _MOST_FRAMES = 200_000, 400_000


def write_all(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Fits the semantic tokeniser on the training part, then tokenises every part.

  What an interrupted run completed (the tokeniser, whole parts) is kept.
  """
  if not (folder / SEMANTIC).exists():
    _fit(experiment).save(folder / SEMANTIC)
  features = experiment.semantic_features
  tokenizer = semantic.SemanticTokenizer.load(folder / SEMANTIC, features)
  semantic_tokens = functools.partial(by_frame, tokenizer.encode, experiment.spec)
  outputs = [SEMANTIC, SPEC]
  for part in PARTS:
    name = f"{part}.array_record"
    if not (folder / name).exists():
      write_tokens(folder / name, _records(experiment, part, semantic_tokens))
    outputs.append(name)
  codec = experiment.done["codec"].outputs[PARAMS]["sha256"]
  spec = dataclasses.asdict(experiment.spec)
  files.write_json(folder / SPEC, {"token_spec": spec, "codec_sha256": codec})
  if experiment.vocabulary is not None:
    experiment.vocabulary.save(folder / VOCABULARY)
    outputs.append(VOCABULARY)
  return outputs


def _fit(experiment: Experiment) -> semantic.SemanticTokenizer:
  """Fits it on the training part, or on a random choice of its recordings."""
  features, indices = experiment.semantic_features, experiment.split["train"]
  compute = functools.partial(semantic.compute, features)
  order = np.random.default_rng(experiment.seed).permutation(indices)
  found, frames = {}, 0
  with Progress(len(indices), "semantic features", unit="clips") as progress:
    for index in map(int, order):
      if frames >= _MOST_FRAMES:
        break
      found[index] = by_frame(compute, experiment.spec, experiment.audio(index))
      frames += len(found[index])
      progress.update()
  return semantic.fit(
    experiment.key("semantic"),
    features,
    [found[index] for index in sorted(found)],
    num_tokens=experiment.config["semantic"]["num_clusters"],
    max_frames=_FIT_FRAMES,
    sharding=sharding.batch_sharding(experiment.mesh),
  )


def _records(experiment: Experiment, part: str, semantic_tokens) -> Iterator[dict]:
  indices = experiment.split[part]
  with Progress(len(indices), f"{part} tokens", unit="clips") as progress:
    for start in range(0, len(indices), _CHUNK):
      chunk = indices[start : start + _CHUNK]
      clips = [experiment.audio(index) for index in chunk]
      codes = experiment.codec.encode(clips, progress.update)
      for index, clip, codes_TxK in zip(chunk, clips, codes, strict=True):
        utterance = experiment.source.utterances[index]
        yield {
          "id": utterance.id,
          "speaker": utterance.speaker,
          "text": utterance.text,
          "samples": len(clip),
          "codes_TxK": codes_TxK.astype(np.uint16),
          "semantic_T": semantic_tokens(clip).astype(np.int32),
          **_text(experiment, index),
        }


def _text(experiment: Experiment, index: int) -> dict[str, np.ndarray]:
  """The ids of a recording's text, if they are wanted and it has one."""
  text_ids = experiment.text_ids
  return {"text_S": text_ids[index]} if index in text_ids else {}
