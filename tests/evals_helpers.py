"""Makes signals like speech, and a work directory with results on them."""

import json

import numpy as np
import soundfile

from jaxcodec.evals.evaluate import SetMeasures, evaluate, load_metrics
from jaxcodec.evals.metric import EvalClip
from jaxcodec.evals.registry import make_metrics
from jaxcodec.evals.results import build_results, write_results
from jaxcodec.types import TokenSpec

RATE = 16_000
SPEC = TokenSpec(num_codebooks=4, codebook_size=64, hop=320, sample_rate=RATE)
METRICS = ("pesq_wb", "stoi", "si_sdr", "mel_distance", "codebook_usage",
           "codebook_perplexity", "bitrate_kbps")  # fmt: skip
TEXTS = (
  "The birch canoe slid on the smooth planks.",
  "Glue the sheet <b>to</b> the dark & blue background.",
  "It's easy to tell the depth of a well.",
)


def voice(seed: int, seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
  """Returns float32 harmonics with a moving pitch and an envelope like syllables."""
  rng = np.random.default_rng(seed)
  t = np.arange(int(seconds * rate)) / rate
  pitch = rng.uniform(90, 220) * (
    1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.4, 1) * t)
  )
  phase = 2 * np.pi * np.cumsum(pitch) / rate
  x = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 25))
  envelope = 0.05 + np.clip(np.sin(2 * np.pi * 2.1 * t + rng.uniform(0, 6)), 0, 1)
  return (0.1 * x * envelope + 1e-3 * rng.standard_normal(len(t))).astype(np.float32)


def clip(seed: int = 0, *, noise: float = 0.01, **changes) -> EvalClip:
  """Makes an utterance whose audio is its reference with white noise."""
  reference = voice(seed)
  rng = np.random.default_rng(seed + 1000)
  fields = {
    "id": f"utt-{seed}",
    "speaker": f"speaker-{seed % 2}",
    "text": TEXTS[seed % len(TEXTS)],
    "sample_rate": RATE,
    "audio": reference + noise * rng.standard_normal(len(reference)).astype(np.float32),
    "reference": reference,
    "prompt": voice(seed, 3.0),
    "codes_TxK": rng.integers(0, 64, (100, 4)),
  }
  return EvalClip(**(fields | changes))


def make_workdir(folder, *, generated: bool = True, count: int = 3):
  """Writes an experiment's work directory with results of fake audio."""
  clips = [clip(seed) for seed in range(count)]
  clips[-1] = clip(count - 1, audio=0 * clips[-1].reference)
  metrics = make_metrics(METRICS, spec=SPEC)
  loaded = load_metrics(metrics)
  evaluations = {"reconstruction": evaluate(clips, loaded.metrics)}
  if generated:
    evaluations |= _fake_generation(clips)
  results = build_results(
    evaluations,
    make_metrics((*METRICS, "wer", "speaker_similarity", "distillmos"), spec=SPEC),
    token_spec=SPEC,
    config={"seed": 0},
    models={"codec": "00ff"},
    absent={"distillmos": "pip install distillmos"},
  )
  results["slm"] = {
    "ce_per_codebook": [2.5, 3.0],
    "accuracy_per_codebook": [0.25, 0.125],
    "gain_per_codebook": [0.75, 0.0625],
  }
  write_results(folder / "results.json", results)
  _write_stages(folder, clips, generated=generated)
  return folder


def _fake_generation(clips):
  rows = [
    {"id": i.id, "speaker": i.speaker, "text": i.text, "seconds": 2.0, "wer": 0.25 * k,
     "speaker_similarity": 0.8, "transcript": "the <i>birch", "failed": {}}
    for k, i in enumerate(clips)
  ]  # fmt: skip
  summary = {
    "wer": {"mean": 0.25, "ci95": [0.125, 0.375], "n": 3, "n_failed": 0},
    "speaker_similarity": {"mean": 0.8, "ci95": [0.75, 0.85], "n": 3, "n_failed": 0},
  }
  ceiling = {"wer": {"mean": 0.0625, "ci95": [0.0, 0.1875], "n": 3, "n_failed": 0}}
  originals = [row | {"wer": 0.0625, "transcript": "the birch canoe"} for row in rows]
  return {
    "generation": SetMeasures(summary, rows),
    "ground_truth": SetMeasures(ceiling, originals),
  }


def _write_stages(folder, clips, *, generated):
  record = {
    "config": {"seed": 0, "codec": {"preset": "</script><script>alert(1)</script>"}},
    "command": "python launch/main.py --config=configs/dac_maskgit.py:runlocal",
    "versions": {"jax": "0.10.2", "flax": "0.12.8"},
  }
  (folder / "config.json").write_text(json.dumps(record))
  for stage in ("codec", "slm", "generate", "evaluate/audio"):
    (folder / stage).mkdir(parents=True)
  rng = np.random.default_rng(0)
  with open(folder / "codec" / "metrics.jsonl", "w") as file:
    for step in range(0, 2000, 5):
      line = {"step": step, "time": step * 0.1}
      line["mel"] = 3 * np.exp(-step / 500) + 0.1 * rng.random()
      line["perplexity"] = [min(60.0, 10 + step / (20 + 10 * k)) for k in range(4)]
      if step % 200 == 0:
        line["eval/mel"] = 3 * np.exp(-step / 500) + 0.2
        line["eval/snr_db"] = [-0.5, 1.5, 3.25, 4.0]
      file.write(json.dumps(line) + "\n")
  for c in clips:
    base = folder / "evaluate" / "audio" / c.id
    soundfile.write(f"{base}.original.wav", c.reference, RATE)
    soundfile.write(f"{base}.reconstruction.wav", c.audio, RATE)
  if generated:
    aligned = {"id": "utt-0", "focus": 0.5, "frame_rate": 50, "prompt_frames": 2,
               "symbols": ["", "a", "<b>", ""],
               "percent_TxS": (25 * np.eye(6, 4)).tolist()}  # fmt: skip
    (folder / "generate" / "alignment.json").write_text(json.dumps(aligned))
    with open(folder / "generate" / "index.jsonl", "w") as file:
      for i in clips[:2]:
        soundfile.write(folder / "generate" / f"{i.id}.wav", i.audio, RATE)
        line = {"id": i.id, "speaker": i.speaker, "text": i.text, "seed": 0,
                "prompt_id": "utt-9", "prompt_seconds": 3.0,
                "wav": f"{i.id}.wav"}  # fmt: skip
        file.write(json.dumps(line) + "\n")
