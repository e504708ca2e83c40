"""Codec training with EMA codebooks."""

import jax
import numpy as np
import optax
import pytest
from toy_codec import Decoder, Discriminator, Encoder

from jaxcodec.codecs.codec import Codec
from jaxcodec.parallel import sharding
from jaxcodec.quantizers.euclidean import EmaRVQ
from jaxcodec.tasks.codec_gan import CodecGanTask

B, N, K, V = 4, 200, 2, 8


@pytest.fixture(scope="module")
def task():
  quantizer = EmaRVQ(Encoder.output_dim, K, V, dropout=0.5, dropout_per="item")
  codec = Codec(Encoder(), quantizer, Decoder(), 1000)
  weights = dict(mel=15.0, adversarial=1.0, feature=2.0, codebook=1.0, commitment=0.25)
  return CodecGanTask(
    codec,
    Discriminator(),
    optax.sgd(1e-3),
    optax.sgd(1e-3),
    weights,
    mel_scales=((32, 5),),
    adversarial_start=1,
  )


@pytest.fixture(scope="module")
def batch():
  noise = np.random.default_rng(0).standard_normal((B, N)).astype(np.float32)
  return {"audio_BxN": 0.3 * noise, "length_B": np.full(B, N, np.int32)}


def test_a_step_moves_the_codebooks_which_are_exported(task, batch):
  init = jax.jit(task.init)(jax.random.key(0), batch)
  step = jax.jit(task.train_step)
  begun = task.begin(init, batch)
  assert task.begin(begun, batch) is begun
  first, _ = step(begun, batch)
  second, metrics = step(first, batch)
  books = [
    s.collections["vq_stats"]["quantizer"]["layers_0"] for s in (init, first, second)
  ]
  assert [int(book["inited"][0]) for book in books] == [0, 1, 1]
  assert (books[1]["embed"] != books[2]["embed"]).any()
  assert "codebook" not in metrics and metrics["commitment"] > 0
  assert all(metrics[name].shape == (K,) for name in ("usage", "perplexity", "live"))
  exported = task.inference_variables(second)
  assert exported == {"params": second.ema, **second.averages}
  averaged = exported["vq_stats"]["quantizer"]["layers_0"]
  size = lambda book: np.float64(book["cluster_size"])  # noqa: E731
  decay = 3 / 12  # of the second step
  expected = decay * (1 - 2 / 11) * size(books[1]) + (1 - decay) * size(books[2])
  np.testing.assert_allclose(averaged["cluster_size"], expected, rtol=1e-5)
  evaluated = jax.eval_shape(task.eval_step, second, batch)
  assert "live" not in evaluated


def test_codebooks_stay_whole_on_every_device(task, batch):
  mesh = sharding.make_mesh({"data": 4, "fsdp": 2})
  state = jax.eval_shape(task.init, jax.random.key(0), batch)
  rules = sharding.Rules(sharding.DEFAULT_RULES.paths, sharding.DEFAULT_RULES.axes, 1)
  shardings = sharding.state_shardings(mesh, state, rules)
  found = jax.tree.leaves(shardings.collections)
  assert len(found) == 4 * K and all(s.is_fully_replicated for s in found)
  assert not all(s.is_fully_replicated for s in jax.tree.leaves(shardings.params))
