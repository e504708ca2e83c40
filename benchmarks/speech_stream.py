"""Speech as it is generated: when the first audio comes, and the price in quality.

    pip install -e ".[test,eval]"
    python benchmarks/speech_stream.py --texts=32 --rounds=5

A language model that comes with the package speaks sentences of the embedded corpus
that it was not trained on, whole and as a stream, behind a prompt by the sentence's
voice that it wasn't trained on either, and without one. The first table has the medians
of alternating runs, of one sentence and of four as one text; compiling isn't counted.
In the second, rates are over all texts and intervals of 95 % over texts; the difference
is the stream's minus the whole's, text by text, and `codes` are those of the whole.
"""

import argparse
import json
import statistics
import time

import numpy as np

import jaxcodec
from jaxcodec import shipped
from jaxcodec.data.sources.embedded import master
from jaxcodec.data.sources.scripts import list_utterances
from jaxcodec.data.sources.voices import VOICES, speak
from jaxcodec.data.split import make_split
from jaxcodec.evals.metric import EvalClip
from jaxcodec.evals.metrics.error_rate import WordErrorRate
from jaxcodec.evals.metrics.mos import DnsmosOverall
from jaxcodec.evals.metrics.signal import MelDistance
from jaxcodec.stats import means

_NUM_VOICES = 4
_LONG = 4  # sentences
_PROMPT_SYMBOLS = 60  # characters of a prompt's text, at most
TIMES = (
  "text",
  "s of speech",
  "whole, s",
  "first audio, s",
  "first audio / whole",
  "stream's end / whole",
)
QUALITY = (
  "prompt",
  "blocks, s",
  "codebook 0 as the whole's",
  "other codes",
  "mel distance to the whole",
  "WER whole",
  "WER stream",
  "difference",
  "DNSMOS whole",
  "stream",
  "difference",
)


def table(head):
  print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)


def row(*cells):
  print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def held_out(model, count):
  """Texts that the model was not trained on, each with a prompt in a voice."""
  config = json.loads((shipped.find(model) / "config.json").read_text())["config"]
  data, options = config["data"], config["data"]["options"]
  utterances = list_utterances(
    options["script"], _NUM_VOICES, options["max_utterances"]
  )
  parts = dict(seed=config["seed"], valid=data["valid"], test=data["test"])
  test = [utterances[i] for i in make_split(utterances, **parts)["test"]]
  order = np.random.default_rng(0).permutation(len(test))
  chosen = [test[i] for i in order[:count]]
  prompts = [test[i].text for i in order[count:] if len(test[i].text) < _PROMPT_SYMBOLS]
  voices = {voice.name: voice for voice in VOICES}
  found = []
  for utterance, prompt_text in zip(chosen, prompts, strict=False):
    audio_N, rate = speak(prompt_text, voices[utterance.speaker])
    given = dict(
      prompt=master(audio_N, rate), prompt_rate=rate, prompt_text=prompt_text
    )
    found.append((utterance.text, given))
  return found


def timed_stream(tts, text, block):
  """Seconds until the first audio, and until the last."""
  start = time.perf_counter()
  stream = tts.speak(text, stream=True, block_seconds=block)
  next(stream)
  first = time.perf_counter() - start
  list(stream)
  return first, time.perf_counter() - start


def times(tts, name, text, options):
  """Prints the row of a text, without a prompt."""
  whole, first, last = [], [], []
  for turn in range(options.rounds + 1):
    start = time.perf_counter()
    speech = tts.speak(text)
    seconds = [time.perf_counter() - start, *timed_stream(tts, text, options.block)]
    if turn:  # the first one compiles
      for kept, value in zip((whole, first, last), seconds, strict=True):
        kept.append(value)
  ratios = [
    statistics.median(a / b for a, b in zip(part, whole, strict=True))
    for part in (first, last)
  ]
  medians = (f"{statistics.median(part):.2f}" for part in (whole, first))
  row(name, f"{speech.seconds:.1f}", *medians, *(f"{ratio:.2f}" for ratio in ratios))


def metrics():
  made = WordErrorRate(threads=1), DnsmosOverall(threads=1), MelDistance()
  for metric in made:
    metric.load()
  return made


def measured(made, text, speech, whole):
  """Values of a text: WER with its weight, MOS, mel distance, equal codes."""
  wer, mos, mel = made
  clip = EvalClip("", "", text, speech.sample_rate, speech.audio_N, whole.audio_N)
  rate = wer.score(clip)
  ours, theirs = (np.asarray(s.tokens.codes_BxTxK)[0] for s in (speech, whole))
  equal_K = (ours == theirs).mean(0)
  scores = mos.score(clip).value, mel.score(clip).value
  return [rate.value, rate.weight, *scores, equal_K[0], equal_K[1:].mean()]


def interval(values, weights=None):
  found = means.estimate(np.asarray(values), weights)
  low, high = found["ci95"]
  return f"{found['mean']:+.3f} ({low:+.3f} to {high:+.3f})"


def quality(tts, items, made, prompted, blocks):
  """Prints a row for each length of blocks."""
  given = [prompt if prompted else {} for _, prompt in items]
  texts = [text for text, _ in items]
  wholes = [tts.speak(t, **g) for t, g in zip(texts, given, strict=True)]
  whole = np.array(
    [measured(made, t, s, s) for t, s in zip(texts, wholes, strict=True)]
  )
  for block in blocks:
    found = []
    for text, prompt, spoken in zip(texts, given, wholes, strict=True):
      stream = tts.speak(text, **prompt, stream=True, block_seconds=block)
      list(stream)
      found.append(measured(made, text, stream.speech, spoken))
    found = np.array(found)
    words = found[:, 1]
    wer = (f"{np.average(side[:, 0], weights=words):.3f}" for side in (whole, found))
    mos = (f"{side[:, 2].mean():.2f}" for side in (whole, found))
    row(
      "held-out" if prompted else "none",
      block,
      f"{found[:, 4].mean():.4f}",
      f"{found[:, 5].mean():.2f}",
      f"{found[:, 3].mean():.3f}",
      *wer,
      interval(found[:, 0] - whole[:, 0], words),
      *mos,
      interval(found[:, 2] - whole[:, 2]),
    )


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  numbers = lambda text: [float(part) for part in text.split(",")]  # noqa: E731
  parser.add_argument("--model", default="speech_tts", help="by name")
  parser.add_argument("--texts", type=int, default=32, help="0 measures times alone")
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--block", type=float, default=0.5, help="seconds, of the times")
  parser.add_argument("--blocks", type=numbers, default=(0.5, 0.2), help="of quality")
  options = parser.parse_args()
  tts = jaxcodec.load_slm(options.model)
  items = held_out(options.model, max(_LONG, options.texts))
  table(TIMES)
  times(tts, "a sentence", items[0][0], options)
  times(tts, f"{_LONG} sentences", " ".join(t for t, _ in items[:_LONG]), options)
  if options.texts:
    made = metrics()
    print()
    table(QUALITY)
    for prompted in (True, False):
      quality(tts, items[: options.texts], made, prompted, options.blocks)


if __name__ == "__main__":
  main()
