"""Named codecs, as plain data for `build.codec.make_codec`.

The published ones have their originals' names. Those of the study (arXiv 2409.04016)
are all at 16 kHz and 50 Hz with 8 codebooks of 1024 codes (4 kbps), and differ in one
part at a time:

| quantiser \\ decoder | SEANet   | SEANet + LSTM | Vocos          | DAC          |
|----------------------|----------|---------------|----------------|--------------|
| EMA-RVQ, 128-d       | baseline | encodec       | encodecq_vocos | encodecq_dac |
| factorised RVQ, 8-d  | dacq_seanet |            | dacq_vocos     | dac          |
| SimVQ, 128-d         |          |               | simvq_vocos    |              |
| FSQ, 8 x 8 x 4 x 4   |          |               | fsq_vocos      |              |
| semantic RVQ, 128-d  |          |               | semantic_vocos |              |

The last three quantisers are not in the paper, but in `rows=quantizers` of
`configs/study.py`: SimVQ (arXiv 2411.02038), FSQ
(2309.15505) with 8 groups of channels of 1024 codes, and Mimi's (2410.00037), whose
first codebook is taught the features of `config.semantic` while seven others are a
stack of their own. Nor are those below, all of 4 kbps too:

- `baseline_noncausal` is `baseline` with a decoder that looks ahead, as Vocos' and
  DAC's do;
- `baseline_25hz` and `baseline_12.5hz` have the strides of fewer frames a second, and
  16 and 32 codebooks;
- `single_vocos` has one codebook of 65,536 codes of SimVQ, and 250 frames a second: at
  50, one codebook would need 2**80.

The paper does not print what follows. Every row but two has the same encoder, SEANet
without LSTM and with a latent of 128, also before DAC's quantiser and decoder, so that
rows differ in the named part alone; `encodec` has an LSTM on both sides and `dac` has
DAC's encoder with its latent of 1024, as their originals do. SEANet is causal, as in
EnCodec's 24 kHz model. The Vocos decoder has the width of Vocos's mel model and the
STFT of its EnCodec model, and is not conditioned on the number of codebooks.

All rows have one law of quantiser dropout, DAC's: half of the items of a batch use
fewer codebooks, so that the other half trains all eight, which are what is tokenised.
Losses are sums over codebooks in all of them. The published EnCodec keeps its own of
both.

`magnitude_16khz` is in no paper: at the study's rates, it codes magnitudes without
phases, so that a small model learns it in minutes of a CPU. `magnitude_ema` is this
codec with EMA-RVQ as EnCodec has it, without a search for codes or a codebook of the
envelope; `magnitude_dacq`, `magnitude_simvq` and `magnitude_fsq` have the other
quantisers.
"""

import copy
from collections.abc import Mapping
from typing import Any


def _dac_encoder(strides=(2, 4, 5, 8)):
  """Sizes of DAC: conf/final/{16,24,44}khz.yml of descript-audio-codec."""
  return dict(name="dac", width=64, strides=strides, dtype="float32")


def _dac_decoder(strides=(8, 5, 4, 2)):
  return dict(name="dac", width=1536, strides=strides, dtype="float32")


def _factorized(num_codebooks):
  return dict(
    name="factorized_rvq",
    num_codebooks=num_codebooks,
    codebook_size=1024,
    codebook_dim=8,
    dropout=0.5,  # the share of items with fewer codebooks
  )


def _dac(sample_rate, num_codebooks, strides=(2, 4, 5, 8)):
  return dict(
    sample_rate=sample_rate,
    encoder=_dac_encoder(strides),
    quantizer=_factorized(num_codebooks),
    decoder=_dac_decoder(strides[::-1]),
  )


def _seanet(lstm_layers, **style):
  """Encoder and decoder of EnCodec: `EncodecModel._get_model` in encodec/model.py."""
  shared = dict(name="seanet", lstm_layers=lstm_layers, dtype="float32", **style)
  return dict(
    encoder=dict(width=32, strides=(2, 4, 5, 8), latent_dim=128, **shared),
    decoder=dict(width=512, strides=(8, 5, 4, 2), **shared),
  )


def _ema(num_codebooks):
  return dict(
    name="ema_rvq",
    num_codebooks=num_codebooks,
    codebook_size=1024,
    dropout=1.0,  # of the batches: each draws how many codebooks it uses
    dropout_per="batch",
  )


