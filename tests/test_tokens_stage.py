"""The tokens stage continues after an interruption, with the same files in the end."""

import types

import numpy as np
import pytest

from jaxcodec.data.token_store import TokenSource
from jaxcodec.pipeline import tokens
from jaxcodec.semantic.mfcc import Mfcc
from jaxcodec.semantic.tokenizer import SemanticTokenizer
from jaxcodec.types import TokenSpec

SPEC = TokenSpec(2, 8, 320, 16_000)
CLIPS = 7


def experiment(encode):
  rng = np.random.default_rng(0)
  clips = [rng.standard_normal(320 * (n + 1)).astype(np.float32) for n in range(CLIPS)]
  utterances = [
    types.SimpleNamespace(id=f"u{n}", speaker="b", text=None, seconds=1.0)
    for n in range(CLIPS)
  ]
  return types.SimpleNamespace(
    spec=SPEC,
    split={"train": [4, 0, 3, 2, 1], "valid": [5], "test": [6]},
    source=types.SimpleNamespace(utterances=utterances),
    semantic_features=Mfcc(SPEC.sample_rate, SPEC.hop),
    vocabulary=None,
    text_ids={},
    audio=lambda index: clips[index],
    codec=types.SimpleNamespace(encode=lambda clips, done: list(map(encode, clips))),
    codec_variables=lambda: {"params": {"encoder": {"x": np.zeros(1)}}},
    done={"codec": types.SimpleNamespace(outputs={tokens.PARAMS: {"sha256": "0"}})},
  )


def codes(clip_N):
  frames = len(clip_N) // SPEC.hop
  return np.full((frames, 2), frames, np.int32)


def fitted(folder):
  """Returns the folder, with a fitted tokeniser in it."""
  features = Mfcc(SPEC.sample_rate, SPEC.hop)
  width = features(np.zeros((1, 320), np.float32), np.array([320])).shape[-1]
  centroids = np.random.default_rng(1).standard_normal((4, width)).astype(np.float32)
  folder.mkdir()
  SemanticTokenizer(features, centroids).save(folder / tokens.SEMANTIC)
  return folder


def test_stopped_in_the_middle_it_goes_on_and_ends_with_the_same_bytes(
  tmp_path, monkeypatch
):
  whole = fitted(tmp_path / "whole")  # each part in one piece
  outputs = tokens.write_all(experiment(codes), whole)
  monkeypatch.setattr(tokens, "_CHUNK", 2)
  encoded = []

  def stopped(clip_N):
    if len(encoded) == 4:
      raise KeyboardInterrupt
    encoded.append(len(clip_N))
    return codes(clip_N)

  pieces = fitted(tmp_path / "pieces")
  with pytest.raises(KeyboardInterrupt):
    tokens.write_all(experiment(stopped), pieces)
  assert len(list((pieces / tokens.PIECES).iterdir())) == 2
  encoded.clear()
  assert tokens.write_all(experiment(stopped), pieces) == outputs
  assert encoded == [320 * n for n in (2, 6, 7)]
  assert sorted(p.name for p in pieces.iterdir()) == sorted(outputs)
  for name in outputs:
    assert (pieces / name).read_bytes() == (whole / name).read_bytes()
  labels = TokenSource(pieces / "train.array_record").labels
  assert [label["id"] for label in labels] == ["u4", "u0", "u3", "u2", "u1"]
