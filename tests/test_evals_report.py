"""The report is one self-contained file with the numbers of results.json."""

import base64
import html.parser
import io
import json
import re

import jinja2
import numpy as np
import pytest
import soundfile
from evals_helpers import RATE, make_workdir
from PIL import Image

from jaxcodec.evals.workdir import read_curves
from jaxcodec.report import html as report_html
from jaxcodec.report import players
from jaxcodec.report.experiment import write_report
from jaxcodec.report.figures import thin
from jaxcodec.report.format import interval, number

VOID = {"meta", "img", "br", "link", "input"}


class Page(html.parser.HTMLParser):
  """Collects elements and table rows; fails on tags that don't nest."""

  def __init__(self, text):
    super().__init__()
    self.elements, self.open, self.rows, self.text = [], [], [], []
    self.feed(text)
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))
    if tag not in VOID:
      self.open.append(tag)
    if tag == "tr":
      self.rows.append([])
    if tag in ("td", "th"):
      self.rows[-1].append("")

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text.append(data)
    if {"td", "th"} & set(self.open):
      self.rows[-1][-1] += data

  def every(self, tag):
    return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  folder = make_workdir(tmp_path_factory.mktemp("experiment"))
  assert write_report(folder) == folder / "report.html"
  return folder


@pytest.fixture(scope="module")
def page(workdir):
  return Page((workdir / "report.html").read_text(encoding="utf-8"))


def embedded(source, mime):
  prefix = f"data:{mime};base64,"
  assert source.startswith(prefix)
  return base64.b64decode(source.removeprefix(prefix), validate=True)


def test_nothing_is_fetched(workdir, page):
  for _, attrs in page.elements:
    for name in ("src", "href", "srcset", "poster", "data", "action"):
      assert re.match(r"data:|#", attrs.get(name, "#"))
  text = (workdir / "report.html").read_text(encoding="utf-8")
  assert "http://" not in text and "https://" not in text
  assert "@import" not in text and "url(" not in text
  assert not page.every("script")


def test_players_hold_the_audio_bit_for_bit(workdir, page):
  players = page.every("audio")
  # Two utterances were generated, the third was only reconstructed.
  assert len(players) == 3 + 3 + 2
  expected, rate = soundfile.read(
    workdir / "evaluate/audio/utt-0.original.wav", dtype="int16"
  )
  content = embedded(players[0]["src"], "audio/flac")
  found, found_rate = soundfile.read(io.BytesIO(content), dtype="int16")
  assert found_rate == rate == RATE
  np.testing.assert_array_equal(found, expected)


def test_pictures_are_readable_and_described(page):
  kinds = []
  for image in page.every("img"):
    assert len(image["alt"]) > 10
    if image["src"].startswith("data:image/svg+xml"):
      assert b"</svg>" in embedded(image["src"], "image/svg+xml")
      kinds.append("svg")
    else:
      content = embedded(image["src"], "image/png")
      assert Image.open(io.BytesIO(content)).width > 300
      kinds.append("png")
  # Curves of three metrics, three codebook plots; a spectrogram a player, an alignment.
  assert (kinds.count("svg"), kinds.count("png")) == (6, 8 + 1)
  alts = [image["alt"] for image in page.every("img")]
  assert "codec mel against training step (train and eval)" in alts
  assert "snr_db of each codebook: -0.5, 1.5, 3.25, 4" in alts


def test_figures_equal_results_json(workdir, page):
  results = json.loads((workdir / "results.json").read_text())
  markdown = (workdir / "report.md").read_text(encoding="utf-8")
  shown = {row[0].split()[0]: row[1:] for row in reversed(page.rows) if row[0].strip()}
  for group in ("reconstruction", "generation"):
    for name, m in results[group].items():
      cells = [number(m["mean"]), interval(m["ci95"]), str(m["n"]), str(m["n_failed"])]
      assert shown[name][:4] == cells
      row = next(line for line in markdown.splitlines() if line.startswith(f"| {name}"))
      assert [cell.strip() for cell in row.split("|")[2:6]] == cells
  ceiling = results["ground_truth"]["wer"]
  assert shown["wer"][4:] == [number(ceiling["mean"]), interval(ceiling["ci95"]), "3"]
  assert shown["0"] == ["2.500", "0.250", "0.750"]
  assert "| 1        |               3.000 |    0.125 |      0.062 |" in markdown


