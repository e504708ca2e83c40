"""Opus as a reference: its bitrate, its audio, its rows in the results."""

import io
import types

import numpy as np
import pytest
import soundfile
from evals_helpers import RATE, clip, voice
from scipy import signal

from jaxcodec.evals import opus
from jaxcodec.evals.evaluate import evaluate, load_metrics
from jaxcodec.evals.metric import MetricAbsent
from jaxcodec.pipeline import evaluate as stage
from jaxcodec.pipeline import reference_codecs
from jaxcodec.types import TokenSpec

# 4 kbit/s, as in the study.
SPEC = TokenSpec(num_codebooks=8, codebook_size=1024, hop=320, sample_rate=RATE)


def _agreement(a_N, b_N):
  return np.corrcoef(a_N, b_N)[0, 1]


def _without_bass(audio_N, rate):
  """Returns speech without the bass that libopus's speech mode filters and shifts."""
  sos = signal.butter(4, 300, "high", fs=rate, output="sos")
  return signal.sosfiltfilt(sos, audio_N).astype(np.float32)


def _by_libsndfile(audio_N):
  """Codes by libsndfile's libopus; returns the audio and an upper bound of the bits."""
  file = io.BytesIO()
  soundfile.write(file, audio_N, RATE, "OPUS", format="OGG", compression_level=0.97)
  file.seek(0)
  decoded_N, rate = soundfile.read(file, dtype="float32")
  assert rate == RATE
  whole_N = np.zeros_like(audio_N)
  whole_N[: len(decoded_N)] = decoded_N[: len(audio_N)]
  return whole_N, 8 * len(file.getvalue())


def _lag(a_N, b_N):
  """Returns by how many samples b lags a, where they correlate best."""
  across = signal.correlate(b_N, a_N, "same")
  return np.argmax(across) - len(a_N) // 2


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_the_audio_comes_back_in_place_and_the_bits_are_near_those_asked_for(rate):
  audio_N = _without_bass(voice(0, 3.0, rate), rate)
  coded, fine = (opus.through_opus(audio_N, rate, b) for b in (24_000, 128_000))
  assert coded.audio_N.shape == audio_N.shape and coded.audio_N.dtype == np.float32
  assert coded.bits / 3 == pytest.approx(24_000, rel=0.15)
  assert _lag(audio_N, fine.audio_N) == 0
  assert _agreement(audio_N, fine.audio_N) > _agreement(audio_N, coded.audio_N)


@pytest.mark.parametrize("seed", [0, 1])
def test_nearer_than_by_another_program_with_fewer_bits(seed):
  audio_N = _without_bass(voice(seed, 3.0), RATE)
  coded = opus.through_opus(audio_N, RATE, 24_000)
  other_N, bits = _by_libsndfile(audio_N)
  assert _lag(audio_N, coded.audio_N) == _lag(audio_N, other_N) == 0
  assert bits < coded.bits
  assert _agreement(audio_N, coded.audio_N) > _agreement(audio_N, other_N)


def test_more_bits_are_better_and_there_is_a_least():
  audio_N = voice(1, 3.0)
  low, least, high = (opus.through_opus(audio_N, RATE, b) for b in (4000, 500, 16_000))
  assert _agreement(audio_N, high.audio_N) > _agreement(audio_N, low.audio_N)
  # What it is asked for isn't what it uses: the reason to count.
  assert low.bits == least.bits > 3 * 3 * 500
  with pytest.raises(ValueError, match="500 bit/s or more, got 100"):
    opus.through_opus(audio_N, RATE, 100)


def _experiment(wanted=True):
  settings = {
    "opus": wanted,
    "reconstruction": ("stoi", "codebook_usage", "bitrate_kbps"),
    "asr": "",
    "speaker": "",
    "utmos": None,
    "threads": 1,
  }
  return types.SimpleNamespace(spec=SPEC, config={"evaluate": settings})


def test_both_bitrates_are_sets_of_the_results():
  clips, experiment = [clip(0), clip(1)], _experiment()
  found = reference_codecs.make_sets(experiment, clips)
  assert not found.absent and list(found.sets) == ["opus", "opus_double"]
  means = []
  for code in found.sets.values():
    coded = code()
    metrics = stage.metrics_of_set(experiment.config, experiment.spec, "references")
    assert [metric.name for metric in metrics] == ["stoi", "bitrate_kbps"]
    measured = evaluate(coded, load_metrics(metrics).metrics)
    bits = sum(one.bits for one in coded)
    seconds = sum(len(one.audio) for one in coded) / RATE
    mean = measured.summary["bitrate_kbps"]["mean"]
    assert mean == pytest.approx(bits / seconds / 1000)
    means.append((mean, measured.summary["stoi"]["mean"]))
  assert means[1] > means[0]


def test_without_libopus_the_rows_are_named_as_absent(monkeypatch):
  def absent(*arguments):
    raise MetricAbsent("pip install av")

  monkeypatch.setattr(opus, "load", absent)
  found = reference_codecs.make_sets(_experiment(), [clip(0)])
  assert found == ({}, {"opus": "pip install av"}, {})
  assert reference_codecs.make_sets(_experiment(wanted=False), []) == ({}, {}, {})
