"""What a codec is worth after each minute of its training: PESQ and STOI by minutes.

    pip install -e ".[all]"
    python benchmarks/quality.py --out=runs/quality

trains codecs as `:runlocal,scratch` does, on the embedded corpus or, with `--data=DIR`,
on a folder, and measures held-out recordings by the averaged weights after some of the
steps. Minutes are steps by the median time of those before, on the machine as it was:
without compiling and what stands between steps. `OUT/quality.json` has the rows and
`OUT/quality.png` the plot, with MDCT frames and k-means as a line. Stopped and started
again, it goes on.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics

import jax

import jaxcodec
from jaxcodec import files
from jaxcodec.evals import mdct_kmeans
from jaxcodec.evals.evaluate import evaluate, load_metrics
from jaxcodec.evals.metric import EvalClip
from jaxcodec.evals.registry import make_metrics
from jaxcodec.pipeline import train
from jaxcodec.pipeline.experiment import open_experiment, plain
from jaxcodec.recipes import config_file
from jaxcodec.train.metrics_file import read_metrics

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "dac_maskgit.py"
CODECS = "magnitude_16khz,encodecq_vocos,dacq_vocos,dac"
METRICS = "pesq_wb", "stoi"
MARKS = 0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1  # of all steps
YARDSTICK = "MDCT + k-means"


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--data", help="folder of speech; else the embedded corpus")
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--codecs", default=CODECS)
  parser.add_argument("--clips", type=int, default=24)
  parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
  options = parser.parse_args()
  cache = jax.config.jax_compilation_cache_dir or str(options.out / "xla")
  jax.config.update("jax_compilation_cache_dir", cache)  # each pause compiles again
  path = options.out / "quality.json"
  rows = json.loads(path.read_text()) if path.exists() else []
  for name in options.codecs.split(","):
    for row in measure(name, options, {(r["codec"], r.get("steps")) for r in rows}):
      print(json.dumps(row), flush=True)
      rows.append(row)
      files.write_json(path, rows)
  draw(rows, options.out / "quality.png")


def measure(name, options, done):
  """Yields the rows of a codec that are missing, and of the yardstick."""
  settings = list(options.set)
  if options.data:
    settings += ["data.source=folder", f"data.path={options.data}"]
  settings += [f"generate.num_utterances={options.clips}"]
  config = config_file.load(f"{CONFIG}:runlocal,scratch,codec={name}", settings)
  experiment = open_experiment(plain(config), options.out / name)
  chosen = experiment.split["test"][: options.clips]
  clips = [_clip(experiment, index) for index in chosen]
  if (YARDSTICK, None) not in done:
    recordings = map(experiment.audio, experiment.split["train"])
    fitted = mdct_kmeans.fit(recordings, experiment.spec, experiment.seed)
    coded = mdct_kmeans.coded_clips(clips, fitted)
    yield {"codec": YARDSTICK, **_measured(coded)}
  total = experiment.config["codec_train"]["steps"]
  for steps in (round(mark * total) for mark in MARKS):
    if (name, steps) not in done:
      codec, minutes = train_to(experiment, steps)
      coded = [_coded(codec, clip) for clip in clips]
      row = {"codec": name, "steps": steps, "minutes": minutes}
      yield {**row, **_measured(coded)}


def train_to(experiment, steps):
  """Returns the codec after so many of the recipe's steps, and the minutes of these.

  The schedules are those of all steps. Without a step, weights are those of the start.
  """
  folder = experiment.workdir / "codec"
  folder.mkdir(parents=True, exist_ok=True)
  settings = {**experiment.config["codec_train"], "steps": max(steps, 1)}
  config = {**experiment.config, "codec_train": settings}
  train.train_codec(dataclasses.replace(experiment, config=config), folder)
  records = read_metrics(folder)
  times = [r["step_seconds"] for r in records if "step_seconds" in r]
  minutes = steps * statistics.median(times or [0]) / 60
  return jaxcodec.load(weights=str(experiment.workdir)), round(minutes, 3)


def draw(rows, path):
  """Draws both measures by minutes."""
  import matplotlib

  matplotlib.use("agg")
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(1, len(METRICS), figsize=(10, 4), layout="tight")
  for metric, axis in zip(METRICS, axes, strict=True):
    for name in dict.fromkeys(row["codec"] for row in rows):
      own = sorted(
        (row for row in rows if row["codec"] == name), key=lambda r: r.get("minutes", 0)
      )
      values = [row[metric] for row in own]
      if name == YARDSTICK:
        axis.axhline(values[0], color="gray", linestyle="--", label=name)
      else:
        axis.plot([row["minutes"] for row in own], values, marker="o", label=name)
    axis.set(xlabel="minutes of training", ylabel=metric)
    axis.grid(alpha=0.3)
  axes[0].legend()
  figure.savefig(path, dpi=100)


def _clip(experiment, index):
  audio_N, rate = experiment.audio(index), experiment.spec.sample_rate
  return EvalClip(str(index), "", None, rate, audio_N, reference=audio_N)


def _coded(codec, clip):
  tokens = codec.encode(clip.reference, codec.sample_rate)
  audio_N = codec.decode(tokens)[0, : len(clip.reference), 0]
  return dataclasses.replace(clip, audio=audio_N)


def _measured(clips):
  loaded = load_metrics(make_metrics(METRICS))
  found = evaluate(clips, loaded.metrics).summary
  return {name: round(found[name]["mean"], 4) for name in METRICS}


if __name__ == "__main__":
  main()
