"""The evaluate stage on made-up tokens: files, rows, and measures that are kept."""

import json
import shutil
import types

import numpy as np
import pytest
import soundfile
from evals_helpers import RATE, SPEC, voice

from jaxcodec import stages
from jaxcodec.build.fields import ConfigError
from jaxcodec.data.audio.files import write_wav
from jaxcodec.data.held_out import by_chance
from jaxcodec.data.source import Utterance
from jaxcodec.data.token_store import write_tokens
from jaxcodec.evals import opus
from jaxcodec.evals.metric import Metric, Score
from jaxcodec.evals.metrics import signal
from jaxcodec.evals.registry import METRICS
from jaxcodec.evals.results import read_results
from jaxcodec.evals.workdir import read_workdir
from jaxcodec.pipeline import keep_measures_in, use_codec_of
from jaxcodec.pipeline.evaluate import RESULTS, evaluate_all
from jaxcodec.pipeline.experiment import PARAMS, Experiment, safe_name
from jaxcodec.report.experiment import write_report
from jaxcodec.study.grid import Cell
from jaxcodec.study.sentences import read_sentences

# Folders of speakers: with "/" as "_" the first two were one file.
IDS = ("bob/u1", "bob_u1", "bob%2Fu1", "eve\\u2")
CONFIG = {
  "seed": 0,
  "codec": {"name": "made up"},
  "data": {"source": "folder", "path": "x", "workers": 0, "options": {}},
  "evaluate": {
    "num_utterances": 9,
    "reconstruction": ("mel_distance", "bitrate_kbps", "codebook_usage"),
    "generation": ("mel_distance",),
    "opus": True,
    "asr": "",
    "speaker": "",
    "utmos": None,
    "threads": 1,
  },
  "slm_train": {"best": None},
}
SOURCE = types.SimpleNamespace(
  utterances=tuple(Utterance(id=i, speaker="s", text="t", seconds=0.5) for i in IDS),
  fingerprint="00",
  audio=lambda index, rate: voice(index, 0.5, rate),
)
SPLIT = {"train": [], "valid": [], "test": list(range(len(IDS)))}
CODES = [np.full((25, 4), index, np.uint16) for index in range(len(IDS))]


class Codec:
  """Decodes to the utterance that has these codes, with some noise."""

  gain = np.float32(1)

  def decode(self, codes):
    for codes_TxK in codes:
      audio_N = self.gain * voice(int(codes_TxK[0, 0]), 0.5)
      noise_N = np.random.default_rng(0).standard_normal(len(audio_N))
      yield audio_N + 0.01 * noise_N.astype(np.float32)


def write_codec(workdir, weights=b"weights"):
  """Writes the codec and tokens stages, which language models share."""

  def codec(folder):
    (folder / PARAMS).write_bytes(weights)
    return [PARAMS]

  def tokens(folder):
    records = (
      {"id": i, "speaker": "s", "text": "t", "codes_TxK": c, "semantic_T": c[:, 0]}
      for i, c in zip(IDS, CODES, strict=True)
    )
    write_tokens(folder / "test.array_record", records)
    return ["test.array_record"]

  stages.run_stage(workdir, "codec", {}, codec)
  stages.run_stage(workdir, "tokens", {}, tokens)


def write_generated(workdir, seed, ids=IDS):
  """Writes the stages of a language model, whose speech has noise of its own."""

  def slm(folder):
    (folder / PARAMS).write_bytes(b"slm")
    (folder / "metrics.jsonl").write_text("")
    return [PARAMS, "metrics.jsonl"]

  def generate(folder):
    lines, outputs = [], ["index.jsonl"]
    for index, name in enumerate(IDS):
      if name not in ids:
        continue
      wav = f"{safe_name(name)}.wav"
      audio_N = voice(index, 0.5) * np.float32(1 + seed)
      write_wav(folder / wav, audio_N, RATE)
      outputs.append(wav)
      row = {"id": name, "speaker": "s", "text": "t", "seed": 0, "frames": 25}
      row |= {"ended": True, "wav": wav, "prompt_id": None, "prompt_seconds": 0.0}
      lines.append(json.dumps(row) + "\n")
    (folder / "index.jsonl").write_text("".join(lines))
    return outputs

  stages.run_stage(workdir, "slm", {}, slm)
  stages.run_stage(workdir, "generate", {}, generate)


