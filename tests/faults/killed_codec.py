"""Trains a codec of a few hundred weights adversarially, to be killed and compared.

    python tests/faults/killed_codec.py WORKDIR --steps=100 --devices=2
    python tests/faults/killed_codec.py WORKDIR --steps=100 \
        --coordinator=127.0.0.1:4000 --num_processes=2 --process_id=0   # and with 1

Its state is as varied as a real codec's: two optimisers, averaged weights, codebooks
that k-means initialises and running means update, random keys, and crops that grain
shuffles and shards. Weights are sharded over the devices of all processes. At the end
it restores its last checkpoint and writes it to WORKDIR/final.safetensors.
"""

import argparse
import pathlib
import time

import flax.linen as nn
import jax
import numpy as np
import optax
import safetensors.numpy

from jaxcodec import files
from jaxcodec.codecs.codec import Codec
from jaxcodec.data.batches.crops import crops, eval_crops
from jaxcodec.data.source import Utterance
from jaxcodec.parallel import processes, rendezvous, sharding
from jaxcodec.quantizers.euclidean import EmaRVQ
from jaxcodec.tasks.codec_gan import CodecGanTask
from jaxcodec.train import loop

RATE, HOP, WIDTH, BATCH, CROP = 1000, 10, 4, 8, 200
FINAL = "final.safetensors"
# Shards all weights of two dimensions, however small.
RULES = sharding.Rules(paths=((r"/kernel$", sharding.LARGEST),), min_size=1)


class Encoder(nn.Module):
  hop = HOP
  output_dim = WIDTH

  @nn.compact
  def __call__(self, x_BxNxC, valid_B=None, *, train=False):
    return nn.Dense(WIDTH)(x_BxNxC.reshape(len(x_BxNxC), -1, HOP))


class Decoder(nn.Module):
  hop = HOP

  @nn.compact
  def __call__(self, z_BxTxD, valid_B=None, *, num_codebooks=None, train=False):
    return nn.Dense(HOP)(z_BxTxD).reshape(len(z_BxTxD), -1, 1)


class Discriminator(nn.Module):
  loss_weights = (1.0,)

  @nn.compact
  def __call__(self, x_BxN):
    h_BxD = nn.tanh(nn.Dense(WIDTH)(x_BxN))
    return [[h_BxD, nn.Dense(1)(h_BxD)]]


class Noise:
  """Recordings of noise that are slow to read."""

  def __init__(self, seconds_each_read: float):
    self._wait = seconds_each_read
    self.utterances = tuple(
      Utterance(f"u{i}", "nobody", None, (300 + 10 * i) / RATE) for i in range(40)
    )

  def audio(self, index: int, sample_rate: int) -> np.ndarray:
    time.sleep(self._wait)
    samples = round(self.utterances[index].seconds * sample_rate)
    return 0.3 * np.random.default_rng(index).standard_normal(samples, np.float32)


def make_task() -> CodecGanTask:
  quantizer = EmaRVQ(WIDTH, 2, 8, dropout=0.5, dropout_per="item")
  return CodecGanTask(
    Codec(Encoder(), quantizer, Decoder(), RATE),
    Discriminator(),
    optax.adamw(1e-3),
    optax.adamw(1e-3),
    dict(mel=15.0, adversarial=1.0, feature=2.0, codebook=1.0, commitment=0.25),
    mel_scales=((32, 5),),
    adversarial_start=3,
  )


def fit(workdir: pathlib.Path, steps: int, wait: float, every: int) -> object:
  """Trains; returns the state that the last checkpoint holds."""
  mesh, source = sharding.make_mesh({"fsdp": -1}), Noise(wait)
  part = sharding.batch_part(mesh)
  shape = {"sample_rate": RATE, "crop_samples": CROP, "batch_size": BATCH // part.count}
  where = {"shard_index": part.index, "shard_count": part.count}

  def run():
    return loop.fit(
      make_task(),
      crops(source, range(32), seed=1, **shape, **where),
      steps=steps,
      workdir=workdir,
      mesh=mesh,
      seed=0,
      rules=RULES,
      log_every=1,
      checkpoint_every=every,
      eval_data=eval_crops(source, range(32, 40), **shape, **where),
      eval_every=10 * every,
    )

  run()
  return run()


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("workdir", type=pathlib.Path)
  parser.add_argument("--steps", type=int, required=True)
  parser.add_argument(
    "--devices", type=int, default=1, help="CPU devices of this process"
  )
  parser.add_argument(
    "--wait", type=float, default=0.0, help="seconds that reading a clip takes"
  )
  parser.add_argument("--every", type=int, default=5, help="steps between checkpoints")
  parser.add_argument("--coordinator")
  parser.add_argument("--num_processes", type=int)
  parser.add_argument("--process_id", type=int)
  args = parser.parse_args()
  jax.config.update("jax_num_cpu_devices", args.devices)
  rendezvous.initialize(
    args.coordinator,
    args.num_processes,
    args.process_id,
    timeout=20,
    heartbeat_timeout=10,
  )
  with processes.exit_together():
    state = sharding.to_host(
      _without_keys(fit(args.workdir, args.steps, args.wait, args.every))
    )
    if processes.is_first():
      leaves = jax.tree_util.tree_leaves_with_path(state)
      tensors = {sharding.leaf_path(path): np.array(leaf) for path, leaf in leaves}
      files.write_bytes(args.workdir / FINAL, safetensors.numpy.save(tensors))


def _without_keys(state):
  return state.replace(rng=jax.random.key_data(state.rng))


if __name__ == "__main__":
  main()