def _study_ema(num_codebooks):
  """EnCodec's quantiser with DAC's law of dropout and DAC's sum of losses."""
  law = dict(dropout=0.5, dropout_per="item", loss_reduction="sum")
  return {**_ema(num_codebooks), **law}


def _simvq(num_codebooks, codebook_size=1024):
  return dict(
    name="simvq",
    num_codebooks=num_codebooks,
    codebook_size=codebook_size,
    dropout=0.5,  # the share of items with fewer codebooks
  )


def _fsq(num_codebooks):
  return dict(name="fsq", num_codebooks=num_codebooks, levels=(8, 8, 4, 4), dropout=0.5)


def _semantic(num_codebooks):
  return dict(
    name="semantic_rvq",
    num_codebooks=num_codebooks,
    codebook_size=1024,
    dropout=0.5,
    semantic_dim=26,  # of MFCC; HuBERT's features have 768
  )


def _vocos(width, mlp_width, **fields):
  """Vocos's decoder for EnCodec's frames; configs/vocos-encodec.yaml of vocos."""
  stft = dict(n_fft=1280, hop=320, padding="same")
  sizes = dict(width=width, mlp_width=mlp_width, depth=8)
  return {"name": "vocos", **sizes, **stft, "dtype": "float32", **fields}


def _magnitude(width, depth, **fields):
  """Half of the codec of magnitudes: windows of 40 ms, every 10 ms; tokens of 20 ms."""
  sizes = dict(width=width, mlp_width=3 * width, depth=depth)
  stft = dict(n_fft=640, hop=320, sub_hop=160, power=0.3)
  return {"name": "magnitude", **sizes, **stft, "dtype": "float32", **fields}


def _study(quantizer, **parts):
  return {"sample_rate": 16_000, **_seanet(0), "quantizer": quantizer(8), **parts}


def _at_rate(strides, num_codebooks):
  """The baseline with other strides, and as many codebooks as give 4 kbps."""
  parts = _seanet(0)
  encoder = {**parts["encoder"], "strides": strides}
  decoder = {**parts["decoder"], "strides": strides[::-1]}
  return _study(lambda _: _study_ema(num_codebooks), encoder=encoder, decoder=decoder)


_MONO = dict(channels=1, norm="weight_norm", causal=True)
_STEREO = dict(channels=2, norm="time_group_norm", causal=False)

# Codebook 0 follows the envelope, which tells words apart. Dropout lets the first
# codebooks be decoded alone, and what a language model says be decoded in part.
_MAGNITUDE_CODES = dict(dropout_per="item", search=8, first_dim=16)

_MEAN = dict(
  loss_reduction="mean"
)  # of the losses of codebooks, as EnCodec's quantiser
_MAGNITUDE_DECODER = _magnitude(256, 4, iterations=32, momentum=0.99)


def _magnitudes(quantizer):
  """The codec of magnitudes with a quantiser; all have one law of dropout."""
  return dict(
    sample_rate=16_000,
    encoder=_magnitude(192, 3, band_ratio=0.0388),
    quantizer={**quantizer(8), "dropout": 0.25},
    decoder=_MAGNITUDE_DECODER,
  )


_NONCAUSAL = {**_seanet(0)["decoder"], "causal": False}

