"""Reading files of weights without PyTorch: what comes back, and what is refused."""

import io
import json
import os
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from jaxcodec.hub import layouts
from jaxcodec.porting import readers, torch_zip

STATE = {
  "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
  "a.half": np.array([1.5, -2], np.float16),
  "a.brain": np.array([1.5, -2], ml_dtypes.bfloat16),
  "count": np.array(7),
  "empty": np.zeros((0, 3), np.float32),
}


class Reduce:
  """Pickles as a call of any function."""

  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


def archive(path, members):
  with zipfile.ZipFile(path, "w") as file:
    for name, content in members.items():
      file.writestr(f"archive/{name}", content)
  return path


def tensor(shape, strides, offset=0, numel=4, storage="FloatStorage", key="0"):
  """Returns a pickled tensor in the text protocol."""
  numbers = lambda values: "(" + "".join(f"I{v}\n" for v in values) + "t"  # noqa: E731
  pid = f"(S'storage'\nctorch\n{storage}\nS'{key}'\nS'cpu'\nI{numel}\ntQ"
  arguments = f"({pid}I{offset}\n{numbers(shape)}{numbers(strides)}I00\nNt"
  return f"ctorch._utils\n_rebuild_tensor_v2\n{arguments}R"


def state_of(path, *tensors):
  """Writes a state dict of these pickled tensors over a storage of 0, 1, 2, 3."""
  items = "".join(f"S't{i}'\n{one}s" for i, one in enumerate(tensors))
  content = {"data.pkl": f"(d{items}.", "data/0": np.arange(4, dtype="<f4").tobytes()}
  return archive(path, content)


def same(found, expected):
  assert found.keys() == expected.keys()
  for name, array in expected.items():
    assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_was_written_is_read(tmp_path, wrapped):
  kwargs = {"strides": [2, 4], "rate": 0.5, "name": "é", "latent": None, "ok": True}
  tree = {"state_dict": STATE, "metadata": {"kwargs": kwargs}} if wrapped else STATE
  path = tmp_path / "weights.pth"
  path.write_bytes(torch_zip.dumps(tree))
  checkpoint = readers.read(path)
  same(checkpoint.state, STATE)
  assert checkpoint.config == (kwargs if wrapped else {})
  assert torch_zip.dumps(tree) == path.read_bytes()


def test_strides_offsets_and_shared_storages(tmp_path):
  path = state_of(tmp_path / "a.pth", tensor((2, 2), (1, 2)), tensor((2,), (1,), 2))
  same(
    readers.read(path).state,
    {"t0": np.float32([[0, 2], [1, 3]]), "t1": np.float32([2, 3])},
  )


@pytest.mark.parametrize(
  "bad",
  [
    tensor((5,), (1,)),
    tensor((2,), (1,), offset=3),
    tensor((2,), (1,), offset=-1),
    tensor((2, 2), (-1, 1)),
    tensor((2,), (1,), key="9"),
    tensor((2,), (1,), key="../../etc/passwd"),
    tensor((2,), (1,), storage="QInt8Storage"),
  ],
)
def test_a_tensor_outside_its_storage_is_an_error(tmp_path, bad):
  with pytest.raises(ValueError, match="a.pth"):
    readers.read(state_of(tmp_path / "a.pth", bad))


