"""What rows of a study may differ in, and that every other difference is told."""

import json
import pathlib
import runpy

import pytest
from study_helpers import CODEC_TRAIN, fake_config

from jaxcodec.build.check import check
from jaxcodec.build.codec import make_codec, with_defaults
from jaxcodec.recipes.args import literal
from jaxcodec.study import conditions, grid

ROOT = pathlib.Path(grid.__file__).parents[2]


def specs(configs):
  """Returns the token spec of every config's codec, as in results.json."""
  found = {n: make_codec({"codec": c["codec"]}).spec for n, c in configs.items()}
  return {
    name: {
      "num_codebooks": spec.num_codebooks,
      "frame_rate": spec.frame_rate,
      "bitrate": spec.bitrate,
    }
    for name, spec in found.items()
  }


def _configs(*names):
  return {name: fake_config(name) for name in names}


def _check(configs):
  written_out = {name: with_defaults(config) for name, config in configs.items()}
  return conditions.check_matched(written_out, specs(configs))


def test_rows_may_differ_in_their_parts_alone():
  configs = _configs("baseline", "encodecq_vocos", "dacq_vocos", "simvq_vocos")
  assert _check(configs) == ([], [], [])
  configs |= _configs("dac", "encodec")
  *others, encoder = _check(configs)
  assert others == [[], []]
  lstm = "codec.encoder of seanet.lstm_layers: 0 in baseline, encodecq_vocos"
  assert any(line.startswith(lstm) and "2 in encodec" in line for line in encoder)


def test_what_no_result_depends_on_may_differ():
  configs = _configs("baseline", "encodecq_vocos")
  one = configs["baseline"]
  one["data"]["path"] = "/moved/here"
  one["codec_train"] = {**one["codec_train"], "remat": "full", "keep": 7}
  assert _check(configs) == ([], [], [])
  one["data"]["valid"] = 0.5
  with pytest.raises(grid.StudyError, match="data.valid"):
    _check(configs)


@pytest.mark.parametrize(
  ("part", "field", "value", "message"),
  [
    ("quantizer", "num_codebooks", 4, "tokens.kbps: 4.0 in dac, baseline; 2.0 in enco"),
    ("quantizer", "dropout_per", "batch", 'dropout_per: "item" in dac, baseline; "ba'),
    ("quantizer", "loss_reduction", "mean", 'loss_reduction: "sum" in dac, .*; "mean"'),
    ("quantizer", "dropout", 1.0, "quantizer.dropout: 0.5 in dac, baseline; 1.0 in e"),
    ("quantizer", "decay", 0.9, "quantizer.decay: 0.99 in baseline; 0.9 in encodecq"),
    ("decoder", "mlp_width", 8, "decoder of vocos.mlp_width: 8 in encodecq_vocos; 15"),
  ],
)
def test_what_else_rows_differ_in_is_told(part, field, value, message):
  configs = _configs("dac", "baseline", "encodecq_vocos", "dacq_vocos")
  configs["encodecq_vocos"]["codec"][part][field] = value
  if part == "quantizer":
    del configs["dacq_vocos"]
  with pytest.raises(grid.StudyError, match=message):
    _check(configs)


def test_rows_may_have_other_frame_rates_at_the_same_bitrate():
  names = ("baseline", "baseline_25hz", "baseline_12.5hz", "simvq_vocos")
  configs = _configs(*names, "single_vocos", "semantic_vocos")
  configs["semantic_vocos"]["codec_train"] = CODEC_TRAIN | {"weights": {"distill": 1}}
  *others, encoder = _check(configs)
  assert others == [[], []]
  assert any(line.startswith("tokens.frame_rate: 50.0 in baseline") for line in encoder)
  configs["baseline_25hz"]["codec"]["quantizer"]["num_codebooks"] = 8
  with pytest.raises(
    grid.StudyError, match=r"tokens.kbps: 4.0 in .*; 2.0 in baseline_2"
  ):
    _check(configs)
  configs["baseline_25hz"]["codec"]["quantizer"]["num_codebooks"] = 16
  configs["again"] = fake_config("baseline_25hz")
  configs["again"]["codec"]["decoder"]["strides"] = (8, 8, 2, 5)
  with pytest.raises(grid.StudyError, match="seanet at 25 Hz.strides"):
    _check(configs)


def test_a_field_without_a_value_is_as_one_that_is_absent():
  configs = _configs("dac", "encodec")
  configs["encodec"]["evaluate"] = {"num_utterances": 10, "language": None}
  assert not _check(configs).training


def test_every_difference_in_training_is_told():
  configs = _configs("dac", "encodec")
  configs["encodec"]["codec_train"] = CODEC_TRAIN | {"steps": 9, "batch_size": 2}
  configs["encodec"]["evaluate"] = {"num_utterances": 10, "opus": True}
  with pytest.raises(grid.StudyError) as error:
    _check(configs)
  assert str(error.value).splitlines()[1:] == [
    "  codec_train.batch_size: 4 in dac; 2 in encodec",
    "  codec_train.steps: 3 in dac; 9 in encodec",
    "  evaluate.opus: (absent) in dac; true in encodec",
  ]


