"""Named codecs, as plain data for `build.make_codec`.

The published ones have their originals' names. Those of the study (arXiv 2409.04016)
are all at 16 kHz and 50 Hz with 8 codebooks of 1024 codes (4 kbps), and differ in one
part at a time:

| quantiser \\ decoder | SEANet   | SEANet + LSTM | Vocos          | DAC          |
|----------------------|----------|---------------|----------------|--------------|
| EMA-RVQ, 128-d       | baseline | encodec       | encodecq_vocos | encodecq_dac |
| factorised RVQ, 8-d  | dacq_seanet |            | dacq_vocos     | dac          |

The paper does not print what follows. Every row but two has the same encoder, SEANet
without LSTM and with a latent of 128, also before DAC's quantiser and decoder, so that
rows differ in the named part alone; `encodec` has an LSTM on both sides and `dac` has
DAC's encoder with its latent of 1024, as their originals do. SEANet is causal, as in
EnCodec's 24 kHz model. The Vocos decoder has the width of Vocos's mel model and the
STFT of its EnCodec model, and is not conditioned on the number of codebooks.
"""

import copy
from collections.abc import Mapping
from typing import Any


def _dac(strides, num_codebooks, dropout=0.5):
  """Sizes: conf/final/{16,24,44}khz.yml of descript-audio-codec."""
  return dict(
    encoder=dict(name="dac", width=64, strides=strides, dtype="float32"),
    quantizer=_factorized(num_codebooks, dropout),
    decoder=dict(name="dac", width=1536, strides=strides[::-1], dtype="float32"),
  )


def _factorized(num_codebooks, dropout=0.5):
  return dict(
    name="factorized_rvq",
    num_codebooks=num_codebooks,
    codebook_size=1024,
    codebook_dim=8,
    dropout=dropout,  # the share of items with fewer codebooks
  )


PRESETS: dict[str, dict[str, Any]] = {
  "dac_16khz": dict(sample_rate=16_000, **_dac((2, 4, 5, 8), 12)),
  "dac_24khz": dict(sample_rate=24_000, **_dac((2, 4, 5, 8), 32)),
  "dac_44khz": dict(sample_rate=44_100, **_dac((2, 4, 8, 8), 9)),
  "dac": dict(sample_rate=16_000, **_dac((2, 4, 5, 8), 8)),
}


def preset(name: str) -> dict[str, Any]:
  """A copy of the named codec's config.

  Raises:
    ValueError: there is no such preset.
  """
  if name not in PRESETS:
    raise ValueError(f"there is no preset {name!r}; there are {sorted(PRESETS)}")
  return copy.deepcopy(PRESETS[name])


def expanded(codec: Mapping[str, Any]) -> dict[str, Any]:
  """A codec's config with its `preset`, if it names one, written out.

  Fields beside `preset` override the preset's; a part of another `name` replaces the
  preset's part whole.

  Raises:
    ValueError: there is no such preset.
  """
  given = dict(codec)
  name = given.pop("preset", None)
  config = {} if name is None else preset(name)
  for field, value in given.items():
    base = config.get(field)
    if isinstance(value, Mapping):
      value = dict(value)
      if isinstance(base, dict) and value.get("name", base["name"]) == base["name"]:
        value = {**base, **value}
    config[field] = value
  return config
