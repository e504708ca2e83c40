"""Runs the original model on a probe, where torch and transformers are installed."""

import importlib.util
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxcodec.codecs.codec import Codec
from jaxcodec.porting.families import family_of
from jaxcodec.porting.probe import Probe
from jaxcodec.porting.weights import export_torch

NAME = "transformers"


def why_absent(codec: Codec) -> str | None:
  """Says why there is no original to compare with; None if there is."""
  if not family_of(codec).renames:
    return "transformers has no such model"
  absent = [p for p in ("torch", NAME) if importlib.util.find_spec(p) is None]
  return f"{' and '.join(absent)} not installed" if absent else None


def run(codec: Codec, variables: Mapping[str, Any], audio_BxNxC: np.ndarray) -> Probe:
  """Runs transformers' model with these weights; returns its codes and audio.

  Raises:
    ValueError: transformers' model does not take every weight.
  """
  import torch
  import transformers

  with tempfile.TemporaryDirectory() as folder:
    export_torch(variables, codec, folder, "huggingface", "parametrizations")
    model, loading = transformers.AutoModel.from_pretrained(
      folder, output_loading_info=True
    )
  if wrong := {kind: names for kind, names in loading.items() if names}:
    raise ValueError(f"{NAME} does not take these weights: {wrong}")
  audio_BxCxN = torch.from_numpy(audio_BxNxC).transpose(1, 2)
  with torch.no_grad():
    if model.config.model_type == "encodec":
      return _encodec(model, audio_BxCxN)
    codes_BxKxT = model.encode(audio_BxCxN).audio_codes
    audio_BxN = model.decode(audio_codes=codes_BxKxT).audio_values
  return Probe(codes_BxKxT.transpose(1, 2).numpy(), audio_BxN[..., None].numpy())


def _encodec(model, audio_BxCxN):
  """Runs EnCodec with all codebooks; concatenates the frames of segments."""
  best = model.config.target_bandwidths[-1]
  codes_SxBxKxF, gains, missing = model.encode(
    audio_BxCxN, bandwidth=best, return_dict=False
  )
  audio_BxCxN = model.decode(codes_SxBxKxF, gains, last_frame_pad_length=missing)[0]
  codes_BxTxK = codes_SxBxKxF.permute(1, 0, 3, 2).flatten(1, 2)
  codes_BxTxK = codes_BxTxK[:, : codes_BxTxK.shape[1] - missing]
  return Probe(codes_BxTxK.numpy(), audio_BxCxN.transpose(1, 2).numpy())