@pytest.mark.parametrize(
  "hostile,named",
  [
    (Reduce(os.system, "touch {0}"), "system"),
    (Reduce(eval, "open('{0}', 'w')"), "eval"),
    (Reduce(getattr, "", "join"), "getattr"),
    (io.BytesIO, "_io.BytesIO"),
    (np.float32(1), "numpy"),
  ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_hostile_pickles_are_refused_by_name(tmp_path, hostile, named, protocol):
  target = tmp_path / "executed"
  if isinstance(hostile, Reduce):
    function, arguments = hostile.call
    hostile = Reduce(function, *(a.format(target) for a in arguments))
  content = pickle.dumps({"a": hostile}, protocol)
  path = archive(tmp_path / "hostile.pth", {"data.pkl": content})
  with pytest.raises(ValueError, match=f"hostile.pth names .*{named}") as caught:
    readers.read(path)
  assert "not executed" in str(caught.value) and not target.exists()


@pytest.mark.parametrize(
  "content",
  [
    b"cposix\nsystem\n(S'exit 1'\ntR.",
    b"\x80\x04\x8c\x0bcollections\x8c\x13OrderedDict.update\x93.",
    b"(S'false'\nios\nsystem\n.",
  ],
)
def test_other_ways_to_name_a_function(tmp_path, content):
  path = archive(tmp_path / "hostile.pth", {"data.pkl": content})
  with pytest.raises(ValueError, match="hostile.pth"):
    readers.read(path)


def test_a_structure_that_grows_when_copied_is_read_in_no_time(tmp_path):
  tree = [0]
  for _ in range(60):
    tree = [tree, tree]
  path = archive(tmp_path / "a.pth", {"data.pkl": pickle.dumps({"x": tree})})
  with pytest.raises(ValueError, match="not tensors"):
    readers.read(path)


def test_compressed_archives_are_refused(tmp_path):
  path = tmp_path / "bomb.pth"
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
    file.writestr("archive/data.pkl", b"0" * 10_000)
  with pytest.raises(ValueError, match="bomb.pth.*larger than the file"):
    readers.read(path)


def test_truncated_and_foreign_files(tmp_path):
  path = tmp_path / "a.pth"
  whole = torch_zip.dumps(STATE)
  for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
    path.write_bytes(whole[:size])
    with pytest.raises(ValueError, match="a.pth is truncated or not written by torch"):
      readers.read(path)
  for foreign in (b"RIFF....WAVE", pickle.dumps(STATE), b"\x00" * 100):
    path.write_bytes(foreign)
    with pytest.raises(ValueError, match="a.pth is truncated or not written by torch"):
      readers.read(path)


def test_the_old_format_says_what_to_do(tmp_path):
  path = tmp_path / "a.pth"
  path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + b"more")
  with pytest.raises(ValueError, match="a.pth.*before 1.6.*save it again"):
    readers.read(path)


@pytest.mark.parametrize(
  "tree,message",
  [
    ([1, 2], "holds a list"),
    ({"state_dict": 3}, r"\['state_dict'\] are not tensors"),
    ({"a": np.zeros(2), "epoch": 3}, r"\['epoch'\] are not tensors"),
  ],
)
def test_what_is_not_a_state_dict(tmp_path, tree, message):
  path = tmp_path / "a.pth"
  path.write_bytes(torch_zip.dumps(tree))
  with pytest.raises(ValueError, match=f"a.pth.*{message}"):
    readers.read(path)


def test_folders_in_the_layouts_of_hugging_face_and_vocos(tmp_path):
  tensors = {name: STATE[name] for name in ("a.weight", "a.half", "a.brain")}
  safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
  (tmp_path / "config.json").write_text(json.dumps({"model_type": "dac"}))
  checkpoint = readers.read(tmp_path)
  same(checkpoint.state, tensors)
  assert checkpoint.config == {"model_type": "dac"}
  vocos = tmp_path / "vocos"
  vocos.mkdir()
  (vocos / "pytorch_model.bin").write_bytes(torch_zip.dumps(STATE))
  (vocos / "config.yaml").write_text("head: {class_path: vocos.heads.ISTFTHead}")
  checkpoint = readers.read(vocos)
  same(checkpoint.state, STATE)
  assert checkpoint.config["head"] == {"class_path": "vocos.heads.ISTFTHead"}


def test_weights_in_shards(tmp_path):
  tensors = {name: STATE[name] for name in ("a.weight", "a.half", "a.brain")}
  index = {
    name: f"model-0000{i}-of-00003.safetensors" for i, name in enumerate(tensors)
  }
  for name, file in index.items():
    safetensors.numpy.save_file({name: tensors[name]}, tmp_path / file)
  (tmp_path / "config.json").write_text(json.dumps({"model_type": "dac"}))
  path = tmp_path / readers.INDEX
  path.write_text(json.dumps({"weight_map": index}))
  checkpoint = readers.read(tmp_path)
  same(checkpoint.state, tensors)
  assert checkpoint.config == readers.description(tmp_path) == {"model_type": "dac"}
  names = [file.name for file in tmp_path.iterdir()]
  assert set(layouts.choose([*names, "model-a.safetensors"], "codec")) == set(names)
  (tmp_path / index["a.half"]).unlink()
  with pytest.raises(FileNotFoundError, match=r"00001-of-00003.*index.json names"):
    readers.read(tmp_path)
  for text, message in (
    ('{"weight_map": {"a": "../b"}}', "names '../b'"),
    ("{", "is no"),
  ):
    path.write_text(text)
    with pytest.raises(ValueError, match=f"index.json: {message}"):
      readers.read(tmp_path)


def test_damaged_folders(tmp_path):
  with pytest.raises(FileNotFoundError, match="holds neither model.safetensors nor"):
    readers.read(tmp_path)
  with pytest.raises(FileNotFoundError, match="no weights at"):
    readers.read(tmp_path / "absent.pth")
  (tmp_path / "pytorch_model.bin").write_bytes(torch_zip.dumps(STATE))
  hostile = "!!python/object/apply:os.system ['false']"
  for text in (hostile, "- a list", "{"):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match="config.yaml"):
      readers.read(tmp_path)
  path = tmp_path / "model.safetensors"
  for content in (b"", b"\xff" * 64, safetensors.numpy.save(STATE)[:-2]):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="model.safetensors is truncated or isn't"):
      readers.read(tmp_path)