def test_a_language_model_is_compared_with_itself():
  configs = _configs("dac", "dacq_vocos", "baseline")
  for (name, config), slm in zip(configs.items(), "aab", strict=True):
    config["slm"] = {"name": slm, "width": len(slm) if name != "baseline" else 9}
  assert not conditions.compare(configs, specs(configs)).training
  configs["dac"]["slm"]["width"] = 2
  found = conditions.compare(configs, specs(configs)).training
  assert found == ["slm of a.width: 2 in dac; 1 in dacq_vocos"]


def test_a_codec_alone_has_nothing_of_a_language_model():
  """As `--set valle:slm_train.max_seconds=9` gives it to the other rows alone."""
  configs = _configs("dac", "baseline")
  for section in ("slm_train", "generate"):
    configs["dac"][section] = {**configs["dac"][section], "max_seconds": 9}
  with pytest.raises(grid.StudyError, match="max_seconds"):
    _check(configs)
  configs["dac"] = conditions.of_codec(configs["dac"])
  _check(configs)
  configs["dac"]["data"] = {**configs["dac"]["data"], "valid": 0.5}
  with pytest.raises(grid.StudyError, match="data.valid: 0.5 in dac"):
    _check(configs)


def test_decoders_for_given_tokens_are_trained_alike():
  """They may be trained otherwise than the codecs whose tokens they are for."""
  configs = _configs("dac", "dacq_vocos", "baseline")
  frozen = {"freeze": ["encoder", "quantizer"], "steps": 9}
  for name in ("dac", "dacq_vocos"):
    configs[name]["codec_train"] = {**configs[name]["codec_train"], **frozen}
  _check(configs)
  configs["dac"]["codec_train"]["steps"] = 3
  with pytest.raises(grid.StudyError, match="steps: 3 in dac; 9 in dacq_vocos"):
    _check(configs)


def test_a_codec_without_codebooks_matches_by_its_bitrate():
  """FSQ's config has levels instead of a codebook size."""
  configs = _configs("dac", "dacq_vocos")
  quantizer = {"name": "fsq", "num_codebooks": 8, "levels": (8, 8, 4, 4)}
  configs["dacq_vocos"]["codec"]["quantizer"] = quantizer
  with pytest.raises(grid.StudyError, match="quantizer.dropout: 0.5 in dac; 0.0 in"):
    _check(configs)
  quantizer["dropout"] = 0.5
  _check(configs)
  quantizer["levels"] = (8, 8, 4, 3)
  with pytest.raises(grid.StudyError, match="tokens.kbps: 4.0 in dac; 3.83"):
    _check(configs)


def _load(file, argument):
  return runpy.run_path(str(ROOT / file))["get_config"](argument)


@pytest.mark.parametrize(
  ("argument", "count"),
  [
    ("", 3 * 8 * (1 + 2)),
    ("runlocal", 4 * (1 + 2)),
    ("rows=quantizers", 3 * 6 * (1 + 2)),
    ("runlocal,rows=rates", 3 * (1 + 2)),
    ("runlocal,rows=quantizers", 6 * (1 + 2)),
    ("runlocal,rows=magnitudes", 4 * (1 + 2)),
    ("runlocal,rows=magnitudes,design=both", 4 * (1 + 2 + 2 * (1 + 2))),
    ("rows=magnitudes,design=frozen", 3 * 4 * (1 + 2 + 2 * (1 + 2))),
    ("runlocal,design=frozen", 2 * (1 + 2 + 2 * (1 + 2))),
  ],
)
def test_the_committed_grid_is_matched(tmp_path, argument, count):
  chosen = json.loads(_load("configs/study.py", argument).to_json())
  cells = grid.plan(chosen, tmp_path, "launch/main.py")
  assert len(cells) == count
  cells = [cell for cell in cells if cell.seed == 0]
  configs = {}
  for cell in cells:
    config = _load(*cell.config.split(":"))
    values = dict(override.split("=") for override in cell.overrides)
    config.update_from_flattened_dict({k: literal(v) for k, v in values.items()})
    configs[cell.name] = json.loads(config.to_json())
    check(configs[cell.name])
  _check(configs)


def test_a_codec_of_a_corpus_has_an_override_of_its_own(tmp_path):
  chosen = _load("configs/study.py", "librispeech,rows=quantizers")
  for cell in grid.plan(chosen.to_dict(), tmp_path, "launch/main.py"):
    taught = "codec.quantizer.semantic_dim=768" in cell.overrides
    assert taught == (cell.codec == "semantic_vocos")
