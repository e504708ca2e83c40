"""`jaxcodec push` to a hub on loopback: what is uploaded loads by its name."""

import pytest
import speech_helpers
from hub_server import Hub
from huggingface_hub import constants

import jaxcodec
from jaxcodec import files, shipped, weights
from jaxcodec.cli.main import main
from jaxcodec.hub import download

# How the client calls its HTTP library is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
RESULTS = {
  "metrics": {"stoi": {"unit": "", "better": "higher", "title": "STOI"}},
  "reconstruction": {"stoi": {"mean": 0.91, "ci95": [0.9, 0.92], "n": 16}},
  "generation": {"stoi": {"mean": 0.81, "ci95": [0.8, 0.82], "n": 16}},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  fields = dict(
    data=dict(sample_rate=speech_helpers.RATE, source="folder", path="/somewhere"),
    codec_train=dict(steps=3, init_from=None),
    slm_train=dict(steps=2, init_from=None, max_seconds=2.0),
    seed=0,
  )
  folder = speech_helpers.write_run(tmp_path_factory.mktemp("run"), "valle", **fields)
  files.write_json(folder / "codec" / "split.json", {"train": ["a", "b"]})
  files.write_json(folder / "results.json", RESULTS)
  return folder


@pytest.fixture
def server(tmp_path, monkeypatch):
  """Returns an empty hub, to which large files go by LFS."""
  content = Hub()
  monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
  monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("HF_TOKEN", "hf_write")
  download._say.cache_clear()
  with content.serve():
    monkeypatch.setenv("HF_ENDPOINT", content.url)
    yield content


def test_a_dry_run_shows_all_and_uploads_nothing(run, server, capsys):
  command = ["push", str(run), "me/codec", "--license", "cc-by-4.0", "--dry_run"]
  assert not main(command)
  said = capsys.readouterr().out
  for part in (
    "would be uploaded to me/codec:",
    "  params.safetensors: ",
    "  config.json: ",
    "  README.md: ",
    "license: cc-by-4.0\nlibrary_name: jaxcodec\npipeline_tag: audio-to-audio\n",
    '# codec\n\nA codec: `jaxcodec.load("me/codec")`.',
    "| codec | seanet encoder, factorized_rvq quantizer, vocos decoder |",
    "| rates | 8 kHz, 100 frames a second, 2 codebooks of 16 codes: 0.8 kbit/s |",
    "| license | cc-by-4.0 |",
    "`data.source=folder`, 2 utterances.\n3 steps of the codec; `seed=0`.",
    "Of 16 held-out utterances",
    '"name": "factorized_rvq"',
  ):
    assert part in said, said
  assert "/somewhere" not in said and "Say here" not in said
  assert not server.requests and not server.repos


def test_a_pushed_codec_loads_by_its_name(run, server, capsys, caplog):
  assert not main(["push", str(run), "me/codec", "--license", "cc-by-4.0"])
  assert f"{run} -> {server.url}/me/codec" in capsys.readouterr().out
  uploaded = server.repos["me/codec"]["main"]
  assert set(uploaded) == {"README.md", "config.json", weights.FILE}
  assert set(server.cards) == {uploaded["README.md"].decode()}
  model = jaxcodec.load("me/codec")
  assert model.spec == jaxcodec.load(weights=run).spec
  assert "licence cc-by-4.0" in caplog.text


def test_a_pushed_language_model_loads_by_its_name(run, server, capsys):
  assert not main(["push", str(run), "me/slm", "--part", "slm"])
  assert "its card names no licence" in capsys.readouterr().out
  uploaded = server.repos["me/slm"]["main"]
  assert {"config.json", "slm/vocabulary.json", "slm/spec.json"} < set(uploaded)
  assert "/somewhere" not in uploaded["config.json"].decode()
  card = uploaded["README.md"].decode()
  assert "pipeline_tag: text-to-speech" in card and "0.81" in card
  model = jaxcodec.load_slm("me/slm")
  assert model.codec.fingerprint == jaxcodec.load("me/slm").fingerprint


def test_what_export_wrote_goes_with_its_own_card(run, server, tmp_path, capsys):
  out = tmp_path / "mine"
  assert not main(["export", str(run), "--out", str(out)])
  push = ["push", str(out), "me/mine", "--license", "mit"]
  assert main(push) == 2
  assert (
    "README.md: complete the lines with 'Say here' first" in capsys.readouterr().err
  )
  files.write_text(out / shipped.CARD, "# Mine\n\nFor owls.\n")
  assert not main(push)
  card = server.repos["me/mine"]["main"]["README.md"].decode()
  assert card.startswith("---\nlicense: mit\n") and card.endswith(
    "# Mine\n\nFor owls.\n"
  )


@pytest.mark.parametrize(
  ("name", "token", "message"),
  [
    ("mine", "hf_write", "mine: expected a name like user/repo"),
    ("me/mine@v1", "hf_write", "me/mine@v1: expected a name like user/repo"),
    ("me/mine", "hf_read", "does not let you write there: log in"),
  ],
)
def test_refusals_are_one_clear_error(
  run, server, capsys, monkeypatch, name, token, message
):
  monkeypatch.setenv("HF_TOKEN", token)
  assert main(["push", str(run), name]) == 2
  assert message in capsys.readouterr().err
  assert not server.repos


def test_a_hub_out_of_reach_is_one_clear_error(run, server, capsys, monkeypatch):
  monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
  assert main(["push", str(run), "me/mine"]) == 2
  assert "error: me/mine could not be uploaded: " in capsys.readouterr().err


def test_what_is_no_run_is_refused(server, tmp_path, capsys):
  assert main(["push", str(tmp_path), "me/mine"]) == 2
  assert "expected a work directory with a trained codec" in capsys.readouterr().err