def run_stage(workdir, **evaluate):
  """Runs the evaluate stage as the pipeline does; returns its results."""
  config = {**CONFIG, "evaluate": CONFIG["evaluate"] | evaluate}
  models = types.SimpleNamespace(spec=SPEC)
  experiment = Experiment(config, workdir, SOURCE, SPLIT, [], models)
  vars(experiment).update(codec=Codec())
  for name in ("codec", "tokens", "slm", "generate"):
    experiment.done[name] = stages.load_stage(workdir, name)
  stages.run_stage(workdir, "evaluate", {}, lambda f: evaluate_all(experiment, f))
  path = workdir / "evaluate" / RESULTS
  shutil.copyfile(path, workdir / RESULTS)
  record = {"config": {}, "command": "python", "versions": {}}
  (workdir / "config.json").write_text(json.dumps(record))
  return read_results(path)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
  """Returns a codec's cell and two language models' cells on it, measured in turn."""
  folder = tmp_path_factory.mktemp("study")
  write_codec(folder / "dac-s0")
  found = {}
  for seed, name in enumerate(("first", "second")):
    use_codec_of(folder / "dac-s0", folder / name)
    write_generated(folder / name, seed)
    with pytest.MonkeyPatch.context() as patch:
      if seed:
        patch.setattr(opus, "through_opus", None)
        patch.setattr(signal.MelDistance, "score", _of_generation_only)
      found[name] = run_stage(folder / name)
  return folder, found


_SCORE = signal.MelDistance.score


def _of_generation_only(metric, clip):
  assert clip.codes_TxK is None and clip.bits is None
  return _SCORE(metric, clip)


def test_names_of_files_are_those_of_one_id_each():
  assert safe_name("ada-061 é.x") == "ada-061 é.x"
  assert safe_name("bob/u1") == "bob%2Fu1" and safe_name("bob%2Fu1") == "bob%252Fu1"
  assert len(set(map(safe_name, IDS))) == len(IDS)


def test_every_utterance_keeps_its_own_sounds(study):
  folder, _ = study
  utterances = {u.id: u for u in read_workdir(folder / "first").utterances}
  assert set(utterances) == set(IDS)
  for index, name in enumerate(IDS):
    sounds = utterances[name].sounds
    assert set(sounds) == {"original", "reconstruction", "generated"}
    audio_N, rate = soundfile.read(sounds["original"], dtype="float32")
    np.testing.assert_allclose(audio_N, voice(index, 0.5, rate), atol=1e-4)


def test_what_is_generated_is_what_is_reconstructed(tmp_path):
  """Where fewer are measured than there are, in the order of chance."""
  for name, ids in (("last", IDS[3:]), ("all", IDS)):
    write_codec(tmp_path / name)
    write_generated(tmp_path / name, seed=0, ids=ids)
  found = run_stage(tmp_path / "last", opus=False, num_utterances=1)
  assert [(row["set"], row["id"]) for row in found["utterances"]] == [
    (name, IDS[3]) for name in ("reconstruction", "generation", "ground_truth")
  ]
  others = run_stage(tmp_path / "all", opus=False, num_utterances=2)
  rows = [row["id"] for row in others["utterances"] if row["set"] == "reconstruction"]
  assert rows == [IDS[i] for i in by_chance(IDS)[:2]]


def test_both_reports_have_a_player_for_each_sound(study):
  folder, _ = study
  page = write_report(folder / "first").read_text(encoding="utf-8")
  assert page.count("<audio") == 3 * len(IDS)
  cells = [
    Cell(name, "dac", name, 0, ("dac-s0",), folder / name, "", ())
    for name in ("first", "second")
  ]
  sentences = read_sentences(cells)
  assert {sentence.id for sentence in sentences} == set(IDS)
  for sentence in sentences:
    # The original and the reconstruction once, and what both models said.
    assert len(sentence.clips) == len({clip.path for clip in sentence.clips}) == 4


def test_sounds_of_an_earlier_revision_are_found_by_their_names(study, tmp_path):
  folder, _ = study
  old = shutil.copytree(folder / "first", tmp_path / "old", symlinks=True)
  results = read_results(old / RESULTS)
  for row in results["utterances"]:
    row.pop("wavs", None)
  (old / RESULTS).write_text(json.dumps(results))
  audio = old / "evaluate" / "audio"
  for kind in ("original", "reconstruction"):
    (audio / f"eve%5Cu2.{kind}.wav").rename(audio / f"eve_u2.{kind}.wav")
  (found,) = [u for u in read_workdir(old).utterances if u.id == "eve\\u2"]
  assert set(found.sounds) == {"original", "reconstruction", "generated"}