def test_everything_said_is_there_and_none_of_it_is_markup(workdir, page):
  text = "".join(page.text)
  for said in (
    "Glue the sheet <b>to</b> the dark & blue background.",
    "the <i>birch",
    "</script><script>alert(1)</script>",
    "python launch/main.py --config=configs/dac_maskgit.py:runlocal",
    "pip install distillmos",
    "audio is silent",
    "Prompt: 3 s of utt-9; seed 0",
  ):
    assert said in text
  assert not page.every("b") and not page.every("i")
  assert page.every("html")[0]["lang"] == "en"
  assert page.every("meta")[1]["name"] == "viewport"


def test_a_report_without_generation_or_training(tmp_path):
  make_workdir(tmp_path, generated=False, count=1)
  (tmp_path / "codec" / "metrics.jsonl").unlink()
  page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
  assert len(page.every("audio")) == 2
  sections = [attrs["id"] for attrs in page.every("section")]
  assert sections == ["results", "listening", "codebooks", "utterances", "provenance"]


def test_what_was_not_generated_says_why_and_one_frame_is_shown(tmp_path):
  make_workdir(tmp_path)
  index = tmp_path / "generate" / "index.jsonl"
  first, second = map(json.loads, index.read_text().splitlines())
  soundfile.write(tmp_path / "generate" / first["wav"], np.zeros(320), RATE)
  (tmp_path / "generate" / second["wav"]).unlink()
  index.write_text(json.dumps(first) + "\n" + json.dumps(second | {"wav": None}))
  results = json.loads((tmp_path / "results.json").read_text())
  for row in results["utterances"]:
    if (row["set"], row["id"]) == ("generation", second["id"]):
      row |= {"wer": None, "failed": {"wer": "the model ended at once"}}
  (tmp_path / "results.json").write_text(json.dumps(results))
  page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
  assert len(page.every("audio")) == 3 + 2 + 2
  text = "".join(page.text)
  # In the listening section, and in the list of failed measurements.
  assert text.count("the model ended at once") == 2
  assert text.count("Generated by the language model") == 2


def test_the_same_workdir_gives_the_same_bytes(workdir):
  before = (workdir / "report.html").read_bytes()
  write_report(workdir)
  assert (workdir / "report.html").read_bytes() == before


def test_the_listening_section_stays_under_its_budget(tmp_path, monkeypatch):
  monkeypatch.setattr(players, "MAX_CHARACTERS", 300_000)
  page = Page(write_report(make_workdir(tmp_path)).read_text(encoding="utf-8"))
  assert len(page.every("article")) < 3
  assert "more utterances are in the work directory" in "".join(page.text)


def test_a_template_is_not_rendered_without_its_values():
  with pytest.raises(jinja2.UndefinedError, match="set_tables"):
    report_html.render("experiment.html")


def test_missing_and_broken_inputs_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"results\.json"):
    write_report(tmp_path)
  (tmp_path / "results.json").write_text("{")
  with pytest.raises(ValueError, match=r"results\.json: not JSON"):
    write_report(tmp_path)
  (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nx\n')
  with pytest.raises(ValueError, match=r"metrics\.jsonl:2: not JSON"):
    read_curves(tmp_path / "metrics.jsonl")


def test_curves_keep_the_last_of_repeated_steps_and_lists_and_nulls(tmp_path):
  path = tmp_path / "metrics.jsonl"
  lines = [
    {"step": 0, "time": 0, "train/loss": 2.0, "train/books": [1, 2]},
    {"step": 1, "time": 1, "train/loss": 9.0},
    {"step": 1, "time": 2, "train/loss": None, "train/books": [3, 4]},
  ]
  path.write_text("\n".join(map(json.dumps, lines)))
  curves = read_curves(path)
  np.testing.assert_array_equal(curves["train/loss"][0], [0, 1])
  np.testing.assert_array_equal(curves["train/loss"][1], [2.0, np.nan])
  np.testing.assert_array_equal(curves["train/books"][1], [[1, 2], [3, 4]])


def test_thinning_keeps_the_mean():
  values = np.random.default_rng(0).random((3000, 2))
  steps, means = thin(np.arange(3000), values)
  assert len(steps) == 300
  np.testing.assert_allclose(means.mean(axis=0), values.mean(axis=0))
