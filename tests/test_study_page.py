"""The study's page: figures, players and tables, also in a browser if there is one."""

import html
import json
import re

import numpy as np
import pytest
import soundfile
from browser import ask
from study_helpers import plan, settings, write_cells, write_sounds

from jaxcodec.report.study import listening, page, setting
from jaxcodec.report.study.reasons import reasons
from jaxcodec.report.study.tables import to_markdown
from jaxcodec.stats import significance
from jaxcodec.study.collect import collect
from jaxcodec.study.sentences import read_sentences

SCRIPT = """
const table = document.querySelector("#differences table");
const column = 2;
const heading = () => table.tHead.rows[0].cells[column];
const cells = () => [...table.tBodies[0].rows].map((r) => r.cells[column].textContent);
heading().querySelector("button").click();
const up = cells(), ascending = heading().getAttribute("aria-sort");
heading().querySelector("button").click();
const down = cells(), descending = heading().getAttribute("aria-sort");
document.getElementById("blind-next").click();
const pair = document.getElementById("blind-pair");
const blind = {
  shown: !pair.hidden, text: pair.textContent,
  players: pair.querySelectorAll("audio").length,
};
pair.querySelector("button").click();
blind.told = document.getElementById("blind-tally").textContent;
const played = [];
for (const audio of document.querySelectorAll("article audio")) {
  await audio.play();
  await new Promise((done) => {
    audio.ontimeupdate = () => audio.currentTime && done();
  });
  audio.pause();
  played.push([audio.dataset.system, audio.duration]);
}
return {
  up, down, ascending, descending, blind, played,
  images: [...document.images].every((image) => image.naturalWidth > 0),
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
};
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
  """Returns a study and its page."""
  codecs = ["dacq_vocos", "dac"]
  cells = plan(tmp_path_factory.mktemp("page"), codecs=codecs)
  write_cells(cells)
  write_sounds(cells, utterances=1)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(significance, "_EXCHANGES", 1024)
    found = collect(settings(codecs=codecs), cells, {})
  return found, page.render_html(found, read_sentences(cells))


def test_the_page_is_one_file_that_fetches_nothing(study):
  _, text = study
  assert len(text) < 25_000_000
  sources = re.findall(r'(?:src|href)="([^"]{1,20})', text)
  assert sources and all(one.startswith(("data:", "#")) for one in sources)


def test_the_page_has_the_figures_and_the_verdicts(study):
  found, text = study
  for finding in found["findings"]:
    assert finding["claim"] in html.unescape(text)
  for systems in found["generation"].values():
    for measures in systems.values():
      low, high = measures["wer"]["ci95"]
      assert f"{measures['wer']['mean']:.3f} ({low:.3f} to {high:.3f})" in text
  commands = [cell["command"] for cell in found["cells"].values()]
  assert all(command in text for command in commands)


def test_both_reports_say_what_was_trained_and_what_decided(study):
  found, text = study
  for written in (html.unescape(text), to_markdown(found)):
    assert "3 steps of 4 x 0.5 s, with discriminators from step 2" in written
    assert "Language models: 4 steps" in written and "With one seed" in written
    for finding in found["findings"]:
      for slm in finding["by_slm"]:
        assert all(f"{slm}: {why}" in written for why in reasons(finding, slm))


def test_rates_at_which_no_word_is_understood_are_pointed_out(study):
  found, _ = study
  assert not any("understood" in text for text in setting.sentences(found))
  deaf = json.loads(json.dumps(found))
  for measures in deaf["generation"]["other"].values():
    measures["wer"]["mean"] = 0.95
  (warning,) = [text for text in setting.sentences(deaf) if "understood" in text]
  assert "With other no system's wer is below 0.9" in warning


def test_a_study_without_discriminators_says_so(study):
  found = json.loads(json.dumps(study[0]))
  assert "with discriminators from step" in setting.sentences(found)[1]
  found["setting"]["adversarial_start"] = None
  assert "without discriminators." in setting.sentences(found)[1]
  frozen = {**found, "design": "frozen", "tokens_training": found["setting"]}
  assert (
    "The codecs whose tokens they speak: 3 steps of" in setting.sentences(frozen)[1]
  )


def test_clips_are_equally_loud_where_peaks_allow():
  rng = np.random.default_rng(0)
  for gain in (0.001, 0.3):
    clip_N = listening.set_level((gain * rng.normal(size=8000)).astype(np.float32))
    level = listening.loudness_dbfs(clip_N)
    assert level == pytest.approx(listening.LEVEL_DBFS, abs=0.01)
  click_N = np.zeros(8000, np.float32)
  click_N[10] = 0.5
  assert np.abs(listening.set_level(click_N)).max() == pytest.approx(0.99)
  assert not listening.set_level(np.zeros(10, np.float32)).any()


def test_on_a_phones_browser_everything_works(study, tmp_path):
  _, text = study
  found, errors = ask(text, SCRIPT, tmp_path, size=(390, 800))
  assert errors == [] and "failed" not in found, found
  values = [float(value) for value in found["up"]]
  assert values == sorted(values) and len(set(values)) > 3
  assert [float(value) for value in found["down"]] == values[::-1]
  assert (found["ascending"], found["descending"]) == ("ascending", "descending")
  assert found["blind"]["shown"] and found["blind"]["players"] == 2
  assert "dac" not in found["blind"]["text"] and "A was " in found["blind"]["told"]
  systems = {system for system, _ in found["played"]}
  assert {"original", "dac, reconstructed", "dac, maskgit", "dac, other"} <= systems
  assert all(duration == pytest.approx(0.5) for _, duration in found["played"])
  assert found["images"] and found["wide"] <= 0


def test_sounds_are_those_of_the_cells(tmp_path):
  cells = plan(tmp_path, codecs=["dac"])
  write_cells(cells)
  write_sounds(cells)
  (sentence, *_) = read_sentences(cells)
  names = [clip.system for clip in sentence.clips]
  assert names[0] == "original" and len(names) == len(set(names)) == 4
  for clip in sentence.clips:
    info = soundfile.info(clip.path)
    assert info.samplerate == 16_000 and info.frames == 8000
  assert json.dumps(sentence.text) == '"t"'


def test_recordings_are_left_out_where_they_are_not_to_be_shared(tmp_path):
  cells = plan(tmp_path, codecs=["dac"])
  write_cells(cells)
  write_sounds(cells, utterances=2)
  found = read_sentences(cells, sentences=1, originals=False)
  names = {clip.system for sentence in found for clip in sentence.clips}
  assert len(found) == 1 and len(names) == 3 and "original" not in names
