"""What tokens carry: labels of frames, bits of known sources, and the command."""

import json

import numpy as np
import pytest
import soundfile

from jaxcodec.cli.main import main
from jaxcodec.data import alignments
from jaxcodec.data.alignments import Interval
from jaxcodec.data.source import DataError
from jaxcodec.data.token_store import write_tokens
from jaxcodec.evals import code_classifier, contents

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 0.1
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 0.1
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.03
            text = ""
        intervals [2]:
            xmin = 0.03
            xmax = 0.05
            text = "AH1"
        intervals [3]:
            xmin = 0.05
            xmax = 0.1
            text = "S"
"""
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
0.1
<exists>
1
"IntervalTier"
"phones"
0
0.1
3
0
0.03
""
0.03
0.05
"AH1"
0.05
0.1
"S"
"""
PHONES = "abcdefgh"


@pytest.mark.parametrize("text", [LONG, SHORT], ids=["long", "short"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_textgrids_are_read_in_praats_formats(tmp_path, text, encoding):
  path = tmp_path / "a.TextGrid"
  path.write_text(text, encoding=encoding)
  assert alignments.read_intervals(path) == [
    Interval(0, 0.03, ""),
    Interval(0.03, 0.05, "AH1"),
    Interval(0.05, 0.1, "S"),
  ]
  with pytest.raises(DataError, match=r"a.TextGrid: has no tier 'words', but \['phon"):
    alignments.read_intervals(path, "words")


@pytest.mark.parametrize("content", [b"", b"RIFF\0\0", LONG[:300].encode()])
def test_a_damaged_textgrid_is_named(tmp_path, content):
  path = tmp_path / "a.TextGrid"
  path.write_bytes(content)
  with pytest.raises(DataError, match=r"a.TextGrid: (is no TextGrid|has no tier|its)"):
    alignments.read_intervals(path)


def test_a_frame_has_the_label_at_its_middle():
  intervals = [
    Interval(0, 0.03, ""),
    Interval(0.03, 0.05, "AH1"),
    Interval(0.05, 1, "S"),
  ]
  labels = alignments.frame_labels(intervals, 4, 50)  # middles at 10, 30, 50, 70 ms
  assert [alignments.plain_phone(label) for label in labels] == ["sil", "AH", "S", "S"]
  assert alignments.frame_labels(intervals[:1], 3, 50) == [""] * 3


def test_alignments_are_found_by_name(tmp_path):
  (tmp_path / "b").mkdir()
  (tmp_path / "b" / "x.TextGrid").write_text(LONG)
  assert alignments.find_alignments(tmp_path) == {"x": tmp_path / "b" / "x.TextGrid"}
  assert alignments.name_of("speaker/book/x") == "x"
  (tmp_path / "x.TextGrid").write_text(LONG)
  with pytest.raises(DataError, match="which is of the recording x"):
    alignments.find_alignments(tmp_path)
  with pytest.raises(DataError, match="there is no such folder of alignments"):
    alignments.find_alignments(tmp_path / "none")


def _clip(rng, number, frames=300):
  """Makes an utterance of two speakers whose code 0 is the phone with 30% noise.

  Code 2 is the sum of phone and code 0, so that both together tell the phone. Code 1
  tells the speaker, with 10% noise.
  """
  phone_T, speaker = rng.integers(0, 8, frames), number % 2
  noisy_T = np.where(rng.random(frames) < 0.3, rng.integers(0, 8, frames), phone_T)
  told_T = (rng.random(frames) < 0.1) != speaker
  codes_TxK = np.column_stack([noisy_T, told_T, (phone_T + noisy_T) % 8])
  return contents.Clip(
    str(number), "ab"[speaker], codes_TxK, [PHONES[p] for p in phone_T]
  )


@pytest.fixture(scope="module")
def small():
  """Makes the classifier small, as programs in tests are hardly optimised.

  It has few frames here, and passes over them more often.
  """
  settings = {"_HIDDEN": 32, "_EPOCHS": 20, "_RATE": 0.02, "_PRIOR": 1.0, "_BATCH": 256}
  with pytest.MonkeyPatch.context() as patch:
    for name, value in settings.items():
      patch.setattr(code_classifier, name, value)
    yield


@pytest.fixture(scope="module")
def measured(small):
  rng = np.random.default_rng(0)
  clips = [_clip(rng, number) for number in range(30)]
  return contents.measure(clips, 8, folds=2)


def _means(found):
  return [estimate["mean"] for estimate in found]


def test_bits_of_a_known_source(measured):
  """Compares with closed forms; the classifier may miss a little and never invents."""
  same, other = 0.7 + 0.3 / 8, 0.3 / 8
  phone = 3 + same * np.log2(same) + 7 * other * np.log2(other)
  speaker = 1 + 0.9 * np.log2(0.9) + 0.1 * np.log2(0.1)
  found = measured["targets"]["phone"]
  assert found["labels"] == list(PHONES)
  assert found["entropy"]["mean"] == pytest.approx(3, abs=0.01)
  # Twice the phone and an even noise: code 2 by itself tells less than code 0.
  np.testing.assert_allclose(_means(found["alone"])[:2], [phone, 0], atol=0.03)
  added = _means(found["given_before"])
  np.testing.assert_allclose(added[:2], [phone, 0], atol=0.05)
  assert 3 - phone - 0.2 < added[2] < 3 - phone + 0.05
  assert sum(added) == pytest.approx(found["together"]["mean"])
  assert 2.8 < found["together"]["mean"] < 3.01
  assert -0.1 < found["shuffled"]["mean"] < 0.01
  found = measured["targets"]["speaker"]
  np.testing.assert_allclose(_means(found["alone"]), [0, speaker, 0], atol=0.03)
  np.testing.assert_allclose(_means(found["given_before"]), [0, speaker, 0], atol=0.05)
  for low, high in (e["ci95"] for e in found["alone"]):
    assert low < high


def test_what_cannot_be_measured():
  clips = [_clip(np.random.default_rng(0), number, 9) for number in range(5)]
  with pytest.raises(ValueError, match="needs at least 6 utterances, got 5"):
    contents.measure(clips, 8)


def test_ten_speakers_are_resampled_rather_than_utterances():
  clips = [
    contents.Clip(str(i), str(i % 10), np.zeros((4, 1)), "aabb") for i in range(20)
  ]
  sum_U = np.arange(20.0)
  found = contents._estimate(clips, sum_U, np.arange(20), by_speaker=True)
  assert found["mean"] == pytest.approx(sum_U.sum() / 80)
  by_speaker = (sum_U[:10] + sum_U[10:]) / 8
  assert found == contents.means.estimate(by_speaker, np.full(10, 8.0))


def test_a_wide_network_is_not_worse_than_the_labels_frequencies(small):
  """With few frames, the epoch that is chosen keeps it from learning by heart."""
  rng = np.random.default_rng(0)
  frames = [
    code_classifier.Frames(rng.integers(0, 500, (n, 2)), rng.integers(0, 2, n))
    for n in (600, 300, 300)
  ]
  found = code_classifier.surprisals(*frames, num_labels=2, codebook_size=500)
  np.testing.assert_allclose(found.mean(0), [1, 1], atol=0.1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """Writes the tokens stage of a run, and TextGrids of all utterances but one."""
  folder, rng = tmp_path_factory.mktemp("run"), np.random.default_rng(1)
  (folder / "tokens").mkdir()
  spec = dict(num_codebooks=3, codebook_size=8, hop=320, sample_rate=16_000)
  (folder / "tokens" / "spec.json").write_text(json.dumps({"token_spec": spec}))
  clips = [_clip(rng, number, 5) for number in range(9)]
  write_tokens(
    folder / "tokens" / "train.array_record",
    (
      {"id": f"s/{c.id}", "speaker": c.speaker, "text": None, "samples": 1600,
       "codes_TxK": c.codes_TxK.astype(np.uint16), "semantic_T": np.zeros(5, np.int32)}
      for c in clips
    ),
  )  # fmt: skip
  (folder / "grids").mkdir()
  for clip in clips[1:]:
    (folder / "grids" / f"{clip.id}.TextGrid").write_text(LONG)
  return folder


def test_the_command_measures_a_runs_tokens(run, small, capsys):
  out = run / "out.json"
  arguments = ["contents", str(run), "--alignments", str(run / "grids")]
  assert main([*arguments, "--out", str(out)]) == 0
  printed = capsys.readouterr()
  assert "40 frames of 8 utterances, 2 speakers" in printed.out
  assert "1 of 9 recordings have no TextGrid" in printed.err
  found = json.loads(out.read_text())["codecs"][str(run)]
  assert found["without_alignment"] == 1 and found["hop"] == 320
  assert found["targets"]["phone"]["labels"] == ["AH", "S", "sil"]
  assert len(found["targets"]["speaker"]["given_before"]) == 3


def test_what_the_command_lacks_is_named(run, tmp_path, capsys):
  soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16_000)
  (tmp_path / "z.TextGrid").write_text(LONG)
  for arguments, message in (
    ([str(run)], "--alignments is missing"),
    ([str(tmp_path), "--alignments", str(run)], "has no tokens; give --data"),
    ([str(run), "--alignments", str(tmp_path)], "has no TextGrid of any recording"),
  ):
    assert main(["contents", *arguments]) == 2
    assert message in capsys.readouterr().err
