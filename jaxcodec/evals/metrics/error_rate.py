"""Word and character error rates of a recogniser's transcript."""

import abc
import re

import numpy as np

from jaxcodec.data.text.languages import DEFAULT as ENGLISH
from jaxcodec.data.text.languages import is_english
from jaxcodec.evals.audio import prepare
from jaxcodec.evals.metric import EvalClip, Metric, MetricFailed, NothingHeard, Score
from jaxcodec.evals.models import asr

NORMALISER = "whisper-normalizer EnglishTextNormalizer"
OTHER_NORMALISER = "whisper-normalizer BasicTextNormalizer"
_PACKAGES = ("jiwer>=4.0,<5", "whisper-normalizer>=0.1")


class ErrorRate(Metric):
  """Base of WER and CER: transcribes, normalises both texts, and counts edits.

  English texts pass through OpenAI's English normaliser, which gives lower case, no
  punctuation, number words as digits, contractions spelled out, American spelling.
  Texts of other languages pass through its basic one: lower case, no punctuation,
  numbers as they are written. In silence nothing is heard: the rate is 1. The mean in
  the results is the corpus-level rate (all edits over all reference units). The rows
  hold each utterance's own rate, which insertions can lift above 1.
  """

  unit = ""
  better = "lower"
  needs = ("text",)
  units_of: str

  def __init__(
    self, model: str = asr.DEFAULT, *, threads: int = 1, language: str = ENGLISH
  ):
    """Chooses the recogniser for a language.

    Raises:
      ConfigError: see `asr.choose_asr`.
    """
    self._model, self._threads, self._language = model, threads, language
    self._english = is_english(language)
    choice = asr.choose_asr(model, language)
    self.packages = (*_PACKAGES, *choice.kind.packages)
    heard = choice.definition if self._english else f"{choice.definition} in {language}"
    normaliser = NORMALISER if self._english else OTHER_NORMALISER
    self.measures = (
      f"Edits over reference {self.units_of}, whole corpus; transcripts by"
      f" {heard}, texts normalised by {normaliser}."
    )

  @classmethod
  def make(cls, settings):
    return cls(settings.asr, threads=settings.threads, language=settings.language)

  def load(self):
    self._jiwer, english, basic = self.require(
      "jiwer", "whisper_normalizer.english", "whisper_normalizer.basic"
    )
    kind = english.EnglishTextNormalizer if self._english else basic.BasicTextNormalizer
    self._normaliser = kind()
    self._transcripts = asr.load_transcripts(
      self._model, threads=self._threads, language=self._language
    )
    return {self._transcripts.asr.name: self._transcripts.asr.sha256}

  def score(self, clip: EvalClip) -> Score:
    if clip.text is None:
      raise MetricFailed("no text for this utterance")
    expected = self.normalise(clip.text)
    if not expected:
      raise MetricFailed("the text holds no words after normalisation")
    try:
      audio = prepare(clip.audio, clip, "audio", rate=asr.RATE, min_seconds=0.1)
      transcript = self._transcripts(clip, audio)
    except NothingHeard:
      transcript = ""  # all is missing, which is no reason to leave it out
    edits, length = self.count(expected, self.normalise(transcript))
    return Score(edits / length, weight=length, row={"transcript": transcript})

  def normalise(self, text: str) -> str:
    """Returns normalised text; "" if no letter or digit is left."""
    text = self._normaliser(text).strip()
    return text if re.search(r"\w", text) else ""

  @abc.abstractmethod
  def count(self, expected: str, heard: str) -> tuple[int, int]:
    """Returns the edits and the reference's length, in words or characters."""


class WordErrorRate(ErrorRate):
  """Word error rate by jiwer."""

  name = "wer"
  units_of = "words"

  def count(self, expected, heard):
    found = self._jiwer.process_words(expected, heard)
    return _edits(found), len(expected.split())


class CharacterErrorRate(ErrorRate):
  """Character error rate by jiwer; spaces count as characters."""

  name = "cer"
  units_of = "characters"

  def count(self, expected, heard):
    return _edits(self._jiwer.process_characters(expected, heard)), len(expected)


def _edits(found) -> int:
  return int(np.sum([found.substitutions, found.deletions, found.insertions]))
