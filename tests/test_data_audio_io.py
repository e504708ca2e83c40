"""Reading an audio file: good ones give their samples, every bad one an error."""

import numpy as np
import pytest
import soundfile
from data_helpers import RATE, tone, write_tone

from jaxcodec.data.audio import decoding
from jaxcodec.data.audio.files import read_audio
from jaxcodec.data.source import DataError
from jaxcodec.data.sources.checked import AudioCache, resample


@pytest.mark.parametrize(("suffix", "error"), [("wav", 1e-4), ("flac", 1e-4)])
def test_reads_lossless_files(tmp_path, suffix, error):
  audio_N, rate = read_audio(write_tone(tmp_path / f"a.{suffix}"))
  assert rate == RATE and audio_N.dtype == np.float32
  np.testing.assert_allclose(audio_N, tone(), atol=error)


@pytest.mark.parametrize("suffix", ["mp3", "ogg"])
def test_reads_lossy_files(tmp_path, suffix):
  audio_N, rate = read_audio(write_tone(tmp_path / f"a.{suffix}"))
  assert rate == RATE and len(audio_N) == len(tone())
  assert np.corrcoef(audio_N, tone())[0, 1] > 0.99


def test_opus_is_not_late(tmp_path):
  path = tmp_path / "a.opus"
  soundfile.write(path, tone(), RATE, "OPUS", format="OGG")
  audio_N, rate = read_audio(path)
  assert rate == RATE and len(audio_N) == len(tone())
  assert np.corrcoef(audio_N, tone())[0, 1] > 0.99


def test_averages_channels(tmp_path):
  soundfile.write(tmp_path / "a.wav", np.tile([[0.5, -0.25]], (100, 1)), RATE)
  np.testing.assert_allclose(read_audio(tmp_path / "a.wav")[0], 0.125, atol=1e-4)


@pytest.mark.parametrize("share", [0.98, 0.5])
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_truncated(tmp_path, suffix, share, capfd):
  path = write_tone(tmp_path / f"cut.{suffix}", seconds=2)
  path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
  with pytest.raises(DataError, match=f"cut.{suffix}: (truncated|cannot be read)"):
    read_audio(path)
  capfd.readouterr()  # libmpg123 prints a warning of its own.


@pytest.mark.parametrize(
  ("data", "reason"),
  [
    (b"", "is an empty file"),
    (b"no audio" * 99, "cannot be read"),
    *((start, "") for start in (b"\xff", b"ID3", b"fLaC", b"OggS", b"RIFF", b".snd")),
    *((start, "") for start in (b"FORM\0\0\0\0AIFF", b"NIST_1A\n", b"riff", b"RF64")),
    (b".snd" + b"\xff" * 40, ""),
  ],
)
def test_not_audio(tmp_path, data, reason):
  path = tmp_path / "bad.wav"
  path.write_bytes(data)
  with pytest.raises(DataError, match=f"bad.wav: {reason}"):
    read_audio(path)


@pytest.mark.parametrize(
  ("samples", "reason"),
  [
    ([], "has no samples"),
    ([0.1, np.nan], "contains NaN or Inf"),
    ([0.1, -np.inf], "contains NaN or Inf"),
    ([12.0, 20000.0], r"samples reach 2e\+04"),
  ],
)
def test_bad_samples(tmp_path, samples, reason):
  path = tmp_path / "bad.wav"
  soundfile.write(path, np.array(samples, np.float32), RATE, subtype="FLOAT")
  with pytest.raises(DataError, match=f"bad.wav: {reason}"):
    read_audio(path)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100])
def test_resampled_sine_is_the_sine(rate):
  audio_N = resample(tone(rate=rate), rate, RATE)
  middle = slice(800, -800)
  np.testing.assert_allclose(audio_N[middle], tone()[middle], atol=1e-3)


def test_resampling_never_leaves_full_scale():
  square = np.sign(tone(rate=48_000))
  assert np.max(np.abs(resample(square, 48_000, RATE))) == 1.0


def test_cache_keeps_the_latest_within_its_bytes():
  cache = AudioCache(max_bytes=250)
  arrays = {key: np.full(25, key, np.float32) for key in range(3)}
  cache.put(0, arrays[0])
  cache.put(1, arrays[1])
  assert cache.get(0) is arrays[0]
  cache.put(2, arrays[2])
  assert cache.get(1) is None
  assert cache.get(0) is arrays[0] and cache.get(2) is arrays[2]
  cache.put(3, np.zeros(100, np.float32))
  assert cache.get(3) is None and cache.get(2) is arrays[2]


def test_what_is_done_with_a_sound_is_not_its_own_error(tmp_path):
  path = write_tone(tmp_path / "a.wav")
  with pytest.raises(OSError, match="No space"), decoding.opened(path):
    raise OSError(28, "No space left on device")
