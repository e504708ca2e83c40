"""As much evidence as is said to be needed decides, and less doesn't."""

import numpy as np
import pytest
import scipy
from test_study_findings import BY_DECODER, BY_QUANTIZER, FLAT, RISING, _evidence
from test_study_findings import CODECS as CODEC_PARTS

from jaxcodec.report.study.reasons import reasons
from jaxcodec.stats import significance
from jaxcodec.stats.anova import attribution
from jaxcodec.stats.bootstrap import Aligned
from jaxcodec.study import power
from jaxcodec.study.findings import FINDINGS, judge_all
from jaxcodec.study.power import CODECS, Need, needed


@pytest.fixture(autouse=True)
def _fewer_exchanges(monkeypatch):
  monkeypatch.setattr(significance, "_EXCHANGES", 2999)


def _times(factor, means):
  return tuple(factor * np.array(means))


SLIGHTLY = _times(0.25, BY_DECODER)
REVERSED = _evidence(FLAT, _times(-0.5, RISING), FLAT, FLAT, noise=8.0)._replace(
  reconstruction=_evidence(RISING, FLAT, FLAT, FLAT).reconstruction
)
BY_THE_DECODER = _evidence(FLAT, _times(0.7, BY_DECODER), FLAT, FLAT, noise=1.2)


@pytest.mark.parametrize(
  ("number", "evidence", "above"),
  [
    (1, REVERSED, 48),
    (2, BY_THE_DECODER, 96),
    (3, _evidence(FLAT, FLAT, _times(0.7, BY_QUANTIZER), FLAT, noise=2.5), 96),
    (4, _evidence(FLAT, FLAT, SLIGHTLY, SLIGHTLY, noise=0.8), 24),
  ],
)
def test_so_many_sentences_decide_and_fewer_do_not(number, evidence, above):
  judge = FINDINGS[number - 1].judge
  assert judge(evidence)[0] == "undecided"
  assert needed(judge, evidence) == Need("sentences", 24, above, 2 * above)


def test_a_margin_is_met_when_its_interval_has_narrowed():
  """Intervals narrow with the root of the number of sentences."""
  evidence = _evidence(FLAT, FLAT, SLIGHTLY, SLIGHTLY, noise=0.8)
  numbers = FINDINGS[3].judge(evidence)[1]
  lead = numbers["dac_leads"]["over_each"]
  outside = [
    (one["value"] - one["ci_bonferroni"][0]) / (one["value"] - one["margin"])
    for one in numbers["vocos_equals_dac_decoder"]["tests"]
    if one["value"] > one["margin"]
  ]
  behind = [
    (one["ci"][1] - one["value"]) / -one["value"]
    for one in lead.values()
    if one["value"] < 0
  ]
  enough = 24 * min(outside + behind) ** 2
  need = needed(FINDINGS[3].judge, evidence)
  assert need.above < enough <= need.up_to


@pytest.mark.parametrize("noise", [4.0, 8.0])
def test_so_many_codecs_would_make_a_correlation_clear(noise):
  """By Fisher's interval, whose width is known."""
  falling = _evidence(FLAT, _times(-1, RISING), FLAT, FLAT, noise=0)
  rng = np.random.default_rng(1)
  off = tuple(np.array(RISING) + rng.normal(0, noise / 2, len(RISING)))
  evidence = falling._replace(
    reconstruction=_evidence(off, FLAT, FLAT, FLAT).reconstruction
  )
  verdict, numbers = FINDINGS[4].judge(evidence)
  assert verdict == "undecided"
  need = needed(FINDINGS[4].judge, evidence, unit=CODECS)
  r = numbers["naturalness"]["value"]
  enough = 3 + (scipy.stats.norm.isf(0.025) / np.arctanh(r)) ** 2
  assert need.now == 6 and need.above < enough <= need.up_to


