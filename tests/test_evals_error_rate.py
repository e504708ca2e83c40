"""Error rates against jiwer and by hand, and the recogniser on real speech."""

import csv

import jiwer
import pytest
import soundfile
from evals_helpers import clip, voice

from jaxcodec.evals.evaluate import evaluate, load_metrics
from jaxcodec.evals.metric import MetricAbsent, MetricFailed
from jaxcodec.evals.metrics import error_rate
from jaxcodec.evals.models import asr
from jaxcodec.evals.registry import make_metrics

HEARD = {
  "Two hundred and five birds, Mr. Smith's!": "205 bird mister smiths",
  "It's easy to tell the depth of a well.": "It is easy to tell the depth of a well",
  "Glue the sheet": "the sheet of paper",
}


class Parrot:
  """A recogniser that answers from a table and counts its calls."""

  name, sha256, calls = "parrot", "0", 0

  def __init__(self, answers):
    self.answers = iter(answers)

  def transcribe(self, audio, language):
    self.calls += 1
    return next(self.answers)


@pytest.fixture
def parrot(monkeypatch):
  bird = Parrot(HEARD.values())
  transcripts = asr.Transcripts(bird)
  monkeypatch.setattr(asr, "load_transcripts", lambda model, **_: transcripts)
  return bird


def test_corpus_rates_match_jiwer_on_the_normalised_texts(parrot):
  clips = [clip(k, text=text) for k, text in enumerate(HEARD)]
  metrics = load_metrics(make_metrics(["wer", "cer"])).metrics
  found = evaluate(clips, metrics)
  expected = [metrics[0].normalise(t) for t in HEARD]
  heard = [metrics[0].normalise(t) for t in HEARD.values()]
  assert found.summary["wer"]["mean"] == pytest.approx(jiwer.wer(expected, heard))
  assert found.summary["cer"]["mean"] == pytest.approx(jiwer.cer(expected, heard))
  rows = [row["wer"] for row in found.rows]
  assert rows == [jiwer.wer(e, h) for e, h in zip(expected, heard, strict=True)]
  assert [row["transcript"] for row in found.rows] == list(HEARD.values())
  # One transcript serves both metrics.
  assert parrot.calls == len(clips)


def test_numbers_case_punctuation_and_contractions_do_not_count(parrot):
  metric = load_metrics(make_metrics(["wer"])).metrics[0]
  assert metric.normalise("Two hundred, and FIVE.") == "205"
  assert metric.normalise("it's") == metric.normalise("It is")
  assert metric.normalise("...") == metric.normalise("  ") == ""


@pytest.mark.parametrize(
  ("changes", "reason"),
  [
    ({"text": None}, "no text"),
    ({"text": "?!"}, "no words"),
    ({"audio": float("nan") * voice(0)}, "NaN"),
  ],
)
def test_utterances_without_words_fail(parrot, changes, reason):
  metric = load_metrics(make_metrics(["wer"])).metrics[0]
  with pytest.raises(MetricFailed, match=reason):
    metric.score(clip(**changes))


@pytest.mark.parametrize("audio", [0 * voice(0), voice(0)[:100], voice(0)[:0]])
def test_of_silence_every_word_is_missing(parrot, audio):
  """A model that says nothing must not be measured on its other utterances alone."""
  metrics = load_metrics(make_metrics(["wer", "cer"])).metrics
  one = clip(audio=audio, text="Glue the sheet.")
  scores = [metric.score(one) for metric in metrics]
  assert [(s.value, s.weight) for s in scores] == [(1.0, 3), (1.0, 14)]
  assert scores[0].row == {"transcript": ""} and not parrot.calls


def test_the_install_line_is_given_where_the_weights_are_absent(monkeypatch):
  pytest.importorskip("faster_whisper")
  asr.load_asr.cache_clear()
  monkeypatch.setattr(asr.choose.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(MetricAbsent, match="jaxcodec.eval"):
    asr.load_asr()


def test_real_speech_is_recognised(ljspeech_mini):
  metrics = load_metrics(make_metrics(["wer"]))
  if metrics.absent:
    pytest.skip(metrics.absent["wer"])
  with open(ljspeech_mini / "metadata.csv", encoding="utf-8") as file:
    name, text = next(csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE))[:2]
  audio, rate = soundfile.read(ljspeech_mini / "wavs" / f"{name}.flac", dtype="float32")
  one = clip(text=text, audio=audio, sample_rate=rate)
  assert metrics.metrics[0].score(one).value <= 0.1
  assert len(metrics.models[asr.DEFAULT]) == 64
  assert error_rate.NORMALISER in metrics.metrics[0].measures
