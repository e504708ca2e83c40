"""Speaker embeddings by WavLM, as in VALL-E's line of papers.

Source: Chen et al. 2022 (arXiv 2110.13900) and transformers' WavLMForXVector.
"""

import pathlib

import numpy as np

from jaxcodec import files
from jaxcodec.evals.models.waveform import Waveform, wants_normalised
from jaxcodec.porting import readers, wavlm


class WavLmXVector:
  """transformers' WavLMForXVector in a local folder, run by JAX."""

  def __init__(self, folder: pathlib.Path, name: str):
    """Reads the model from its folder.

    Raises:
      FileNotFoundError, ValueError: a file can't be used; names it.
    """
    self.name = name
    self.sha256 = files.sha256(readers.weights_file(folder))
    found = wavlm.load_xvector(folder)

    def vector(params, audio_BxN, length_B):
      states = found.model.apply(
        {"params": params["body"]}, audio_BxN, length_B, method="states"
      )
      valid_B = found.model.num_frames(length_B)
      return found.head.apply({"params": params["head"]}, states, valid_B)

    self._vector = Waveform(
      vector,
      {"body": found.params, "head": found.head_params},
      found.model,
      normalise=wants_normalised(folder),
    )

  def embed(self, audio: np.ndarray) -> np.ndarray:
    """Returns the embedding (D,) of (N,) audio at 16 kHz, of any length."""
    return self._vector(audio)
