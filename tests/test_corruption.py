"""Damaged files give errors that name them, or are harmless: a sample of the variants.

`python tests/faults/corrupt.py` runs 600 variants in another process.
"""

import dataclasses

import corrupt_variants
import pytest

FIND_ALL = ("flac", "ogg", "token file", "params")
# Damage that is always found.
MUST_FAIL = [
  *(
    corrupt_variants.Variant(kind, damage, 0)
    for kind in FIND_ALL
    for damage in ("truncated", "empty", "other format")
  ),
  *(corrupt_variants.Variant("wav", damage, 0) for damage in ("nan", "inf")),
]
SAMPLE = [*dict.fromkeys([*corrupt_variants.variants(700)[::10], *MUST_FAIL])]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
  return corrupt_variants.Lab(tmp_path_factory.mktemp("lab"))


@pytest.mark.parametrize("variant", SAMPLE, ids=str)
def test_damage(lab, variant, capfd):
  outcome, detail = lab.outcome(variant)
  assert outcome not in corrupt_variants.FAULTS, detail
  if variant in MUST_FAIL:
    assert outcome == corrupt_variants.ERROR
  capfd.readouterr()  # libmpg123 prints warnings of its own


def test_the_sample_has_every_kind_and_most_damages():
  assert {variant.kind for variant in SAMPLE} == set(corrupt_variants.KINDS)
  assert len({variant.damage for variant in SAMPLE}) >= 10


@pytest.mark.parametrize(
  ("read", "outcome"),
  [
    (lambda folder: len((folder / "a.jxc").read_bytes()), corrupt_variants.WRONG),
    (lambda folder: 1 // len((folder / "a.jxc").read_bytes()), "unclear error"),
    (lambda folder: 0, corrupt_variants.SAME),
  ],
)
def test_a_reader_with_a_fault_is_found_out(tmp_path, monkeypatch, read, outcome):
  kind = dataclasses.replace(corrupt_variants.KINDS["token file"], read=read)
  monkeypatch.setitem(corrupt_variants.KINDS, "token file", kind)
  variant = corrupt_variants.Variant("token file", "empty", 0)
  assert corrupt_variants.Lab(tmp_path / "lab").outcome(variant)[0] == outcome
