"""The shapes that `accelerator.py` measures: the experiments' full size, and tiny ones.

The full ones are those of `jaxcodec/recipes`, which can't be imported without
ml_collections; `tests/test_accelerator.py` compares them.
"""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Shapes of everything that is measured.

  Attributes:
    name: of the sizes.
    turn: seconds that a program is timed for.
    numbers: of the array that is copied.
    matrix: rows and columns of the matrices that are multiplied.
    codecs: configs like `config.codec`, by the name of their preset.
    crops, crop_samples: rows and samples of a codec's batch.
    discriminator: fields of DAC's discriminator.
    mel_scales: of the codec's loss.
    rvq_frames: frames that quantisers code at once.
    attention: rows, frames, heads and their width that attention is compared with.
    parity, parity_seconds: codecs whose codes are compared, and seconds of audio.
    transformer: fields of both language models.
    windows, window_frames: rows and frames of a batch of the masked model.
    utterances, symbols: rows of a batch of VALL-E, and symbols of its texts.
    spoken_frames, spoken: frames that decoding gives, and the rows it gives at once.
    unmasking_steps: of the first codebook.
    clips, clip_seconds: how many clips are tokenised, and their bounds in seconds.
    larger: factors of the batches that look for the end of the memory.
  """

  name: str
  turn: float
  numbers: int
  matrix: int
  codecs: dict[str, dict[str, Any]]
  crops: int
  crop_samples: int
  discriminator: dict[str, Any]
  mel_scales: tuple[tuple[int, int], ...]
  rvq_frames: int
  attention: tuple[int, int, int, int]
  parity: tuple[str, ...]
  parity_seconds: float
  transformer: dict[str, Any]
  windows: int
  window_frames: int
  utterances: int
  symbols: int
  spoken_frames: int
  spoken: tuple[int, ...]
  unmasking_steps: int
  clips: int
  clip_seconds: tuple[float, float]
  larger: tuple[int, ...]


FULL = Sizes(
  name="full",
  turn=2.0,
  numbers=2**29,
  matrix=8192,
  codecs={"dac": {"preset": "dac"}, "encodec": {"preset": "encodec"}},
  crops=24,
  crop_samples=18_240,
  discriminator={},
  mel_scales=tuple((2**n, 5 * 2 ** (n - 5)) for n in range(5, 12)),
  rvq_frames=48_000,
  attention=(32, 1152, 16, 64),
  parity=("dac", "encodec"),
  parity_seconds=1.0,
  transformer=dict(width=1024, depth=12, heads=16, dropout=0.1),
  windows=64,
  window_frames=750,
  utterances=32,
  symbols=402,
  spoken_frames=500,
  spoken=(1, 64),
  unmasking_steps=16,
  clips=600,
  clip_seconds=(2.0, 15.0),
  larger=(2, 4, 8, 16),
)

_DAC = dict(preset="dac", encoder=dict(name="dac", width=4, strides=(4, 8)))
_DAC["encoder"]["latent_dim"] = 16
_DAC["decoder"] = dict(name="dac", width=16, strides=(8, 4))
_THIN = dict(num_codebooks=3, codebook_size=32)
_SEANET = dict(name="seanet", width=8, lstm_layers=1, strides=(8, 4))

TINY = Sizes(
  name="tiny",
  turn=0.02,
  numbers=2**20,
  matrix=256,
  codecs={
    "dac": {**_DAC, "quantizer": dict(name="factorized_rvq", **_THIN)},
    "encodec": {
      "preset": "encodec",
      "encoder": {**_SEANET, "strides": (4, 8), "latent_dim": 16},
      "quantizer": dict(name="ema_rvq", kmeans_iters=2, **_THIN),
      "decoder": _SEANET,
    },
  },
  crops=2,
  crop_samples=1024,
  discriminator=dict(periods=(2,), n_ffts=(256,), period_width=2, band_width=2),
  mel_scales=((64, 10),),
  rvq_frames=64,
  attention=(2, 24, 2, 8),
  parity=("dac",),
  parity_seconds=0.1,
  transformer=dict(width=32, depth=2, heads=2, dropout=0.1),
  windows=2,
  window_frames=40,
  utterances=2,
  symbols=8,
  spoken_frames=8,
  spoken=(2,),
  unmasking_steps=2,
  clips=6,
  clip_seconds=(0.1, 0.3),
  larger=(2,),
)