def test_seeds_are_multiplied_where_sentences_do_not_help():
  """As where one training says this and another that, of all sentences alike."""
  mixed = 0.3 * np.array(BY_DECODER) + 0.25 * np.array(BY_QUANTIZER)
  found = (BY_DECODER, tuple(mixed))
  tops = [_evidence(FLAT, means, FLAT, FLAT).generation for means in found]
  names = list(tops[0])
  generation = {
    name: Aligned(
      tops[0][name].ids,
      sum(top[name].top_UxM for top in tops),
      sum(top[name].bottom_UxM for top in tops),
      tuple((top[name].top_UxM, top[name].bottom_UxM) for top in tops),
    )
    for name in names
  }
  evidence = REVERSED._replace(generation=generation)
  evidence = evidence._replace(reconstruction=generation["speaker"])
  judge = FINDINGS[1].judge
  assert judge(evidence)[0] == "undecided"
  need = needed(judge, evidence)
  assert need.unit == "seeds" and need.now == 2 < need.up_to <= 16


@pytest.mark.parametrize("unit", [power.SENTENCES, power.SEEDS])
@pytest.mark.parametrize("shared", [False, True])
def test_more_of_what_was_found_leaves_it_as_it_is(unit, shared):
  """Of seeds whose noise is shared by decoders, copies of sentences lessen nothing."""
  rng, quantizers, decoders = np.random.default_rng(3), list("aabbcc"), list("xyxyxy")
  by_seed = []
  for _ in range(3):
    of_tokens = np.repeat(rng.normal(size=3), 2)
    tops = of_tokens + rng.normal(size=(30, 6)) + np.arange(6)
    by_seed.append((tops, np.ones_like(tops)))
  sums = [sum(parts) for parts in zip(*by_seed, strict=True)]
  found = Aligned(tuple(map(str, range(30))), *sums, tuple(by_seed))
  widths = []
  for times in (None, 2, 8):
    grown = found if times is None else power._GROW[unit](found, times)
    contrast = attribution(grown, quantizers, decoders, shared=shared)
    contrast = contrast["quantizer_less_decoder"]
    widths.append(contrast["ci95"][1] - contrast["ci95"][0])
    if times is None:
      value = contrast["value"]
    assert contrast["value"] == pytest.approx(value, abs=1e-9)
  assert widths[0] > widths[1] > widths[2]


def test_what_the_parts_cannot_show_needs_no_size():
  """One decoder says nothing of decoders; without DAC and pairs, nothing of them."""
  one_decoder = [parts._replace(decoder="vocos") for parts in CODEC_PARTS]
  evidence = BY_THE_DECODER._replace(codecs=one_decoder)
  for number in (2, 3, 4):
    judge = FINDINGS[number - 1].judge
    assert judge(evidence)[0] == "undecided" and needed(judge, evidence) is None


def test_measures_of_other_sentences_are_grown_each_by_itself():
  """And one that is missing stops nothing else."""
  naturalness = BY_THE_DECODER.generation["naturalness"]
  some = naturalness.rows(range(16))
  evidence = BY_THE_DECODER._replace(
    reconstruction=None,
    generation={**BY_THE_DECODER.generation, "intelligibility": some},
  )
  (_, second, third, fourth, _) = judge_all({"a": evidence})
  assert second["needed"]["a"]["now"] == 24
  assert third["needed"]["a"]["now"] == fourth["needed"]["a"]["now"] == 16
  alone = judge_all({"a": evidence._replace(generation={})})
  assert {one["needed"]["a"] for one in alone} == {None}


def test_a_report_says_how_many():
  judged = judge_all({"a": BY_THE_DECODER, "b": None})
  (finding,) = [row for row in judged if row["number"] == 2]
  assert finding["needed"] == {
    "a": {"unit": "sentences", "now": 24, "above": 96, "up_to": 192},
    "b": None,
  }
  assert reasons(finding, "a")[-1] == (
    "more than 96 sentences, at most 192, would decide this, if what was found stays as"
    " it is"
  )
  finding["needed"]["a"].update(above=192, up_to=None)
  assert reasons(finding, "a")[-1].startswith("192 sentences wouldn't decide this")
  assert len(reasons(finding, "b")) == 1
