"""The embedded corpus: what it says, how it sounds, and its cache on disk."""

import collections
import hashlib
import itertools
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from jaxcodec.data.source import DataError, open_source
from jaxcodec.data.sources import matrix, voices
from jaxcodec.data.sources.embedded import master
from jaxcodec.data.sources.scripts import corpus_folder, list_utterances
from jaxcodec.data.split import make_split

RATE = 16_000
OPEN = (
  "from jaxcodec.data.source import open_source;"
  "print(open_source('embedded', sample_rate=16000, max_utterances=4).fingerprint)"
)


def read(**options):
  return open_source("embedded", sample_rate=RATE, **options)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
  """Returns a cache with the first four utterances, spoken by two processes at once."""
  pytest.importorskip("hibari")
  cache = tmp_path_factory.mktemp("cache")
  environment = {**os.environ, "JAXCODEC_CACHE": str(cache)}
  processes = [
    subprocess.Popen(
      [sys.executable, "-W", "error", "-c", OPEN],
      env=environment,
      stdout=subprocess.PIPE,
      text=True,
    )
    for _ in range(2)
  ]
  prints = [process.communicate(timeout=120)[0].strip() for process in processes]
  assert [process.returncode for process in processes] == [0, 0]
  assert prints[0] == prints[1]
  return cache, prints[0]


@pytest.fixture
def cache(spoken, monkeypatch):
  monkeypatch.setenv("JAXCODEC_CACHE", str(spoken[0]))
  return spoken[0]


def test_sentences_are_varied_and_clean():
  files = list_utterances("sentences", 4)
  sentences = collections.Counter(file.text for file in files)
  assert len(sentences) > 400 and set(sentences.values()) == {4}
  assert len({file.id for file in files}) == len(files)
  assert len({(file.text, file.speaker) for file in files}) == len(files)
  for sentence in sentences:
    assert re.fullmatch(r"[A-Z][A-Za-z ,'-]+\.", sentence), sentence
    assert 5 <= len(sentence.split()) <= 14, sentence
  speakers = collections.Counter(file.speaker for file in files)
  assert speakers == dict.fromkeys(speakers, len(sentences)) and len(speakers) == 4
  assert {file.speaker for file in files[:4]} == set(speakers)
  every = list_utterances("sentences", len(voices.VOICES))
  assert len(every) == len({file.id for file in every}) == 8 * len(sentences)


def test_open_begins_with_the_written_sentences():
  written = list_utterances("sentences", 4)[:434]
  files = list_utterances("open", 4)
  assert len(files) == 3200 and files[:434] == written
  every = list_utterances("open", 4, 14_000)
  assert every[:3200] == files and {f.path.parent for f in every[434:]} == {
    corpus_folder("open")
  }
  assert len({f.text for f in every}) == len({f.id for f in every}) == 14_000
  assert collections.Counter(f.speaker for f in every).most_common()[-1][1] == 3500
  assert len(list_utterances("open", 2, 100_000)) == 28_000


def test_drawn_sentences_are_kept_as_they_are():
  """A change of a sentence would leave its old speech in caches: see `FOLDERS`."""
  drawn = [file.text for file in list_utterances("open", 1, 14_000)[434:]]
  digest = hashlib.sha256("\n".join(drawn).encode()).hexdigest()
  assert digest == "854487bb1c800f0c9938df264f3760eb0779b465152dcc3333d8bd89d18d83f0"
  for sentence in drawn:
    assert re.fullmatch(r"[A-Z][A-Za-z ,'-]+[.?]", sentence), sentence
    assert 4 <= len(sentence.split()) <= 14, sentence


def test_drawn_sentences_are_those_of_the_grammar():
  pytest.importorskip("hibari")
  import write_sentences

  texts = [file.text for file in list_utterances("open", 1, 440)]
  drawn = itertools.islice(write_sentences.draw_sentences(texts[:434]), 6)
  assert list(drawn) == texts[434:]


def _say_each_word(utterances, times):
  for position, words in enumerate(matrix.SLOTS):
    said = collections.Counter(u.text[:-1].split()[position] for u in utterances)
    assert said == dict.fromkeys(words, times)


@pytest.mark.parametrize("num_voices", [1, 3, 4])
def test_matrix_has_every_word_equally_often(num_voices):
  number = 10 * num_voices
  files = list_utterances("matrix", num_voices, 5 * number)
  for start in range(0, len(files), number):
    part = files[start : start + number]
    _say_each_word(part, num_voices)
    for voice in voices.VOICES[:num_voices]:
      _say_each_word([file for file in part if file.speaker == voice.name], 1)
  assert len({file.speaker for file in files[:num_voices]}) == num_voices


def test_matrix_sentences_are_each_said_once():
  files = list_utterances("matrix", 4)
  assert (
    len(files) == len({f.text for f in files}) == len({f.id for f in files}) == 3200
  )
  assert files[0].text == "Nina keeps five huge vases."
  everything = {file.text for file in list_utterances("matrix", 1, 200_000)}
  assert len(everything) == 100_000
  # Which sentence an id says does not hang on how many voices there are.
  said = {(f.id[-5:], f.text) for n in (1, 4, 8) for f in list_utterances("matrix", n)}
  assert len(dict(said)) == len(said)


def test_matrix_holds_out_sentences_of_known_words():
  files = list_utterances("matrix", 4)
  split = make_split(files, seed=0)
  words = {
    part: {w for i in split[part] for w in files[i].text.split()} for part in split
  }
  assert len(words["train"]) == 50 and words["test"] == words["valid"] == words["train"]
  assert len(split["test"]) > 50


