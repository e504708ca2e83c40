"""Stages are skipped, resumed or redone, and never mixed or half-written."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from jaxcodec import files, stages


def writes(text="hello", name="out.txt", calls=None):
  def fn(folder):
    if calls is not None:
      calls.append(sorted(p.name for p in folder.iterdir()))
    files.write_text(folder / name, text)
    return [name]

  return fn


def fails(folder):
  (folder / "partial").write_text("x")
  raise KeyboardInterrupt


def test_done_records_inputs_outputs_and_is_skipped_next_time(tmp_path):
  calls, inputs = [], {"config": {"steps": 3}, "code": "1.0"}
  first = stages.run_stage(tmp_path, "codec", inputs, writes(calls=calls))
  second = stages.run_stage(tmp_path, "codec", inputs, writes("other", calls=calls))
  assert len(calls) == 1 and not first.skipped and second.skipped
  record = json.loads((tmp_path / "codec" / "DONE.json").read_text())
  assert record["inputs"] == inputs
  # sha256sum of "hello".
  digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
  assert record["outputs"] == {"out.txt": {"bytes": 5, "sha256": digest}}
  assert second.outputs == first.outputs == record["outputs"]
  assert second.as_input() == {"out.txt": digest}
  assert {"seconds", "finished", "fingerprint"} <= record.keys()


def test_key_order_and_tuples_do_not_make_a_stage_stale(tmp_path):
  stages.run_stage(tmp_path, "s", {"a": 1, "b": (1, 2)}, writes())
  assert stages.run_stage(tmp_path, "s", {"b": [1, 2], "a": 1}, writes()).skipped


def test_stale_is_moved_aside_and_the_changed_field_named(tmp_path, caplog):
  calls = []
  stages.run_stage(tmp_path, "s", {"codec": {"hop": 320}}, writes("old"))
  new = stages.run_stage(
    tmp_path, "s", {"codec": {"hop": 640}}, writes("new", "new.txt", calls)
  )
  assert not new.skipped and calls == [["STARTED.json"]]
  assert (tmp_path / "s.stale-1" / "out.txt").read_text() == "old"
  assert not (tmp_path / "s" / "out.txt").exists()
  assert "codec.hop: 320 -> 640" in caplog.text


def test_interrupted_is_resumed_with_same_inputs_and_not_mixed_with_others(tmp_path):
  calls = []
  with pytest.raises(KeyboardInterrupt):
    stages.run_stage(tmp_path, "s", {"x": 1}, fails)
  assert not (tmp_path / "s" / "DONE.json").exists()
  stages.run_stage(tmp_path, "s", {"x": 1}, writes(calls=calls))
  assert calls == [["STARTED.json", "partial"]]

  with pytest.raises(KeyboardInterrupt):
    stages.run_stage(tmp_path, "t", {"x": 1}, fails)
  stages.run_stage(tmp_path, "t", {"x": 2}, writes(calls=calls))
  assert calls[1] == ["STARTED.json"]
  assert (tmp_path / "t.stale-1" / "partial").exists()


@pytest.mark.parametrize("damage", ["delete", "truncate", "flip"])
def test_damaged_output_is_remade_and_the_rest_kept(tmp_path, damage, caplog):
  calls = []

  def fn(folder):
    calls.append(sorted(p.name for p in folder.iterdir()))
    for name in ("a", "b"):
      files.write_text(folder / name, f"content of {name}")
    return ["a", folder / "b"]

  stages.run_stage(tmp_path, "s", {}, fn)
  victim = tmp_path / "s" / "a"
  {
    "delete": victim.unlink,
    "truncate": lambda: victim.write_text("content"),
    "flip": lambda: victim.write_text("content of z"),
  }[damage]()
  again = stages.run_stage(tmp_path, "s", {}, fn)
  assert not again.skipped and calls[1] == ["STARTED.json", "b"]
  assert victim.read_text() == "content of a" and "remaking damaged a" in caplog.text


def test_a_foreign_or_broken_folder_is_not_trusted(tmp_path, caplog):
  (tmp_path / "s").mkdir()
  (tmp_path / "s" / "junk").write_text("?")
  calls = []
  stages.run_stage(tmp_path, "s", {}, writes(calls=calls))
  assert calls == [["STARTED.json"]] and (tmp_path / "s.stale-1" / "junk").exists()
  (tmp_path / "s" / "DONE.json").write_text('{"finger')
  assert not stages.run_stage(tmp_path, "s", {}, writes()).skipped
  assert "DONE.json is damaged" in caplog.text


def test_bad_inputs_and_missing_outputs_are_clear_errors(tmp_path):
  with pytest.raises(TypeError, match="stage s: input 'rate' isn't JSON-able"):
    stages.run_stage(tmp_path, "s", {"rate": float("nan")}, writes())
  with pytest.raises(FileNotFoundError, match="stage s should have written .*gone"):
    stages.run_stage(tmp_path, "s", {}, lambda folder: ["gone"])
  assert not (tmp_path / "s" / "DONE.json").exists()


def test_changed_fields_lists_added_removed_and_changed():
  old = {"a": {"b": 1, "c": 2}, "d": [1], "e": {}}
  new = {"a": {"b": 1, "c": 3}, "d": [1], "f": None}
  assert stages.changed_fields(old, new) == [
    "a.c: 2 -> 3",
    "e: {} -> (absent)",
    "f: (absent) -> null",
  ]


HOLDER = textwrap.dedent("""
  import sys, time
  from jaxcodec import stages
  with stages.lock_workdir(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
""")


def test_two_processes_cannot_share_a_workdir_and_a_dead_one_holds_nothing(tmp_path):
  command = [sys.executable, "-c", HOLDER, str(tmp_path)]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
    assert holder.stdout.readline() == "locked\n"
    try:
      with pytest.raises(RuntimeError, match=f"in use by process {holder.pid}"):
        with stages.lock_workdir(tmp_path):
          pass
    finally:
      os.kill(holder.pid, signal.SIGKILL)
  with stages.lock_workdir(tmp_path):
    pass


def test_only_what_killed_processes_had_begun_to_write_is_removed(tmp_path):
  (tmp_path / "codec").mkdir()
  kept = ["codec/split.json", "codec/.lock", "a.1.part.json", ".part", "x.part"]
  begun = [".config.7.part.json", "codec/.split.1947.part.json", "codec/.raw.12.part"]
  for name in kept + begun:
    (tmp_path / name).write_text("x")
  files.remove_abandoned(tmp_path)
  left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
  assert left == set(kept)


def _rewrite_forever(path, size):
  for byte in range(256):
    files.write_bytes(path, bytes([byte]) * size)


def test_a_file_killed_while_written_is_old_or_new_never_half(tmp_path):
  path, size = tmp_path / "file", 1 << 20
  context = multiprocessing.get_context("spawn")
  process = context.Process(target=_rewrite_forever, args=(path, size))
  process.start()
  while not path.exists() and process.is_alive():
    time.sleep(0.01)
  time.sleep(0.05)
  process.kill()
  process.join()
  content = path.read_bytes()
  assert len(content) == size and len(set(content)) == 1


def test_atomic_writes_leave_nothing_behind_on_failure(tmp_path):
  (tmp_path / "a.json").write_text("old")
  with pytest.raises(ValueError):
    files.write_json(tmp_path / "a.json", {"x": float("nan")})
  assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
  assert (tmp_path / "a.json").read_text() == "old"
