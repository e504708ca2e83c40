"""Speech by language models: their inputs, what comes out, and files."""

import json

import jax
import numpy as np
import pytest
import soundfile
import soxr
import speech_helpers
from speech_helpers import FRAMES, HOP, RATE, K, noise, write_noise

from jaxcodec import api
from jaxcodec.api import slm_loading
from jaxcodec.cli.main import main
from jaxcodec.cli.speech_index import INDEX
from jaxcodec.data.text import Vocabulary, wrapped
from jaxcodec.inference import slm
from jaxcodec.semantic.tokenizer import SemanticTokenizer

pytest.importorskip("wetext")
VOICE = dict(prompt=noise(0.6, seed=1), prompt_rate=RATE)
SAID = dict(VOICE, prompt_text="Good day.")


def _codes(speech):
  return np.asarray(speech.tokens.codes_BxTxK)


def _same(ours, theirs):
  np.testing.assert_array_equal(_codes(ours), _codes(theirs))
  np.testing.assert_allclose(ours.audio_N, theirs.audio_N, atol=1e-6)
  assert ours.ended == theirs.ended


def test_what_is_said_again_is_as_long_and_from_the_seed(converter, tmp_path):
  path = write_noise(tmp_path / "a.wav", 0.53, rate=2 * RATE, channels=2)
  spoken = converter.speak_like(path, **VOICE)
  assert spoken.audio_N.shape == (round(0.53 * RATE),) and spoken.audio_N.std() > 0
  assert (spoken.sample_rate, spoken.ended, spoken.problem) == (RATE, True, None)
  again_1xNx1 = converter.codec.decode(spoken.tokens)
  np.testing.assert_allclose(spoken.audio_N, again_1xNx1[0, :, 0], atol=1e-6)
  spoken.tokens.save(tmp_path / "a.jxc")
  _same(spoken, converter.speak_like(path, **VOICE, seed=0))
  other = converter.speak_like(path, **VOICE, seed=1)
  assert (_codes(other) != _codes(spoken)).any()


def test_each_of_a_batch_is_as_alone(converter, speaker):
  contents = [noise(0.4), noise(0.5, seed=2)]
  batch = converter.speak_like(contents, **VOICE, content_rate=RATE, seed=[3, 4])
  for content, seed, spoken in zip(contents, (3, 4), batch, strict=True):
    alone = converter.speak_like(content, **VOICE, content_rate=RATE, seed=seed)
    _same(spoken, alone)
  texts = ["So it is.", "It was."]
  batch = speaker.speak(texts, **SAID, seed=5)
  for text, spoken in zip(texts, batch, strict=True):
    _same(spoken, speaker.speak(text, **SAID, seed=5))
  assert speaker.speak([]) == []


@pytest.fixture
def jobs(monkeypatch):
  """Records the jobs for language models, in order, and answers with silence."""
  found, nothing = [], np.zeros((3, K), np.int32)

  def keep(model, params, jobs, *_):
    found.extend(jobs)
    ended = [True] if isinstance(jobs[0], slm.SpeakJob) else []
    return iter([(0, nothing, *ended)])

  for name in ("fill", "speak"):
    monkeypatch.setattr(slm, name, keep)
  return found


