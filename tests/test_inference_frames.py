"""Clips of any length through functions of frames, in batches."""

import jax
import numpy as np
from api_helpers import toy

from jaxcodec.inference import frames
from jaxcodec.inference.ahead import one_ahead
from jaxcodec.inference.buckets import batch_rows
from jaxcodec.inference.codec import CodecRunner
from jaxcodec.inference.placement import Placement, for_corpus
from jaxcodec.nn import partition
from jaxcodec.semantic.mfcc import Mfcc
from jaxcodec.semantic.tokenizer import compute
from jaxcodec.types import TokenSpec

SPEC = TokenSpec(2, 8, 320, 16_000)


def test_batches_give_each_clip_what_it_has_alone():
  rng = np.random.default_rng(0)
  clips = [
    rng.standard_normal(n).astype(np.float32) for n in (900, 40_000, 320, 21_000, 1)
  ]
  mfcc, shapes = Mfcc(SPEC.sample_rate, SPEC.hop), []

  def features(audio_BxN, length_B):
    shapes.append(audio_BxN.shape)
    return compute(mfcc, audio_BxN, length_B)

  found = frames.by_frame(features, SPEC, clips)
  assert shapes == [(8, 64 * 320), (6, 128 * 320)]
  for clip, one in zip(clips, found, strict=True):
    assert len(one) == -(-len(clip) // 320)
    (alone,) = frames.by_frame(features, SPEC, [clip])
    np.testing.assert_allclose(one, alone, atol=1e-4)


def test_several_devices_share_the_rows_of_a_function_of_frames():
  rng, mfcc, seen = np.random.default_rng(0), Mfcc(SPEC.sample_rate, SPEC.hop), []
  clips = [rng.standard_normal(n).astype(np.float32) for n in (900, 40_000, 320)]

  def features(audio_BxN, length_B):
    seen.append(len(audio_BxN.sharding.device_set))
    return compute(mfcc, audio_BxN, length_B)

  place = Placement(tuple(jax.devices()[:4]), 2**14)
  for shared, alone in zip(
    frames.by_frame(features, SPEC, clips, place),
    frames.by_frame(lambda *batch: compute(mfcc, *batch), SPEC, clips),
    strict=True,
  ):
    np.testing.assert_allclose(shared, alone, atol=1e-4)
  assert seen == [4, 4]


def test_a_batch_has_about_as_many_samples_whatever_its_clips():
  rows = batch_rows(320, samples=2**18)
  assert [rows(frames) for frames in (64, 128, 4096)] == [12, 6, 1]


def test_the_next_is_dispatched_before_one_is_read():
  log = []

  def dispatch():
    for number in range(3):
      log.append(f"dispatched {number}")
      yield number

  for number in one_ahead(dispatch()):
    log.append(f"read {number}")
  assert log == [
    "dispatched 0", "dispatched 1", "read 0", "dispatched 2", "read 1", "read 2"
  ]  # fmt: skip
  assert list(one_ahead(iter(()))) == []


def test_several_devices_share_the_rows_of_a_batch(monkeypatch):
  shared_rows = []

  def note(function, x, by_rows=partition.by_rows, **options):
    shared_rows.append(dict(jax.sharding.get_abstract_mesh().shape).get("data", 1))
    return by_rows(function, x, **options)

  monkeypatch.setattr(partition, "by_rows", note)
  codec, variables = toy()
  rng = np.random.default_rng(0)
  clips = [rng.standard_normal(n).astype(np.float32) for n in (900, 4000, 320, 2100, 9)]
  alone = CodecRunner(codec, variables)
  shared = CodecRunner(codec, variables, Placement(tuple(jax.devices()[:4]), 2**12))
  codes = alone.encode(clips)
  assert set(shared_rows) == {1}
  for one, other in zip(codes, shared.encode(clips), strict=True):
    np.testing.assert_array_equal(one, other)
  for one, other in zip(alone.decode(codes), shared.decode(codes), strict=True):
    np.testing.assert_allclose(one, other, atol=1e-5)
  assert set(shared_rows) == {1, 4}
  batch = shared._placement.put(np.zeros((8, 3)), split=True)
  assert len(batch.sharding.device_set) == 4
  assert batch.addressable_shards[0].data.shape == (2, 3)
  assert for_corpus() == Placement()  # a CPU's cores are all busy with one batch
