"""Long texts and recordings: their pieces, in whose voice each is, and problems."""

import numpy as np
import pytest
from speech_helpers import HOP, RATE, K, noise

from jaxcodec.api import quiet
from jaxcodec.data.text import Vocabulary, wrapped
from jaxcodec.inference import slm

pytest.importorskip("wetext")
VOICE = dict(prompt=noise(0.6, seed=1), prompt_rate=RATE)
SAID = dict(VOICE, prompt_text="Good day.")


def _codes(speech):
  return np.asarray(speech.tokens.codes_BxTxK)


@pytest.mark.parametrize("said", [SAID, {}])
def test_a_long_text_is_spoken_in_pieces(speaker, speech_runs, monkeypatch, said):
  """Its codes are those of its sentences, each in the voice of prompt or first."""
  found = []

  def answer(model, params, jobs, *_):
    found.extend(jobs)
    for index in reversed(range(len(jobs))):
      code = len(found) - len(jobs) + index
      yield index, np.full((code + 1, K), code, np.int32), code != 2

  monkeypatch.setattr(slm, "speak", answer)
  sentences = [
    f"{word} it was a long way to go from there." for word in ("So", "No", "Oh")
  ]
  long, short = speaker.speak([" ".join(sentences), "It is."], **said, seed=7)
  vocabulary = Vocabulary.load(speech_runs["valle"] / "slm/vocabulary.json")
  ids = [vocabulary.encode(text) for text in (*sentences, "It is.", "Good day.")]
  # Behind a prompt all are spoken at once, without one the others wait for the first.
  of_short = 3 if said else 1
  assert [job.seed for job in found] == ([7, 8, 9, 7] if said else [7, 7, 8, 9])
  other, first = found.pop(of_short), found[0]
  rest = found[1:]
  assert _codes(short)[0, :, 0].tolist() == [of_short] * (of_short + 1) and short.ended
  spoken = [code for code in range(4) if code != of_short for _ in range(code + 1)]
  assert _codes(long)[0, :, 0].tolist() == spoken and not long.ended
  cut_piece = f"piece {2 + (said != {})} of 3 did not end by itself: cut after"
  assert long.problem.startswith(cut_piece) and short.problem is None
  voice = [ids[4]] if said else []
  np.testing.assert_array_equal(first.text_S, wrapped(*voice, ids[0]))
  np.testing.assert_array_equal(other.text_S, wrapped(*voice, ids[3]))
  for job, piece in zip(rest, ids[1:3], strict=True):
    before = ids[4] if said else ids[0]
    np.testing.assert_array_equal(job.text_S, wrapped(before, piece))
    expected = first.prompt_TxK if said else np.zeros((1, K))
    np.testing.assert_array_equal(job.prompt_TxK, expected)
    assert job.prompt_symbols == len(before)


def test_a_piece_that_fails_gives_no_voice_and_is_named(speaker, monkeypatch):
  """A voice is that of the first piece that was spoken to its end."""
  answers = iter([(0, True), (9, False), (5, True), (4, True), (0, True)])
  found = []

  def answer(model, params, jobs, *_):
    for index, job in enumerate(jobs):
      found.append(job)
      frames, ended = next(answers)
      yield index, np.zeros((frames, K), np.int32), ended

  monkeypatch.setattr(slm, "speak", answer)
  text = " ".join(
    f"{w} it was a long way to go from there." for w in "So No Oh Go".split()
  )
  spoken = speaker.speak(f"{text} It was so very long a way to go.")
  assert [job.prompt_TxK is None for job in found] == [True, True, True, False, False]
  assert [len(job.prompt_TxK) for job in found[3:]] == [5, 5]
  assert spoken.problem == (
    "piece 1 of 5 ended at once: nothing is spoken; another seed may help; piece 2 of 5"
    f" did not end by itself: cut after {9 * HOP / RATE:.2f} s; piece 5 of 5 ended at"
    " once: nothing is spoken; another seed may help"
  )


@pytest.mark.parametrize("said", [VOICE, {}])
def test_a_long_recording_is_said_in_pieces(converter, monkeypatch, said):
  """Each piece is as long as in training, with the prompt, or the end of the first."""
  found = []

  def answer(model, params, jobs, *_):
    for index, job in enumerate(jobs):
      found.append(job)
      frames = len(job.semantic_T) - _prompt_frames(job)
      yield index, np.full((frames, K), len(found) % 16, np.int32)

  monkeypatch.setattr(slm, "fill", answer)
  window = round(1.2 * RATE / HOP)
  content_N = noise(3.1, seed=2)
  spoken = converter.speak_like(content_N, content_rate=RATE, **said, seed=5)
  assert len(spoken.audio_N) == len(content_N) and spoken.ended
  assert [job.seed for job in found] == [5 + k for k in range(len(found))]
  assert all(len(job.semantic_T) <= window for job in found)
  alone = [job for job in found if job.prompt_TxK is None]
  assert len(alone) == (0 if said else 1)
  whole_T = np.concatenate([job.semantic_T[_prompt_frames(job) :] for job in found])
  length_1 = np.array([len(content_N)], np.int32)
  expected = converter._tokenizer.encode(content_N[None], length_1)
  np.testing.assert_array_equal(whole_T, expected[0])
  if not said:
    for job in found[1:]:
      assert (job.prompt_TxK == 1).all() and 0 < _prompt_frames(job) <= window // 2


def _prompt_frames(job):
  return 0 if job.prompt_TxK is None else len(job.prompt_TxK)


def test_cuts_are_where_it_is_quiet():
  power_T = np.ones(100)
  power_T[[38, 39, 40, 41, 42]] = power_T[[70, 71, 72, 73, 74]] = 0.1
  assert quiet.cuts(power_T, 50) == [40, 72]
  assert quiet.cuts(power_T, 100) == [] and quiet.cuts(np.ones(7), 2)[-1] >= 5
  loud = np.r_[np.zeros(10), np.ones(20)]
  assert quiet.speech(loud, 15) == slice(10, 25)
  assert quiet.speech(loud, 25) == slice(5, 30) and quiet.speech(loud, 40).start == 0