def test_matrix_has_a_folder_of_its_own(cache):
  source = read(script="matrix", max_utterances=1)
  assert [u.text for u in source.utterances] == [
    list_utterances("matrix", 4, 1)[0].text
  ]
  assert len(list(corpus_folder("matrix").glob("*.flac"))) == 1
  assert corpus_folder("matrix") != corpus_folder()


def test_sounds_as_it_should(spoken, cache):
  source = read(max_utterances=4)
  assert source.fingerprint == spoken[1] and source.skipped == []
  for index, utterance in enumerate(source.utterances):
    audio_N = source.audio(index, RATE)
    assert 1.5 < utterance.seconds < 5 and np.max(np.abs(audio_N)) <= 0.95
    level = 10 * np.log10(np.mean(np.square(audio_N)))
    assert -26 < level < -22
    ends = np.concatenate([audio_N[: RATE // 20], audio_N[-RATE // 20 :]])
    assert 10 * np.log10(np.mean(np.square(ends)) + 1e-12) < level - 25
  assert {u.speaker for u in source.utterances} == {"ada", "ben", "eva", "max"}
  assert set(make_split(source.utterances, seed=0)) == {"train", "valid", "test"}


def test_stretch_scales_pitch(cache):
  pitch = {}
  short, long = voices.VOICES[0], voices.VOICES[3]
  for voice in (short, long):
    audio_N, rate = voices.speak("We are all on our own.", voice)
    pitch[voice.name] = _pitch(audio_N, rate)
  ratio = long.stretch / short.stretch
  assert pitch["ada"] / pitch["max"] == pytest.approx(ratio, rel=0.15)


def _pitch(audio_N, rate):
  """Returns the pitch in Hz: median over loud frames of the autocorrelation's peak."""
  frames = audio_N[: len(audio_N) // 1024 * 1024].reshape(-1, 1024)
  loud = frames[np.std(frames, axis=1) > np.std(audio_N)]
  lags = slice(rate // 300, rate // 60)
  spectra = np.abs(np.fft.rfft(loud, 2048)) ** 2
  best = np.argmax(np.fft.irfft(spectra)[:, lags], axis=1)
  return rate / (np.median(best) + lags.start)


def test_deterministic(cache):
  first, second = (
    voices.speak("The same words again.", voices.VOICES[1])[0] for _ in range(2)
  )
  np.testing.assert_array_equal(first, second)


def test_broken_and_missing_files_are_spoken_again(spoken, cache):
  flacs = sorted(corpus_folder().glob("*.flac"))
  assert len(flacs) == 4
  flacs[0].write_bytes(flacs[0].read_bytes()[:2000])
  flacs[1].unlink()
  flacs[2].write_bytes(b"")
  (corpus_folder() / "left.part").write_bytes(b"fLaC")
  untouched = flacs[3].stat().st_mtime_ns
  assert read(max_utterances=4).fingerprint == spoken[1]
  assert flacs[3].stat().st_mtime_ns == untouched


def test_master_trims_and_levels():
  rng = np.random.default_rng(0)
  speech = 0.02 * rng.standard_normal(RATE).astype(np.float32)
  silence = 1e-5 * rng.standard_normal(RATE).astype(np.float32)
  audio_N = master(np.concatenate([silence, speech, silence]), RATE)
  assert len(audio_N) == pytest.approx(1.2 * RATE, abs=RATE // 100)
  assert 10 * np.log10(np.mean(np.square(audio_N))) == pytest.approx(-23, abs=0.1)
  click = speech.copy()
  click[500] = 5
  assert np.max(np.abs(master(click, RATE))) == pytest.approx(0.9)


@pytest.mark.parametrize(
  ("options", "reason"),
  [
    ({"path": "speech"}, "data.path is 'speech', .* set data.source='folder'"),
    ({"max_utterances": 0}, "data.options.max_utterances must be positive"),
    ({"max_utterances": "4"}, r"data.options.max_utterances must be int \| None"),
    ({"max_utterances": True}, r"data.options.max_utterances must be int \| None"),
    ({"script": "matrices"}, "script must be one of 'sentences', 'open', 'matrix'"),
    ({"script": 3}, "data.options.script must be str, got 3"),
    ({"voices": 9}, "data.options.voices must be 1 to 8, got 9"),
    ({"voices": 2.0}, "data.options.voices must be int, got 2.0"),
    ({"voice": 2}, r"data.options.voice: not an option of .*'embedded', .*'voices'"),
  ],
)
def test_bad_settings(options, reason):
  with pytest.raises(DataError, match=reason):
    read(**options)


def test_missing_synthesiser_names_the_install_line(tmp_path, monkeypatch):
  monkeypatch.setenv("JAXCODEC_CACHE", str(tmp_path))
  monkeypatch.setitem(sys.modules, "hibari", None)
  voices.load_model.cache_clear()
  with pytest.raises(DataError, match=r'pip install "jaxcodec\[corpus\]"'):
    read(max_utterances=1)
  assert not list(tmp_path.iterdir())


def test_kept_at_the_voices_own_rate(cache):
  read(max_utterances=4)
  info = soundfile.info(next(iter(corpus_folder().glob("*.flac"))))
  assert (info.samplerate, info.channels, info.subtype) == (24_000, 1, "PCM_16")
