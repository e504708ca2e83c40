"""TFDS sets are written and read back without TensorFlow."""

import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from data_helpers import RATE, tone
from tensorflow_datasets.core.features import audio_feature

from jaxcodec.data.source import DataError, open_source
from jaxcodec.data.sources.tfds import _patch_audio_feature

_patch_audio_feature()
# Only writing a set asks for this; the NumPy dtype is written the same.
audio_feature.Audio.dtype = property(lambda self: self.np_dtype)
TEXTS = ["Hello there.", "Good-bye, é.", "And again."]


def make_set(
  folder, features, example, *, set_name="toy_speech", version="1.0.0", count=3
):
  """Writes a set of `count` examples where TFDS keeps it below `folder`."""

  class Speech(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A data set that TFDS itself builds."""

    name = set_name
    VERSION = tfds.core.Version(version)

    def _info(self):
      features_dict = tfds.features.FeaturesDict(features)
      return tfds.core.DatasetInfo(builder=self, features=features_dict)

    def _split_generators(self, download_manager):
      return {"train": self._generate_examples()}

    def _generate_examples(self):
      for number in range(count):
        yield f"{number:03d}", example(number)

  builder = Speech(data_dir=folder, file_format="array_record")
  builder.download_and_prepare()
  return pathlib.Path(builder.data_dir)


def int16(number):
  return (tone(hz=200 + number) * 32767).astype(np.int16)


def plain(number):
  return {
    "audio": int16(number),
    "text": TEXTS[number],
    "speaker": "ab"[number % 2],
    "id": f"utt{number}",
  }


PLAIN = {
  "audio": tfds.features.Tensor(shape=(None,), dtype=np.int16),
  "text": tfds.features.Text(),
  "speaker": tfds.features.ClassLabel(names=["a", "b"]),
  "id": tfds.features.Text(),
}


def read(path, **options):
  return open_source("tfds", str(path), sample_rate=RATE, **options)


def by_id(source):
  return {u.id: (i, u) for i, u in enumerate(source.utterances)}


@pytest.mark.parametrize("below", [0, 1, 2])
def test_plain_tensors(tmp_path, below):
  path = make_set(tmp_path, PLAIN, plain)
  source = read([path, path.parent, tmp_path][below], native_rate=RATE)
  found = by_id(source)
  assert sorted(found) == ["utt0", "utt1", "utt2"]
  for number in range(3):
    index, utterance = found[f"utt{number}"]
    assert utterance.text == TEXTS[number] and utterance.speaker == "ab"[number % 2]
    assert utterance.seconds == 0.5
    np.testing.assert_allclose(
      source.audio(index, RATE), tone(hz=200 + number), atol=1e-4
    )
  assert read(path, native_rate=RATE).fingerprint == source.fingerprint
  assert len(read(path, native_rate=RATE, split="train[:2]").utterances) == 2


def test_audio_feature_as_in_the_catalogue(tmp_path):
  features = {
    "speech": tfds.features.Audio(sample_rate=8_000),
    "text": tfds.features.Text(),
    "text_normalized": tfds.features.Text(),
    "speaker_id": np.int64,
  }

  def example(number):
    audio_N = tone(rate=8_000, hz=200) * 32767
    texts = {"text": "No. 2", "text_normalized": "number two"}
    return {"speech": audio_N.astype(np.int64), "speaker_id": 7 + number, **texts}

  source = read(make_set(tmp_path, features, example))
  found = by_id(source)
  assert sorted(found) == ["train-000000", "train-000001", "train-000002"]
  assert {u.speaker for u in source.utterances} == {"7", "8", "9"}
  assert {u.text for u in source.utterances} == {"number two"}
  np.testing.assert_allclose(
    source.audio(0, RATE)[800:-800], tone(hz=200)[800:-800], atol=1e-3
  )


def test_float_stereo_without_labels(tmp_path):
  features = {"audio": tfds.features.Audio(shape=(None, 2), dtype=np.float32)}
  path = make_set(
    tmp_path, features, lambda n: {"audio": np.stack([tone(), 0 * tone()], 1)}, count=1
  )
  source = read(path, native_rate=RATE)
  assert source.utterances[0].text is None
  assert source.utterances[0].speaker == "unknown"
  np.testing.assert_allclose(source.audio(0, RATE), tone() / 2, atol=1e-6)


def test_bad_recordings(tmp_path):
  def example(number):
    audio_N = tone()
    audio_N[5:6] = [0, np.nan, 9][number]
    return {"audio": audio_N, "id": f"u{number}"}

  features = {
    "audio": tfds.features.Tensor(shape=(None,), dtype=np.float32),
    "id": tfds.features.Text(),
  }
  path = make_set(tmp_path, features, example)
  with pytest.raises(DataError, match=r"train example \d: .*\(and 1 more\)"):
    read(path, native_rate=RATE)
  source = read(path, native_rate=RATE, on_error="skip")
  assert [u.id for u in source.utterances] == ["u0"]
  reasons = sorted(skip["reason"].split(": ")[-1] for skip in source.skipped)
  assert reasons[0] == "contains NaN or Inf samples" and "samples reach 9" in reasons[1]


def test_which_set(tmp_path):
  with pytest.raises(DataError, match="data.path: .*nowhere is not a folder"):
    read(tmp_path / "nowhere")
  with pytest.raises(DataError, match="expected one prepared TFDS set .* found none"):
    read(tmp_path)
  make_set(tmp_path, PLAIN, plain, version="1.9.0", count=1)
  make_set(tmp_path, PLAIN, plain, version="1.10.0", count=2)
  assert len(read(tmp_path, native_rate=RATE).utterances) == 2
  make_set(tmp_path, PLAIN, plain, set_name="other_speech")
  with pytest.raises(DataError, match="found .*other_speech, .*toy_speech; data.opti"):
    read(tmp_path, native_rate=RATE)
  assert len(read(tmp_path, native_rate=RATE, name="other_speech").utterances) == 3
  old = read(tmp_path, native_rate=RATE, name="toy_speech/1.9.0")
  assert len(old.utterances) == 1


def test_unusable_sets(tmp_path):
  path = make_set(tmp_path / "plain", PLAIN, plain)
  with pytest.raises(
    DataError, match="'audio' does not tell its sample rate; set data"
  ):
    read(path)
  with pytest.raises(DataError, match="toy_speech/1.0.0: cannot read split 'test'"):
    read(path, split="test", native_rate=RATE)
  path = make_set(
    tmp_path / "mute", {"text": tfds.features.Text()}, lambda n: {"text": "x"}
  )
  with pytest.raises(DataError, match=r"none of its features \['text'\] is audio or"):
    read(path)
