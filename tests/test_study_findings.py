"""Each finding is supported, contradicted or undecided on results made for that."""

import json

import numpy as np
import pytest

from jaxcodec.report.study.reasons import reasons
from jaxcodec.stats import significance
from jaxcodec.stats.bootstrap import Aligned
from jaxcodec.study import findings
from jaxcodec.study.evidence import CodecParts, Evidence, clear_sign, unanimous, within
from jaxcodec.study.findings import FINDINGS, judge_all

CODECS = (
  CodecParts("baseline", "ema", "seanet"),
  CodecParts("encodecq_vocos", "ema", "vocos"),
  CodecParts("encodecq_dac", "ema", "dac"),
  CodecParts("dacq_seanet", "factorized", "seanet"),
  CodecParts("dacq_vocos", "factorized", "vocos"),
  CodecParts("dac", "factorized", "dac"),
)
FLAT = (0.0,) * 6
BY_DECODER = (0.0, 1.0, 1.0, 0.0, 1.0, 1.0)
BY_QUANTIZER = (0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
RISING = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
MANY = tuple(range(24))  # more systems than the grid has


@pytest.fixture(autouse=True)
def _fewer_exchanges(monkeypatch):
  monkeypatch.setattr(significance, "_EXCHANGES", 2999)


def _measure(means, seed, noise=0.1, utterances=24):
  rng = np.random.default_rng(seed)
  values = np.array(means) + rng.normal(0, noise, (utterances, len(means)))
  ids = tuple(f"u{i}" for i in range(utterances))
  return Aligned(ids, values, np.ones_like(values))


def _evidence(reconstruction, naturalness, intelligibility, speaker, noise=0.1):
  generation = {
    "naturalness": _measure(naturalness, 1, noise),
    "intelligibility": _measure(intelligibility, 2, noise),
    "speaker": _measure(speaker, 3, noise),
  }
  margins = dict.fromkeys(generation, 0.2)
  codecs = [
    CODECS[i % 6]._replace(
      name=f"{i}-{CODECS[i % 6].name}" if i > 5 else CODECS[i].name
    )
    for i in range(len(reconstruction))
  ]
  return Evidence(codecs, _measure(reconstruction, 0, noise), generation, margins)


# By finding: what supports it, what contradicts it, what leaves it open.
CASES = [
  (
    1,
    (RISING, RISING[::-1], FLAT, FLAT),
    (RISING, RISING, RISING, RISING),
    (FLAT, RISING, FLAT, FLAT),
  ),
  (
    2,
    (FLAT, BY_DECODER, FLAT, FLAT),
    (FLAT, BY_QUANTIZER, FLAT, FLAT),
    (FLAT, FLAT, RISING, FLAT),
  ),
  (
    3,
    (FLAT, FLAT, BY_QUANTIZER, FLAT),
    (FLAT, FLAT, BY_DECODER, FLAT),
    (FLAT, RISING, FLAT, FLAT),
  ),
  (
    4,
    (FLAT, (0, 1, 1, 0, 3, 3.1), (0, 0, 0, 1, 1, 1.1), (0, 0, 0, 1, 1, 1.1)),
    (FLAT, RISING[::-1], FLAT, RISING[::-1]),
    (FLAT, (0, 1, 1, 0, 2.8, 3), BY_QUANTIZER, BY_QUANTIZER),
  ),
  (
    5,
    (MANY, MANY, tuple(np.cos(MANY)), tuple(np.sin(MANY))),
    (RISING, FLAT, RISING, FLAT),
    (FLAT, RISING, FLAT, FLAT),
  ),
]


@pytest.mark.parametrize(
  ("number", "measures", "verdict"),
  [
    (number, measures, verdict)
    for number, *kinds in CASES
    for measures, verdict in zip(
      kinds, ("supported", "contradicted", "undecided"), strict=True
    )
  ],
)
def test_verdicts(number, measures, verdict):
  found, numbers = FINDINGS[number - 1].judge(_evidence(*measures))
  assert found == verdict, numbers


def test_reasons_say_what_decided():
  evidence = _evidence(RISING, RISING[::-1], BY_DECODER, BY_QUANTIZER)
  judged = json.loads(json.dumps(judge_all({"a": evidence, "b": None})))
  said = [reasons(finding, "a") for finding in judged]
  assert [reasons(finding, "b")[0].split(", ") for finding in judged] == [
    ["not measured: reconstruction"],
    ["not measured: naturalness"],
    ["not measured: intelligibility"],
    ["not measured: naturalness", "intelligibility", "speaker"],
    ["not measured: reconstruction", "naturalness", "intelligibility", "speaker"],
  ]
  assert said[0][0].startswith("15 of 15 pairs of codecs differ in reconstruction;")
  pair = "dac reconstructs better than baseline: less "
  assert [r for r in said[0] if r.startswith(pair)] == [pair + "naturalness"]
  difference = "variance between quantisers less that between decoders"
  contrast = judged[2]["numbers"]["a"]["quantizer_less_decoder"]
  low, high = contrast["ci95"]
  expected = f"{contrast['value']:.3g} ({low:.3g} to {high:.3g})"
  assert said[2] == [f"{difference}: {expected}"]
  assert len(said[3]) == 1 + 5 + 1 and "6 differences:" in said[3][-1]
  value = judged[4]["numbers"]["a"]["naturalness"]["value"]
  assert -1 <= value < -0.99
  assert said[4][0].startswith(f"correlation with naturalness: {value:.3f} (")


def test_a_measure_that_is_missing_stops_only_what_is_about_it():
  evidence = _evidence(RISING, RISING[::-1], FLAT, FLAT)
  evidence.generation.pop("intelligibility")
  judged = judge_all({"a": evidence})
  assert judged[0]["verdict"] == "supported" and judged[2]["verdict"] == "undecided"
  assert judged[2]["numbers"]["a"] == "not measured: intelligibility"
  assert judged[1]["numbers"]["a"]["decoder"]["df"] == 2


def _frozen(*measures):
  """Returns evidence of two codecs' tokens, each spoken by three decoders."""
  evidence = _evidence(*measures)
  tokens = ("encodecq_vocos", "dacq_seanet")
  codecs = [
    codec._replace(name=f"{tokens[index // 3]}+{codec.decoder}")
    for index, codec in enumerate(CODECS)
  ]
  return evidence._replace(codecs=codecs)


def test_decoders_of_the_same_tokens_are_no_independent_codecs():
  """Two sets of tokens have no correlation; no decoder makes them DAC's."""
  evidence = _frozen(RISING, RISING, RISING[::-1], RISING[::-1])
  verdict, numbers = FINDINGS[4].judge(evidence)
  assert verdict == "undecided" and numbers["naturalness"]["n"] == 2
  assert numbers["naturalness"]["fisher95"] == [None, None]
  numbers = FINDINGS[3].judge(evidence)[1]
  assert "no DAC" in numbers["dac_leads"]["why"]
  assert len(numbers["vocos_equals_dac_decoder"]["tests"]) == 2 * 3


def test_tokens_of_two_codecs_are_two_levels_whatever_their_quantisers():
  evidence = _frozen(FLAT, FLAT, BY_QUANTIZER, FLAT)
  codecs = [codec._replace(quantizer="ema") for codec in evidence.codecs]
  verdict, numbers = FINDINGS[2].judge(evidence._replace(codecs=codecs))
  assert verdict == "supported" and numbers["quantizer"]["df"] == 1


def test_noise_decides_nothing():
  noise = _evidence(RISING, RISING, RISING, RISING, noise=200.0)
  assert {FINDINGS[n].judge(noise)[0] for n in range(5)} == {"undecided"}


def test_both_language_models_must_agree(monkeypatch):
  monkeypatch.setattr(findings, "FINDINGS", FINDINGS[1:2])
  yes, no = (_evidence(FLAT, m, FLAT, FLAT) for m in (BY_DECODER, BY_QUANTIZER))
  (first,), (second,) = judge_all({"a": yes, "b": yes}), judge_all({"a": yes, "b": no})
  assert first["verdict"] == "supported" and second["verdict"] == "undecided"
  assert second["by_slm"] == {"a": "supported", "b": "contradicted"}
  assert first["rule"] and first["numbers"]["a"]["decoder"]["df"] == 2


def test_nothing_decides_nothing():
  for evidence in ({}, {"a": None}):
    assert {row["verdict"] for row in judge_all(evidence)} == {"undecided"}


def test_verdicts_of_intervals():
  signs = [clear_sign(ci) for ci in ([0.1, 1], [-1, 0], [-2, -1], [None, None])]
  assert signs == [1, 0, -1, 0]
  assert within([-0.1, 0.1], 0.2) == "supported"
  assert within([0.3, 0.5], 0.2) == within([-0.5, -0.3], 0.2) == "contradicted"
  assert within([0.1, 0.3], 0.2) == within([None, None], 0.2) == "undecided"
  assert unanimous([]) == "undecided"
