"""Every metric against the package or the formula that defines it."""

import csv
import subprocess
import sys
import unittest.mock
import warnings

import librosa
import numpy as np
import pesq
import pytest
import scipy.signal
import soundfile
import soxr
from evals_helpers import RATE, SPEC, clip, voice

from jaxcodec.evals import registry
from jaxcodec.evals.audio import prepare_pair
from jaxcodec.evals.evaluate import load_metrics
from jaxcodec.evals.metric import MetricFailed
from jaxcodec.evals.metrics import codebooks, signal
from jaxcodec.evals.metrics.spectrum import log_mel
from jaxcodec.evals.models import choose, speaker
from jaxcodec.evals.models import dnsmos as dnsmos_network
from jaxcodec.evals.registry import make_metrics
from jaxcodec.nn.dsp import hann, mel_filters


def loaded(name, **kwargs):
  """Returns a metric that is ready to run; skips if its package is absent."""
  ready = load_metrics(make_metrics([name], spec=SPEC, **kwargs))
  if ready.absent:
    pytest.skip(f"needs {ready.absent[name]}")
  return ready.metrics[0]


def test_si_sdr_of_orthogonal_noise_is_the_energy_ratio():
  t = np.arange(RATE) / RATE
  clean = np.sin(2 * np.pi * 100 * t).astype(np.float32)
  noisy = 0.5 * clean + 0.05 * np.sin(2 * np.pi * 300 * t).astype(np.float32)
  found = signal.SiSdr().score(clip(reference=clean * 0.5, audio=noisy * 0.9))
  assert found.value == pytest.approx(20.0, abs=1e-4)


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_log_mel_is_scipys_stft_through_our_filters(rate):
  x = voice(0, rate=rate)
  transform = scipy.signal.ShortTimeFFT(hann(1024), hop=256, fs=rate)
  magnitudes_FxT = np.abs(transform.stft(x, p0=0, p1=1 + len(x) // 256))
  expected = np.log10(np.maximum(magnitudes_FxT.T @ mel_filters(rate, 1024, 80), 1e-5))
  np.testing.assert_allclose(log_mel(x, rate), expected, atol=2e-5)


def test_log_mel_of_a_clip_shorter_than_its_window_has_values():
  found = log_mel(voice(0)[:800], RATE)
  assert found.shape == (4, 80) and np.isfinite(found).all()


def test_mel_distance_is_that_of_earlier_revisions():
  """Keeps published tables comparable: within 1e-6 of what numpy's transform gave."""
  before = {RATE: 0.54678613, 24_000: 0.53080428, 44_100: 0.51753598}
  for rate, expected in before.items():
    x = voice(0, 1.7, rate)
    noise = np.random.default_rng(0).standard_normal(len(x)).astype(np.float32)
    one = clip(reference=x, audio=x + 0.01 * noise, sample_rate=rate)
    assert signal.MelDistance().score(one).value == pytest.approx(expected, rel=1e-6)


def test_nothing_slow_is_imported_before_it_is_used():
  code = (
    "import sys, jaxcodec.evals.registry, jaxcodec.report.format\n"
    "print(*{'numba', 'scipy.stats', 'matplotlib', 'pesq', 'torch'} & set(sys.modules))"
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
  assert done.returncode == 0 and done.stdout.split() == [], done.stderr


def test_mel_distance_of_a_gain_is_its_logarithm():
  reference = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32)
  found = signal.MelDistance().score(clip(reference=reference, audio=reference / 10))
  assert found.value == pytest.approx(1.0, abs=1e-3)


def test_pesq_and_stoi_resample_and_agree_with_their_packages():
  reference = voice(3, rate=24_000)
  noise = np.random.default_rng(0).standard_normal(len(reference)).astype(np.float32)
  one = clip(sample_rate=24_000, reference=reference, audio=reference + 0.02 * noise)
  at_16k = [soxr.resample(x, 24_000, RATE, "VHQ") for x in (one.reference, one.audio)]
  expected = pesq.pesq(RATE, *at_16k, "wb")
  assert loaded("pesq_wb").score(one).value == pytest.approx(expected)
  import pystoi

  assert loaded("stoi").score(one).value == pytest.approx(pystoi.stoi(*at_16k, RATE))


def test_dnsmos_equals_the_speechmos_package():
  metric = loaded("dnsmos_ovrl")
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    dnsmos = pytest.importorskip("speechmos.dnsmos", exc_type=ImportError)
    for seconds in (5.0, 10.2):
      one = clip(reference=None, audio=voice(4, seconds))
      expected = dnsmos.run(one.audio, sr=RATE)["ovrl_mos"]
      assert metric.score(one).value == pytest.approx(float(expected), abs=1e-5)


def test_dnsmos_is_what_its_network_gives_for_each_window():
  """Windows of a clip of 13.5 s, two to a span, by the network as a whole."""
  path = choose.package_file("speechmos", "dnsmos_models/sig_bak_ovr.onnx", "")
  whole = choose.onnx_session(path, threads=1)
  audio = voice(6, 13.5)
  windows = [audio[i * RATE :][: dnsmos_network.WINDOW] for i in range(4)]
  expected = [whole.run(None, {"input_1": window[None]})[0][0] for window in windows]
  onnx = pytest.importorskip("onnx")
  with unittest.mock.patch.object(dnsmos_network, "_SPAN", 2):
    found = dnsmos_network.Dnsmos(path, onnx=onnx, threads=1)(audio)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_speaker_features_match_librosa():
  x = voice(5)
  power = librosa.feature.melspectrogram(
    y=x, sr=RATE, n_fft=512, win_length=400, hop_length=160, n_mels=40,
    window="hamming", center=False,
  )  # fmt: skip
  theirs = np.log10(power + 1e-10).T
  windows = speaker.mel_windows(x)
  assert windows.shape == (1 + (len(theirs) - 80) // 40, 80, 40)
  np.testing.assert_allclose(windows[1], theirs[40:120], atol=2e-3)


def test_speaker_similarity_tells_real_speakers_apart(fsdd):
  metric = loaded("speaker_similarity")
  with open(fsdd / "metadata.csv", encoding="utf-8") as file:
    rows = list(csv.reader(file, delimiter="|"))
  vectors = {}
  for name in ("george", "jackson", "lucas"):
    files = [fsdd / "wavs" / f"{r[0]}.flac" for r in rows if r[2] == name][::45]
    clips = [soxr.resample(soundfile.read(f)[0], 8000, RATE) for f in files]
    halves = [np.concatenate(clips[i::2]).astype(np.float32) for i in (0, 1)]
    vectors[name] = [metric.embed(half) for half in halves]
  same = [a @ b for a, b in vectors.values()]
  other = [
    a @ b for m in vectors for n in vectors if m < n for a in vectors[m]
    for b in vectors[n]
  ]  # fmt: skip
  assert min(same) > max(other)


def test_magnitudes_of_a_tone_peak_at_its_bin():
  x = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
  spectrum = speaker.magnitudes(x, n_fft=512, hop=160, window=np.ones(400))
  assert set(spectrum.argmax(axis=1)) == {32}


def test_codebook_statistics_have_closed_forms():
  uniform = np.tile(np.arange(64)[:, None], (1, 4))
  half = uniform // 2
  found = {}
  for name in ("codebook_usage", "codebook_perplexity"):
    metric = make_metrics([name], spec=SPEC)[0]
    scores = [metric.score(clip(codes_TxK=codes)) for codes in (uniform, half)]
    assert scores[1].value == pytest.approx(0.5 if name == "codebook_usage" else 32)
    found[name] = metric.summarise(scores)
  assert found["codebook_usage"]["mean"] == 1.0
  assert found["codebook_usage"]["ci95"][1] <= 1.0
  share = np.where(np.arange(64) < 32, 3, 1) / 128
  entropy = -np.sum(share * np.log2(share))
  np.testing.assert_allclose(
    found["codebook_perplexity"]["per_codebook"], [2**entropy] * 4
  )


def test_bitrate_is_the_specs():
  metric = make_metrics(["bitrate_kbps"], spec=SPEC)[0]
  assert metric.score(clip()).value == pytest.approx(50 * 4 * 6 / 1000)


@pytest.mark.parametrize("codes", [None, np.full((5, 3), 1), np.full((5, 4), 64)])
def test_bad_codes_fail(codes):
  with pytest.raises(MetricFailed, match="codes"):
    codebooks.CodebookUsage(SPEC).score(clip(codes_TxK=codes))


@pytest.mark.parametrize(
  ("changes", "reason"),
  [
    ({"audio": np.zeros(RATE, np.float32)}, "audio is silent"),
    ({"audio": np.full(RATE, np.nan, np.float32)}, "audio holds NaN"),
    ({"audio": voice(0)[:100]}, "audio too short"),
    ({"audio": voice(0)[: RATE - 900]}, "differ by 1.06 s in length"),
    ({"audio": np.stack([voice(0)] * 2)}, "audio must be mono"),
    ({"reference": None}, "no reference"),
  ],
)
def test_unfit_audio_fails_with_its_reason(changes, reason):
  with pytest.raises(MetricFailed, match=reason):
    prepare_pair(clip(**changes), rate=RATE, min_seconds=0.25)


def test_a_frame_of_padding_is_cut():
  one = clip()
  padded = np.concatenate([one.audio, np.zeros(319, np.float32)])
  reference, audio = prepare_pair(clip(audio=padded), rate=RATE, min_seconds=0.25)
  assert len(reference) == len(audio) == len(one.reference)


def test_unknown_repeated_and_specless_names_are_errors():
  with pytest.raises(ValueError, match="metric must be one of .*'pesq_wb'.*'pesk'"):
    make_metrics(["pesk"])
  with pytest.raises(ValueError, match="twice"):
    make_metrics(["stoi", "stoi"])
  with pytest.raises(ValueError, match="token spec"):
    make_metrics(["codebook_usage"])


def test_metrics_are_known_by_their_own_names():
  assert all(cls.name == name for name, cls in registry.METRICS.items())
