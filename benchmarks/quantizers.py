"""Trains a row of every quantiser for a few steps and shows how its codebooks do.

    python benchmarks/quantizers.py --data=DIR --out=runs/quantizers

`DIR` is read as `data.source=folder` does. Every row is the codec of a `:runlocal`
experiment, trained by the same losses but without discriminators, which so few steps
don't reach. What is shown is of the held-out recordings, in pieces of two seconds:
perplexity and usage of all their codes, and the signal-to-noise ratio of the latent by
the codebooks up to each. The averaged weights go to `OUT/ROW/codec`, where
`jaxcodec.load` finds them.
"""

import argparse
import dataclasses
import json
import pathlib
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec import weights
from jaxcodec.build.fields import crop_samples
from jaxcodec.data.batches.crops import crops
from jaxcodec.pipeline.experiment import PARAMS, open_experiment, plain
from jaxcodec.quantizers.codebook import code_counts, perplexity, usage
from jaxcodec.recipes import config_file
from jaxcodec.train.step import COMPILE_FAST

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "dac_maskgit.py"
ROWS = (
  "encodecq_vocos",
  "dacq_vocos",
  "simvq_vocos",
  "fsq_vocos",
  "semantic_vocos",
  "single_vocos",
  "baseline",
  "baseline_25hz",
  "baseline_12.5hz",
)
SECONDS, BATCH = 2.0, 4


class NoDiscriminator(nn.Module):
  """Stands where discriminators are, which are never asked here."""

  loss_weights = (1.0,)

  @nn.compact
  def __call__(self, x_BxN):
    return [[nn.Dense(1)(x_BxN[..., None])]]


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--data", required=True)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--steps", type=int, default=500)
  parser.add_argument("rows", nargs="*", default=ROWS)
  arguments = parser.parse_args()
  for row in arguments.rows:
    values = {
      "data.source": "folder",
      "data.path": arguments.data,
      "codec_train.crop_seconds": 0.48,  # whole frames of all rows
      "codec_train.adversarial_start": arguments.steps,
    }
    settings = [f"{name}={value}" for name, value in values.items()]
    config = config_file.load(f"{CONFIG}:runlocal,codec={row}", settings)
    experiment = open_experiment(plain(config), arguments.out / row)
    start = time.perf_counter()
    variables, mel = train(experiment, arguments.steps)
    seconds = time.perf_counter() - start
    save(experiment, variables)
    print(f"{row}: {seconds:.0f} s, mel loss of the last 50 steps {mel:.3f}")
    for name, value_K in measure(experiment, variables).items():
      print(f"  {name:10}", *(f"{value:.4g}" for value in value_K), flush=True)


def train(experiment, steps):
  """Returns the averaged variables after so many steps, and the last mel losses."""
  config, spec = experiment.config, experiment.spec
  task = dataclasses.replace(
    experiment.models.codec_task, discriminator=NoDiscriminator()
  )
  batches = iter(
    crops(
      experiment.source,
      experiment.split["train"],
      sample_rate=spec.sample_rate,
      crop_samples=crop_samples(config, "codec_train", spec),
      batch_size=config["codec_train"]["batch_size"],
      seed=experiment.seed,
    )
  )
  batch = next(batches)
  init = jax.jit(task.init, compiler_options=COMPILE_FAST)
  state, lost = init(jax.random.key(experiment.seed), batch), []
  step = jax.jit(task.train_step, donate_argnums=0)
  for _ in range(steps):
    state, metrics = step(state, batch)
    lost.append(float(metrics["mel"]))
    batch = next(batches)
  return jax.device_get(task.inference_variables(state)), np.mean(lost[-50:])


def save(experiment, variables):
  """Writes the codec's variables as the codec stage does."""
  folder = experiment.workdir / "codec"
  folder.mkdir(parents=True, exist_ok=True)
  metadata = {
    "config": json.dumps(experiment.config["codec"]),
    "sample_rate": str(experiment.spec.sample_rate),
  }
  weights.save_params(folder / PARAMS, variables, metadata)


def measure(experiment, variables):
  """Returns each codebook's measures on the held-out recordings, by name."""
  codec = experiment.models.codec
  length = round(SECONDS * codec.sample_rate)
  pieces = [
    audio_N[start : start + length]
    for audio_N in map(experiment.audio, experiment.split["test"])
    for start in range(0, len(audio_N) - length + 1, length)
  ]

  @jax.jit
  def run(variables, audio_BxN):
    z_BxTxD = codec.apply(variables, audio_BxN[..., None], method=_latent)
    quantized = codec.apply(variables, z_BxTxD, method=_quantize)
    counts_KxV = code_counts(quantized.codes_BxTxK, codec.spec.codebook_size)
    noise_K, snr_K = (quantized.metrics[n] for n in ("residual_energy", "snr_db"))
    return counts_KxV, noise_K, noise_K * 10 ** (snr_K / 10)

  batches = range(0, len(pieces) - BATCH + 1, BATCH)
  found = [run(variables, np.stack(pieces[first : first + BATCH])) for first in batches]
  counts_KxV, noise_K, energy_K = jax.tree.map(lambda *x: sum(x), *found)
  snr_K = 10 * jnp.log10(energy_K / noise_K)
  measures = perplexity(counts_KxV), usage(counts_KxV), snr_K
  return dict(zip(("perplexity", "usage", "snr_db"), measures, strict=True))


def _latent(codec, x_BxNx1):
  return codec.encoder(x_BxNx1)


def _quantize(codec, z_BxTxD):
  return codec.quantizer(z_BxTxD)


if __name__ == "__main__":
  main()