def test_a_converter_is_given_tokens_of_both_recordings(converter, speech_runs, jobs):
  """Compares the model's inputs with the codec's and the tokeniser's own results."""
  content_N, voice_N = noise(0.35, rate=2 * RATE), noise(0.83, seed=1)
  voice_N[: 7 * HOP] *= 1e-3  # silence is left out
  rates = dict(content_rate=2 * RATE, prompt_rate=RATE)
  converter.speak_like(content_N, voice_N, **rates, seed=7)
  converter.speak_like(content_N, content_rate=2 * RATE)
  with_voice, without = jobs
  part = slice(7, 7 + round(0.6 * RATE / HOP))  # `prompt_seconds` of it
  codes = converter.codec.encode(voice_N).codes_BxTxK[0, part]
  np.testing.assert_array_equal(with_voice.prompt_TxK, codes)
  assert without.prompt_TxK is None and with_voice.seed == 7
  tokenizer = SemanticTokenizer.load(
    speech_runs["maskgit"] / "slm/semantic.safetensors"
  )
  said_N = soxr.resample(content_N, 2 * RATE, RATE, quality="HQ")
  semantic = []
  for clip_N, kept in ((voice_N, part), (said_N, slice(None))):
    padded_1xN = np.pad(clip_N, (0, 128 * HOP - len(clip_N)))[None]
    found_1xT = tokenizer.encode(padded_1xN, np.array([len(clip_N)], np.int32))
    semantic.append(found_1xT[0, : -(-len(clip_N) // HOP)][kept])
  np.testing.assert_array_equal(with_voice.semantic_T, np.concatenate(semantic))
  np.testing.assert_array_equal(without.semantic_T, semantic[1])


def test_a_speaker_is_given_both_texts(speaker, speech_runs, jobs):
  """Compares the model's inputs with the codec's and the vocabulary's own results."""
  speaker.speak("It was so.", **SAID, seed=7)
  speaker.speak("It was so.")
  with_voice, without = jobs
  vocabulary = Vocabulary.load(speech_runs["valle"] / "slm/vocabulary.json")
  ids = [vocabulary.encode(text) for text in ("Good day.", "It was so.")]
  np.testing.assert_array_equal(with_voice.text_S, wrapped(*ids))
  np.testing.assert_array_equal(without.text_S, wrapped(ids[1]))
  codes = speaker.codec.encode(VOICE["prompt"]).codes_BxTxK[0]
  np.testing.assert_array_equal(with_voice.prompt_TxK, codes)
  assert without.prompt_TxK is None and with_voice.seed == 7


def _ends(end):
  """Sets parameters so that the head alone decides whether the model ends."""

  def edit(params):
    params = jax.tree.map(np.zeros_like, params)
    ar = params["ar"]
    ar["transformer"]["last_norm"]["gain"] += 1
    ar["code_embed"]["embedding"] += 1
    ar["head"][:, -1] = end
    return params

  return edit


@pytest.fixture
def at_once_and_never(speaker, tmp_path, monkeypatch):
  """Returns a model that ends as soon as it may, and one that never ends."""
  monkeypatch.setattr(slm_loading, "CodecModel", lambda *_: speaker.codec)
  return [
    api.load_slm(speech_helpers.write_run(tmp_path / str(end), "valle", _ends(end)))
    for end in (50.0, -50.0)
  ]


def test_no_end_and_an_end_at_once_are_told(at_once_and_never):
  at_once, never = at_once_and_never
  cut = never.speak("So it is.", **SAID)
  assert not cut.ended and cut.audio_N.shape == (FRAMES * HOP,)
  assert cut.problem == "did not end by itself: cut after 0.40 s"
  mute = at_once.speak("So it is.", **SAID)
  assert mute.ended and mute.audio_N.shape == (0,) and not mute.seconds
  assert mute.problem.startswith("ended at once")


def _command(monkeypatch, model, *arguments):
  """Runs `jaxcodec synthesize` with a loaded model; returns the exit code."""
  monkeypatch.setattr(api, "load_slm", lambda weights, **_: model)
  return main(["synthesize", "--weights", "run", *map(str, arguments)])


def _heard(path):
  audio_N, rate = soundfile.read(path, dtype="float32")
  assert rate == RATE
  return audio_N


def test_a_command_for_each_kind(converter, speaker, tmp_path, monkeypatch, capsys):
  voice, out = write_noise(tmp_path / "voice.wav", 0.6, seed=1), tmp_path / "out.wav"
  content = write_noise(tmp_path / "content.wav", 0.4)
  arguments = ["--prompt", voice, "--out", out, "--seed", 6]
  assert not _command(monkeypatch, converter, "--like", content, *arguments)
  assert capsys.readouterr().out == f"1 of 1 spoken, in {out}\n"
  spoken = converter.speak_like(content, voice, seed=6)
  np.testing.assert_allclose(_heard(out), np.clip(spoken.audio_N, -1, 1), atol=1e-4)
  asked = ["--text", "So it is.", "--prompt-text", "Good day.", *arguments]
  assert _command(monkeypatch, speaker, *asked) == 2
  assert "out.wav among them; --overwrite" in capsys.readouterr().err
  assert not _command(monkeypatch, speaker, *asked, "--overwrite")
  spoken = speaker.speak("So it is.", voice, prompt_text="Good day.", seed=6)
  np.testing.assert_allclose(_heard(out), np.clip(spoken.audio_N, -1, 1), atol=1e-4)


def test_a_table_becomes_a_folder(converter, speaker, tmp_path, monkeypatch):
  voice = write_noise(tmp_path / "in" / "voice.wav", 0.6, seed=1)
  content = write_noise(tmp_path / "in" / "deep" / "content.wav", 0.4)
  table, out = tmp_path / "in" / "jobs.tsv", tmp_path / "out"
  table.write_text(
    "out\tlike\tprompt\tseed\r\n"
    "a/b.wav\tdeep/content.wav\tvoice.wav\t\r\n\r\n"
    f"c.wav\t{content}\t{voice}\t8\r\n"
  )
  arguments = ["--tsv", table, "--out", out, "--seed", 9]
  assert not _command(monkeypatch, converter, *arguments)
  for name, seed in (("a/b.wav", 9), ("c.wav", 8)):
    expected_N = converter.speak_like(content, voice, seed=seed).audio_N
    np.testing.assert_allclose(
      _heard(out / name), np.clip(expected_N, -1, 1), atol=1e-4
    )
  rows = [json.loads(line) for line in (out / INDEX).read_text().splitlines()]
  assert [(row["out"], row["seed"]) for row in rows] == [
    (str(out / "a/b.wav"), 9),
    (str(out / "c.wav"), 8),
  ]
  assert all(row["ended"] and row["problem"] is None for row in rows)


def test_what_did_not_end_well_is_listed(
  at_once_and_never, tmp_path, monkeypatch, capsys
):
  at_once, never = at_once_and_never
  table, out = tmp_path / "jobs.tsv", tmp_path / "out"
  voice = write_noise(tmp_path / "voice.wav", 0.6, seed=1)
  row = ("a.wav", 'So "it" is.', voice, "Good day.")
  table.write_text("out\ttext\tprompt\tprompt_text\n" + "\t".join(row) + "\n")
  arguments = ["--tsv", table, "--out", out, "--overwrite"]
  assert _command(monkeypatch, never, *arguments) == 0
  assert _heard(out / "a.wav").shape == (FRAMES * HOP,)
  (row,) = map(json.loads, (out / INDEX).read_text().splitlines())
  assert not row["ended"] and row["problem"] in capsys.readouterr().err
  assert _command(monkeypatch, at_once, *arguments) == 1
  assert [path.name for path in out.iterdir()] == [INDEX]
  printed = capsys.readouterr()
  assert "a.wav: ended at once" in printed.err and "0 of 1 spoken" in printed.out
