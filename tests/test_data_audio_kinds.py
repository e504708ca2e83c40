"""Good files of odd kinds are read to their ends; what was cut is never taken whole."""

import struct

import audio_kinds as kinds
import numpy as np
import pytest
import soundfile
from audio_kinds import RATE, WAVE

from jaxcodec.data import extras
from jaxcodec.data.audio.files import read_audio, read_channels, read_rate, scan_audio
from jaxcodec.data.source import DataError

WAV_KINDS = ("GSM610", "G721_32", "NMS_ADPCM_16", "IMA_ADPCM", "MS_ADPCM", "ULAW")
CONTAINERS = ("WAV", "RF64", "W64", "AIFF", "AU", "NIST", "CAF")
OPEN_SIZES = (0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 0x7FFFFFDB, 0)


def _put(tmp_path, content, name="a.bin"):
  path = tmp_path / name
  path.write_bytes(content)
  return path


def _read(tmp_path, content):
  """Returns the samples (N,); the check that keeps none of them finds as many."""
  path = _put(tmp_path, content)
  audio_N, rate = read_audio(path)
  info = scan_audio(path)
  assert (info.num_samples, info.sample_rate) == (len(audio_N), rate)
  assert read_rate(path) == rate
  return audio_N


def _refused(tmp_path, content, reason):
  path = _put(tmp_path, content, "bad.bin")
  for read in (read_audio, scan_audio):
    with pytest.raises(DataError, match=f"bad.bin: .*{reason}"):
      read(path)


def _alike(audio_N, wanted_N):
  assert np.corrcoef(audio_N, wanted_N)[0, 1] > 0.98


def _random_bytes(count):
  return np.random.default_rng(0).bytes(count)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_mp3_without_its_count_of_frames(tmp_path, mode):
  content = kinds.encoded("MP3", bitrate_mode=mode)
  bare = kinds.without_xing(content)
  assert b"Xing" in content and b"Xing" not in bare
  audio_N = _read(tmp_path, bare)
  # MPEG 2's frames have 576 samples; nothing says how many of them the encoder added.
  assert len(audio_N) % 576 == 0 and 0 <= len(audio_N) - len(WAVE) < 4 * 576
  start = np.argmax(np.correlate(audio_N, WAVE[:4000], "valid"))
  _alike(audio_N[start : start + 4000], WAVE[:4000])


def test_mp3_whose_first_frame_counts_nothing(tmp_path):
  content = kinds.encoded("MP3")
  bare_N = _read(tmp_path, kinds.without_xing(content))
  at = content.index(b"Xing")
  unsaid = content[: at + 7] + b"\0" + content[at + 8 :]
  fraunhofer = content[:at] + bytes(36 - at) + b"VBRI" + content[40:]
  for other in (unsaid, fraunhofer):
    np.testing.assert_array_equal(_read(tmp_path, other), bare_N)


def test_mp3_by_ffmpeg_to_a_pipe(tmp_path):
  content = kinds.muxed("mp3", "libmp3lame", pipe=True, options={"write_xing": "0"})
  assert len(_read(tmp_path, content)) >= 48_000