PRESETS: dict[str, dict[str, Any]] = {
  "encodec_24khz": dict(sample_rate=24_000, quantizer=_ema(32), **_seanet(2, **_MONO)),
  "encodec_48khz": dict(
    sample_rate=48_000,
    segments=dict(seconds=1.0, overlap=0.01),
    normalize=True,
    quantizer=_ema(16),
    **_seanet(2, **_STEREO),
  ),
  "dac_16khz": _dac(16_000, 12),
  "dac_24khz": _dac(24_000, 32),
  "dac_44khz": _dac(44_100, 9, (2, 4, 8, 8)),
  "vocos_mel_24khz": dict(  # a vocoder: features instead of tokens
    sample_rate=24_000,
    mel=dict(n_fft=1024, hop=256, n_mels=100, padding="center"),
    decoder=_vocos(512, 1536, n_fft=1024, hop=256, padding="center"),
  ),
  "vocos_encodec_24khz": dict(
    sample_rate=24_000,
    encoder=_seanet(2, **_MONO)["encoder"],
    quantizer=_ema(16),
    decoder=_vocos(384, 1152, bandwidth_codebooks=(2, 4, 8, 16)),
  ),
  "magnitude_16khz": _magnitudes(lambda count: {**_ema(count), **_MAGNITUDE_CODES}),
  "magnitude_ema": _magnitudes(lambda count: {**_ema(count), "dropout_per": "item"}),
  "magnitude_dacq": _magnitudes(lambda count: {**_factorized(count), **_MEAN}),
  "magnitude_simvq": _magnitudes(lambda count: {**_simvq(count), **_MEAN}),
  "magnitude_fsq": _magnitudes(_fsq),
  "baseline": _study(_study_ema),
  "encodec": _study(_study_ema, **_seanet(2)),
  "encodecq_vocos": _study(_study_ema, decoder=_vocos(512, 1536)),
  "encodecq_dac": _study(_study_ema, decoder=_dac_decoder()),
  "baseline_noncausal": _study(_study_ema, decoder=_NONCAUSAL),
  "dacq_seanet": _study(_factorized),
  "dacq_vocos": _study(_factorized, decoder=_vocos(512, 1536)),
  "dac": _dac(16_000, 8),
  "simvq_vocos": _study(_simvq, decoder=_vocos(512, 1536)),
  "fsq_vocos": _study(_fsq, decoder=_vocos(512, 1536)),
  "semantic_vocos": _study(_semantic, decoder=_vocos(512, 1536)),
  "baseline_25hz": _at_rate((2, 5, 8, 8), 16),
  "baseline_12.5hz": _at_rate((4, 5, 8, 8), 32),
  "single_vocos": _study(
    lambda _: _simvq(1, 2**16),
    encoder={**_seanet(0)["encoder"], "strides": (2, 4, 8)},
    decoder=_vocos(512, 1536, n_fft=256, hop=64),
  ),
}


# Where the published weights of presets are: repositories on the Hugging Face Hub.
PUBLISHED: dict[str, str] = {
  "encodec_24khz": "facebook/encodec_24khz",
  "encodec_48khz": "facebook/encodec_48khz",
  "dac_16khz": "descript/dac_16khz",
  "dac_24khz": "descript/dac_24khz",
  "dac_44khz": "descript/dac_44khz",
  "vocos_mel_24khz": "charactr/vocos-mel-24khz",
  "vocos_encodec_24khz": "charactr/vocos-encodec-24khz",
}

# The study's decoders, by their names in its tables.
DECODERS: dict[str, dict[str, Any]] = {
  "seanet": _seanet(0)["decoder"],
  "seanet_lstm": _seanet(2)["decoder"],
  "seanet_noncausal": _NONCAUSAL,
  "vocos": _vocos(512, 1536),
  "dac": _dac_decoder(),
  "magnitude": _MAGNITUDE_DECODER,
}


def preset(name: str) -> dict[str, Any]:
  """Returns a copy of the named codec's config.

  `CODEC+DECODER`, such as `baseline+vocos`, is the codec with one of `DECODERS` in its
  own one's place.

  Raises:
    ValueError: there is no such preset or decoder.
  """
  codec, plus, decoder = name.partition("+")
  if codec not in PRESETS:
    raise ValueError(f"there is no preset {codec!r}; there are {sorted(PRESETS)}")
  config = copy.deepcopy(PRESETS[codec])
  if plus and decoder not in DECODERS:
    raise ValueError(f"there is no decoder {decoder!r}; there are {sorted(DECODERS)}")
  return {**config, "decoder": dict(DECODERS[decoder])} if plus else config


def config_of(preset: str | Mapping[str, Any]) -> dict[str, Any]:
  """Returns the config of a preset's name, or a config with its preset written out."""
  return expand({"preset": preset} if isinstance(preset, str) else preset)


def expand(codec: Mapping[str, Any]) -> dict[str, Any]:
  """Writes out the preset that a codec's config names, if it names one.

  Fields beside `preset` override the preset's. A part with a `name` other than the
  preset's replaces the whole part.

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
      if base and value.get("name", base.get("name")) == base.get("name"):
        value = {**base, **value}
    config[field] = value
  return config
