"""Says in words why a finding is judged as it is, from the numbers in study.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxcodec.report.format import interval, number
from jaxcodec.study.evidence import CONTRADICTED, GENERATED, SUPPORTED

_FIRST = "reconstruction"


def reasons(finding: Mapping[str, Any], slm: str) -> list[str]:
  """Returns sentences about what decided a finding, or why nothing did.

  Args:
    finding: one of study.json's `findings`.
    slm: the language model.
  """
  numbers = finding["numbers"][slm]
  if isinstance(numbers, str):  # what was missing
    return [numbers]
  said = _REASONS[finding["number"] - 1](numbers)
  need = finding.get("needed", {}).get(slm)  # studies of earlier versions have none
  return [*said, _needed(need)] if need else said


def _needed(need: Mapping[str, Any]) -> str:
  unit, as_it_is = need["unit"], "if what was found stays as it is"
  if need["up_to"] is None:
    return f"{need['above']} {unit} wouldn't decide this either, {as_it_is}"
  return (
    f"more than {need['above']} {unit}, at most {need['up_to']}, would decide this,"
    f" {as_it_is}"
  )


def _reversals(tests: Sequence[Mapping[str, Any]]) -> list[str]:
  better = {tuple(t["pair"]): t["sign"] for t in tests if t["measure"] == _FIRST}
  generated = [t for t in tests if t["measure"] != _FIRST and better[tuple(t["pair"])]]
  agreeing = [t["sign"] * better[tuple(t["pair"])] for t in generated]
  differing = sum(map(abs, better.values()))
  said = [
    f"{differing} of {len(better)} pairs of codecs differ in reconstruction; their"
    f" generation measures differ the same way {agreeing.count(1)} times, the other way"
    f" {agreeing.count(-1)} times, and {agreeing.count(0)} times not clearly"
  ]
  for test, agrees in zip(generated, agreeing, strict=True):
    if agrees == -1:
      first, second = test["pair"][:: -test["sign"]]
      said.append(f"{first} reconstructs better than {second}: less {test['measure']}")
  return said


def _attributed(numbers: Mapping[str, Any]) -> list[str]:
  contrast = numbers["quantizer_less_decoder"]
  values = (contrast["value"], *contrast["ci95"])
  value, low, high = ("–" if v is None else f"{v:.3g}" for v in values)
  return [
    f"variance between quantisers less that between decoders: {value} ({low} to {high})"
  ]


def _best(numbers: Mapping[str, Any]) -> list[str]:
  return [
    *_leads(numbers["dac_leads"]),
    *_equal(numbers["vocos_equals_dac_decoder"]["tests"]),
  ]


def _leads(lead: Mapping[str, Any]) -> list[str]:
  if "why" in lead:
    return [lead["why"]]
  said = [f"DAC's lead over the others' mean: {_value(lead['over_the_mean'], 'ci95')}"]
  said += [
    f"DAC's lead over {codec}: {_value(one, 'ci')}"
    for codec, one in lead["over_each"].items()
  ]
  return said


def _equal(tests: Sequence[Mapping[str, Any]]) -> list[str]:
  verdicts = [test["verdict"] for test in tests]
  if not verdicts:
    return ["no quantiser has both decoders"]
  inside, outside = verdicts.count(SUPPORTED), verdicts.count(CONTRADICTED)
  return [
    f"Vocos' decoder less DAC's, {len(tests)} differences: {inside} inside of the"
    f" margin, {outside} outside, {len(tests) - inside - outside} can't be told"
  ]


def _correlates(numbers: Mapping[str, Any]) -> list[str]:
  return [
    f"correlation with {name}: {_value(numbers[name], 'ci95')},"
    f" by Fisher {interval(numbers[name]['fisher95'])}"
    for name in GENERATED
  ]


def _value(found: Mapping[str, Any], bounds: str) -> str:
  return f"{number(found['value'])} ({interval(found[bounds])})"


# In the order of `findings.FINDINGS`.
_REASONS = (_reversals, _attributed, _attributed, _best, _correlates)
