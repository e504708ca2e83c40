"""Codec GAN training on one device and on eight: equal losses, and what is sent."""

import jax
import numpy as np
import optax
import pytest
from toy_codec import Decoder, Discriminator, Encoder

from jaxcodec.codecs.codec import Codec
from jaxcodec.dry_run import step_cost
from jaxcodec.dry_run.collectives import collectives
from jaxcodec.parallel import sharding
from jaxcodec.quantizers import ema
from jaxcodec.quantizers.euclidean import EmaRVQ
from jaxcodec.tasks.codec_gan import CodecGanTask
from jaxcodec.train.step import COMPILE_FAST

B, N, STEPS = 8, 640, 20
# All leaves are cut that can be, however small.
RULES = sharding.Rules(sharding.DEFAULT_RULES.paths, sharding.DEFAULT_RULES.axes, 1)


def make_task():
  quantizer = EmaRVQ(Encoder.output_dim, 2, 16, dropout=0.5, dropout_per="item")
  return CodecGanTask(
    Codec(Encoder(), quantizer, Decoder(), 1000),
    Discriminator(),
    optax.adamw(1e-3, b1=0.8, b2=0.99),
    optax.adamw(1e-3, b1=0.8, b2=0.99),
    dict(mel=15.0, adversarial=1.0, feature=2.0, codebook=1.0, commitment=0.25),
    mel_scales=((512, 10),),  # by an FFT
    adversarial_start=2,
  )


def make_batch(step):
  t = np.arange(N) / 1000
  pitch_B = np.random.default_rng(step).uniform(40, 400, B)
  tones = 0.3 * np.sin(2 * np.pi * pitch_B[:, None] * t)
  return {"audio_BxN": tones.astype(np.float32)}


def train(shape):
  """Trains; returns each step's metrics and the collectives of its program."""
  task, mesh = make_task(), sharding.make_mesh(shape)
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), make_batch(0))
  step = step_cost.trace(task, shapes, mesh, RULES)
  program = step.lowered.compile(COMPILE_FAST)
  init = jax.jit(task.init, compiler_options=COMPILE_FAST)
  state = jax.device_put(init(jax.random.key(0), make_batch(0)), step.shardings)
  state = task.begin(state, sharding.put_batch(mesh, make_batch(0)))
  assert not ema.awaits_start(state.collections)
  metrics = []
  for number in range(STEPS):
    state, now = program(state, sharding.put_batch(mesh, make_batch(number)))
    assert now.finite
    use = task.summarize(now.rows)
    metrics.append(jax.device_get({**now.metrics, **use}))
  return metrics, collectives(program.as_text())


@pytest.fixture(scope="module")
def one():
  return train({"data": 1})


def test_one_device_and_eight_train_alike(one):
  """Compares losses, gradient norms and the use of EMA codebooks."""
  alone, nothing = one
  assert nothing == [] and alone[3]["disc"] > 0
  eight, sent = train({"data": 4, "fsdp": 2})
  for step, (a, b) in enumerate(zip(alone, eight, strict=True)):
    assert a.keys() == b.keys()
    for name in a:
      np.testing.assert_allclose(b[name], a[name], 1e-5, 1e-6, err_msg=f"{step} {name}")
  # Sums over all devices, weights that are gathered from those of `fsdp`, and of the
  # batch no more than a random number a frame, which codebooks are chosen by.
  assert {c.kind for c in sent} == {"all-reduce", "all-gather"}
  frames, all_eight = B * N // Encoder.hop, tuple(range(8))
  for c in sent:
    assert c.groups[0] in (all_eight, (0, 1), (0, 2, 4, 6))
    if c.kind == "all-gather" and c.groups[0] == all_eight:
      assert c.size == 4 * frames