def test_the_second_language_model_does_not_measure_the_codec_again(study):
  folder, found = study
  first, second = found["first"], found["second"]
  for name in ("reconstruction", "opus", "opus_double", "ground_truth"):
    assert json.dumps(second[name]) == json.dumps(first[name])
    rows = [
      json.dumps([row for row in results["utterances"] if row["set"] == name])
      for results in (first, second)
    ]
    assert rows[0] == rows[1] and len(json.loads(rows[0])) == len(IDS)
  assert second["generation"] != first["generation"]
  assert len(list((folder / "dac-s0" / "measured").iterdir())) == 4


def test_what_is_shared_equals_what_is_measured_alone(study, tmp_path):
  write_codec(tmp_path)
  write_generated(tmp_path, seed=1)
  alone = run_stage(tmp_path)
  assert json.dumps(alone) == json.dumps(study[1]["second"])
  assert not (tmp_path / "measured").exists()


def test_other_weights_other_settings_and_damage_are_measured_anew(tmp_path):
  write_codec(tmp_path / "dac-s0")
  use_codec_of(tmp_path / "dac-s0", tmp_path / "first")
  write_generated(tmp_path / "first", seed=0)
  before = run_stage(tmp_path / "first", opus=False)
  kept = tmp_path / "dac-s0" / "measured"
  (path,) = kept.glob("reconstruction-*")
  content = path.read_text()
  path.write_text(content.replace('"measures": "{', '"measures": "{ '))
  shutil.rmtree(tmp_path / "first" / "evaluate")
  assert run_stage(tmp_path / "first", opus=False) == before
  assert path.read_text() == content
  shutil.rmtree(tmp_path / "first" / "evaluate")
  run_stage(tmp_path / "first", opus=False, num_utterances=2)
  assert len(list(kept.glob("reconstruction-*"))) == 2


def test_other_codecs_on_the_same_recordings_share_what_is_not_theirs(
  study, tmp_path, monkeypatch
):
  """Opus and the originals are of no codec; what a codec decodes is its own."""
  found = {}
  for name in ("first", "second"):
    write_codec(tmp_path / name, weights=name.encode())
    write_generated(tmp_path / name, seed=0)
    keep_measures_in(tmp_path / "all", tmp_path / name)
    found[name] = run_stage(tmp_path / name)
    monkeypatch.setattr(opus, "through_opus", None)
    monkeypatch.setattr(Codec, "gain", np.float32(0.5))
  kept = [path.name.split("-")[0] for path in (tmp_path / "all").iterdir()]
  assert sorted(kept) == [
    *("ground_truth", "opus", "opus_double"),
    *("reconstruction", "reconstruction"),
  ]
  assert found["first"]["opus"] == found["second"]["opus"] == study[1]["first"]["opus"]
  assert found["first"]["reconstruction"] != found["second"]["reconstruction"]
  with pytest.raises(ConfigError, match="keep_measures_in: .* is there and isn't"):
    keep_measures_in(tmp_path / "others", tmp_path / "first")
  with pytest.raises(ConfigError, match="is where .* has its own"):
    keep_measures_in(tmp_path / "third" / "measured", tmp_path / "third")
  (tmp_path / "file").touch()
  with pytest.raises(ConfigError, match="expected a folder, .*file is a file"):
    keep_measures_in(tmp_path / "file", tmp_path / "third")


class PeakRatio(Metric):
  """A metric from outside of the package."""

  name = "peak_ratio"
  better = "higher"
  measures = "The audio's peak over the reference's."

  def score(self, clip):
    return Score(float(np.abs(clip.audio).max() / np.abs(clip.reference).max()))


def test_a_metric_from_outside_is_measured_and_reported(tmp_path, monkeypatch):
  monkeypatch.setattr(METRICS, "_parts", dict(METRICS._parts))
  METRICS.register(PeakRatio.name, PeakRatio)
  write_codec(tmp_path)
  write_generated(tmp_path, seed=1)
  found = run_stage(tmp_path, opus=False, generation=("peak_ratio",))
  assert found["generation"]["peak_ratio"]["mean"] == pytest.approx(2, rel=1e-3)
  assert "peak over the reference" in write_report(tmp_path).read_text("utf-8")