def test_a_cut_mp3_is_found_with_and_without_its_count(tmp_path, capfd):
  content = kinds.encoded("MP3")
  for whole in (content, kinds.without_xing(content)):
    _refused(tmp_path, whole[: len(whole) // 2], "truncated")
    _refused(tmp_path, whole[:-1], "truncated")
  last_frame = content.rindex(content[:2])
  _refused(tmp_path, content[:last_frame], "truncated")
  capfd.readouterr()  # libmpg123 prints a warning of its own


def test_frames_behind_those_that_an_mp3_counts(tmp_path):
  content = kinds.encoded("MP3")
  behind = kinds.without_xing(kinds.encoded("MP3", bitrate_mode="CONSTANT"))
  both_N = _read(tmp_path, content + behind)
  assert len(both_N) == len(WAVE) + len(_read(tmp_path, behind))


@pytest.mark.parametrize("seconds", [1, 7])
def test_flac_of_unknown_length(tmp_path, seconds):
  content = bytearray(kinds.encoded("FLAC", audio=np.tile(WAVE, seconds)))
  content[21] &= 0xF0
  content[22:42] = bytes(20)  # no count of samples, no checksum
  audio_N = _read(tmp_path, bytes(content))
  np.testing.assert_allclose(audio_N, np.tile(WAVE, seconds), atol=1e-4)
  _refused(tmp_path, bytes(content[: len(content) // 2]), "cannot be read")


def test_flac_by_ffmpeg_to_a_pipe(tmp_path):
  assert len(_read(tmp_path, kinds.muxed("flac", "flac", pipe=True))) == 48_000


@pytest.mark.parametrize("subtype", WAV_KINDS)
def test_wav_kinds_that_cannot_seek(tmp_path, subtype):
  content = kinds.encoded("WAV", subtype)
  audio_N = _read(tmp_path, content)
  assert 0 <= len(audio_N) - len(WAVE) < 4096  # whole blocks
  _alike(audio_N[: len(WAVE)], WAVE)
  _refused(tmp_path, content[: len(content) // 2], "truncated")


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("size", OPEN_SIZES)
def test_streamed_wav(tmp_path, size, subtype):
  content = kinds.with_wav_sizes(kinds.encoded("WAV", subtype), size)
  np.testing.assert_allclose(_read(tmp_path, content), WAVE, atol=1e-4)


def test_streamed_big_endian_wav(tmp_path):
  content = kinds.encoded("WAV", endian="BIG")
  assert content[:4] == b"RIFX"
  audio_N = _read(tmp_path, kinds.with_wav_sizes(content, 0))
  np.testing.assert_allclose(audio_N, WAVE, atol=1e-4)


@pytest.mark.parametrize(
  ("format", "codec", "options"),
  [
    ("wav", "pcm_s16le", {}),
    ("wav", "pcm_s16le", {"rf64": "always"}),
    ("w64", "pcm_s16le", {}),
    ("aiff", "pcm_s16be", {}),
    ("au", "pcm_s16be", {}),
    ("caf", "pcm_s16be", {}),
  ],
)
def test_what_ffmpeg_writes_to_a_pipe(tmp_path, format, codec, options):
  content = kinds.muxed(format, codec, pipe=True, options=options)
  assert len(_read(tmp_path, content)) == 48_000


def test_a_wav_of_no_samples_stays_one(tmp_path):
  content = kinds.encoded("WAV", audio=WAVE[:0])
  _refused(tmp_path, content, "has no samples")
  _refused(tmp_path, content + b"LIST\x04\0\0\0INFO", "has no samples")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_without_its_end_flag(tmp_path, subtype):
  content = kinds.encoded("OGG", subtype)
  path = _put(tmp_path, content)
  expected_N, _ = read_audio(path)
  audio_N = _read(tmp_path, kinds.without_end_flag(content))
  assert len(audio_N) >= len(expected_N)
  _alike(audio_N[: len(expected_N)], expected_N)


JOINED = {
  "vorbis": lambda: kinds.encoded("OGG"),
  "opus": lambda: kinds.encoded("OGG", "OPUS"),
  "flac": lambda: kinds.encoded("FLAC"),
  "flac of a pipe": lambda: kinds.muxed("flac", "flac", pipe=True),
  "mp3": lambda: kinds.encoded("MP3"),
  "mp3 without a count": lambda: kinds.without_xing(kinds.encoded("MP3")),
  "mp3 with tags": lambda: b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + kinds.encoded("MP3"),
  "wav": lambda: kinds.encoded("WAV"),
  "rifx": lambda: kinds.encoded("WAV", endian="BIG"),
  "rf64": lambda: kinds.encoded("RF64"),
  "w64": lambda: kinds.encoded("W64"),
  "aiff": lambda: kinds.encoded("AIFF"),
  "au": lambda: kinds.encoded("AU"),
  "nist": lambda: kinds.encoded("NIST"),
  "aac": lambda: kinds.muxed("adts", "aac"),
}


@pytest.mark.parametrize("kind", JOINED)
def test_joined_files_are_read_to_the_end(tmp_path, kind, capfd):
  content = JOINED[kind]()
  one_N = _read(tmp_path, content)
  both_N = _read(tmp_path, content + content)
  assert len(both_N) == 2 * len(one_N)
  _alike(both_N[len(one_N) :], one_N)
  capfd.readouterr()  # libmpg123 prints a warning of its own


@pytest.mark.parametrize("kind", ["vorbis", "flac", "mp3", "wav", "aiff"])
def test_joined_files_of_which_the_second_is_cut(tmp_path, kind, capfd):
  content = JOINED[kind]()
  _refused(tmp_path, content + content[: len(content) // 2], "")
  capfd.readouterr()


def test_joined_files_of_two_rates(tmp_path):
  content = kinds.encoded("FLAC") + kinds.encoded("FLAC", rate=8000)
  _refused(tmp_path, content, "several files in one, of 16000 Hz .* and of 8000 Hz")


@pytest.mark.parametrize("share", [0.5, 0.98])
@pytest.mark.parametrize("format", CONTAINERS)
def test_cut_containers(tmp_path, format, share):
  content = kinds.encoded(format)
  assert len(_read(tmp_path, content)) == len(WAVE)
  _refused(tmp_path, content[: int(len(content) * share)], "truncated")


def test_cut_big_endian_wav(tmp_path):
  content = kinds.encoded("WAV", endian="BIG")
  _refused(tmp_path, content[: len(content) // 2], "truncated")


@pytest.mark.parametrize("rate", [1, 999, 2_000_000_000])
def test_a_rate_that_no_sound_has(tmp_path, rate):
  content = bytearray(kinds.encoded("WAV"))
  at = content.index(b"fmt ") + 12
  struct.pack_into("<II", content, at, rate, 2 * rate % 2**32)
  _refused(tmp_path, bytes(content), f"header says {rate} Hz")


def test_names_that_are_not_unicode(tmp_path):
  path = _put(
    tmp_path, kinds.encoded("WAV"), b"a\xff.wav".decode("utf-8", "surrogateescape")
  )
  assert len(read_audio(path)[0]) == len(WAVE)


def test_many_channels_are_read_in_small_blocks(tmp_path):
  content = kinds.encoded("WAV", audio=np.tile(WAVE[:100, None], (1, 1000)))
  audio_NxC, _ = read_channels(_put(tmp_path, content))
  assert audio_NxC.shape == (100, 1000)


BY_PYAV = {
  "m4a": (("ipod", "aac"), {}),
  "mp4, its index last": (("mp4", "aac"), {}),
  "mp4 in fragments": (
    ("mp4", "aac"),
    {"pipe": True, "options": {"movflags": "frag_keyframe+empty_moov"}},
  ),
  "mp4, alac": (("ipod", "alac"), {}),
  "webm": (("webm", "libopus"), {}),
  "webm of a pipe": (("webm", "libopus"), {"pipe": True}),
  "matroska": (("matroska", "flac"), {}),
  "aac": (("adts", "aac"), {}),
  "wma": (("asf", "wmav2"), {"rate": 44_100}),
}


@pytest.mark.parametrize("kind", BY_PYAV)
def test_containers_that_pyav_reads(tmp_path, kind):
  arguments, options = BY_PYAV[kind]
  content = kinds.muxed(*arguments, **options)
  audio_N = _read(tmp_path, content)
  # Frames of 1024 samples may come with one before the sound and a last one; of WMA,
  # FFmpeg's encoder leaves the end out.
  rate = options.get("rate", 48_000)
  assert rate - 2048 <= len(audio_N) <= rate + 2 * 1024
  assert np.abs(audio_N[20_000:40_000]).max() == pytest.approx(0.3, abs=0.02)
  for share in (0.5, 0.9, 0.995):
    _refused(tmp_path, content[: int(len(content) * share)], "truncated")


@pytest.mark.parametrize("format", ["matroska", "mp4"])
def test_flac_in_a_container_has_checksums(tmp_path, format):
  content = bytearray(kinds.muxed(format, "flac"))
  content[len(content) // 2] ^= 1
  _refused(tmp_path, bytes(content), "cannot be read as audio")


def test_one_line_says_that_pyav_is_missing(tmp_path, monkeypatch):
  def missing(name):
    raise ImportError(f"No module named {name!r}")

  monkeypatch.setattr(extras, "_import", missing)
  content = kinds.muxed("ipod", "aac")
  _refused(tmp_path, content, r'MP4 .*pip install "jaxcodec\[containers\]"')
  assert len(read_audio(_put(tmp_path, kinds.encoded("WAV")))[0]) == len(WAVE)


def test_a_film_without_sound(tmp_path):
  frames = kinds.av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
  file = tmp_path / "film.mp4"
  with kinds.av.open(str(file), "w") as container:
    stream = container.add_stream("mpeg4", rate=25)
    stream.width = stream.height = 32
    stream.pix_fmt = "yuv420p"
    for packet in (*stream.encode(frames), *stream.encode(None)):
      container.mux(packet)
  with pytest.raises(DataError, match="film.mp4: holds no sound"):
    read_audio(file)


def test_libsndfile_alone_reads_the_common_suffixes(tmp_path):
  for suffix, format in (("oga", "OGG"), ("aiff", "AIFF"), ("au", "AU")):
    path = _put(tmp_path, kinds.encoded(format), f"a.{suffix}")
    assert soundfile.info(path).frames == len(read_audio(path)[0])
  path = _put(tmp_path, kinds.encoded("OGG", "OPUS"), "a.opus")
  assert len(read_audio(path)[0]) == RATE
