"""Metrics files stay right after kill and resume; progress on and off a terminal."""

import io
import json
import struct
import time

import numpy as np
import pytest

from jaxcodec import progress
from jaxcodec.train.metrics_file import FILE, MetricsWriter, read_metrics


def steps(folder):
  return [json.loads(line)["step"] for line in (folder / FILE).read_text().splitlines()]


def test_one_json_object_a_line_with_numbers_and_lists(tmp_path):
  with MetricsWriter(tmp_path) as writer:
    writer.write(1, {"loss": np.float32(0.5), "usage": np.array([1.0, 0.25])})
    writer.write(2, {"loss": float("nan"), "usage": [np.inf, 1]})
  first, second = map(json.loads, (tmp_path / FILE).read_text().splitlines())
  assert abs(first.pop("time") - time.time()) < 60
  assert first == {"step": 1, "loss": 0.5, "usage": [1.0, 0.25]}
  assert second["loss"] is None and second["usage"] == [None, 1.0]
  assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2]


def test_resume_cuts_later_lines_and_a_half_written_one(tmp_path):
  with MetricsWriter(tmp_path) as writer:
    for step in (10, 20, 30):
      writer.write(step, {"loss": step})
  path = tmp_path / FILE
  kept = path.read_text().splitlines(keepends=True)[:2]
  path.write_text(path.read_text() + '{"step": 40, "lo')
  assert len(read_metrics(tmp_path)) == 3
  with MetricsWriter(tmp_path, step=25) as writer:
    writer.write(30, {"loss": 31})
  assert steps(tmp_path) == [10, 20, 30]
  assert path.read_text().splitlines(keepends=True)[:2] == kept
  assert read_metrics(tmp_path)[-1]["loss"] == 31


def test_a_new_run_starts_an_empty_file(tmp_path):
  with MetricsWriter(tmp_path) as writer:
    writer.write(1, {"loss": 1})
  with MetricsWriter(tmp_path):
    pass
  assert steps(tmp_path) == []


def test_each_line_is_in_the_file_at_once(tmp_path):
  with MetricsWriter(tmp_path) as writer:
    writer.write(1, {"loss": 1})
    assert steps(tmp_path) == [1]


@pytest.mark.parametrize("line", ["garbage", "[1]", '{"step": '])
def test_damage_in_the_middle_is_a_clear_error(tmp_path, line):
  (tmp_path / FILE).write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
  with pytest.raises(ValueError, match=f"{FILE}, line 2 isn't a metrics record"):
    MetricsWriter(tmp_path, step=3)


def test_only_numbers_and_vectors(tmp_path):
  with MetricsWriter(tmp_path) as writer:
    with pytest.raises(ValueError, match="'m' must be a number or a vector"):
      writer.write(1, {"m": np.zeros((2, 2))})
    with pytest.raises(ValueError, match="'s' must be a number or a vector"):
      writer.write(1, {"s": "text"})
  assert steps(tmp_path) == []


def test_tensorboard_gets_the_same_numbers(tmp_path):
  pytest.importorskip("tensorboardX")
  event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
  with MetricsWriter(tmp_path) as writer:
    writer.write(3, {"loss": 0.5, "usage": [1.0, 0.25], "bad": np.nan})
  (path,) = (tmp_path / "tensorboard").iterdir()
  content, found = path.read_bytes(), {}
  while content:  # TFRecord: length, its CRC, the record, its CRC
    (size,) = struct.unpack("<Q", content[:8])
    event = event_pb2.Event.FromString(content[12 : 12 + size])
    found |= {(v.tag, event.step): v.simple_value for v in event.summary.value}
    content = content[16 + size :]
  assert found == {("loss", 3): 0.5, ("usage/0", 3): 1.0, ("usage/1", 3): 0.25}


class Terminal(io.StringIO):
  def isatty(self):
    return True


def test_off_a_terminal_plain_lines_every_so_often_and_at_the_end(monkeypatch):
  stream, now = io.StringIO(), [0.0]
  monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
  with progress.Progress(
    4, "train", unit="ex", scale=8, every=0.02, stream=stream
  ) as bar:
    bar.show({"loss": 0.123456})
    for _ in range(4):
      now[0] += 0.015
      bar.update()
  lines = stream.getvalue().splitlines()
  assert "\r" not in stream.getvalue() and len(lines) == 2
  assert lines[-1].startswith("train 4/4 100% loss 0.1235 ")
  assert " ex/s" in lines[-1] and "left 00:00" in lines[-1]
  rate = float(lines[-1].split()[5])
  assert rate == pytest.approx(8 / 0.015, rel=0.01)


def test_on_a_terminal_a_live_bar_with_the_values():
  stream = Terminal()
  with progress.Progress(2, "train", stream=stream) as bar:
    bar.show({"loss": 0.5})
    bar.update()
    bar.message("saved")
    bar.update()
  shown = stream.getvalue()
  assert "\r" in shown and "train 100%" in shown and "2/2" in shown
  assert "loss 0.5" in shown and "saved\n" in shown
