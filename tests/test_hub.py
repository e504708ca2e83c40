"""Models by name from a hub on loopback: cold, warm, offline, damaged, cut, refused."""

import time

import api_helpers
import pytest
from hub_server import Hub

import jaxcodec
from jaxcodec import files, hub
from jaxcodec.build.codec import make_preset
from jaxcodec.hub import download, names
from jaxcodec.porting import export_torch

CARD = "---\nlicense: mit\n---\n# A codec\n"


@pytest.fixture(scope="module")
def codec_folder(tmp_path_factory):
  """Returns a folder as transformers saves DAC, small, with a model card."""
  folder, codec = tmp_path_factory.mktemp("dac"), make_preset(api_helpers.CONFIG)
  variables = api_helpers.random_variables(codec)
  export_torch(variables, codec, folder, "huggingface")
  files.write_text(folder / "README.md", CARD)
  return folder


@pytest.fixture
def server(codec_folder, tmp_path, monkeypatch):
  """Returns a hub with a small DAC, in two revisions; the client's cache is empty."""
  content = Hub()
  content.add("me/dac", codec_folder)
  content.add("me/dac", codec_folder, "v1")
  monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
  monkeypatch.chdir(tmp_path)
  download._say.cache_clear()
  with content.serve():
    monkeypatch.setenv("HF_ENDPOINT", content.url)
    yield content


def _fetched(server):
  """Returns the files whose content was sent, in order; forgets the requests."""
  sent = [p for m, p, _ in server.requests if m == "GET" and "/api/" not in p]
  server.requests.clear()
  return [p.split("/cdn/")[-1].rsplit("/", 1)[0] if "/cdn/" in p else p for p in sent]


def _down(monkeypatch):
  """Puts the hub where nobody listens."""
  monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def _flipped(content):
  return content[:-1] + bytes([content[-1] ^ 1])


def _said(caplog):
  return [r.message for r in caplog.records if r.name.startswith("jaxcodec.hub")]


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("a/b", ("a/b", "main")),
    ("a-1/b.v2@v1.0", ("a-1/b.v2", "v1.0")),
    ("hf://a/b@refs/pr/1", ("a/b", "refs/pr/1")),
    ("hf://here/b", ("here/b", "main")),
    ("here/b", None),
    ("a", None),
    ("/a/b", None),
    ("./a", None),
    ("a/b/c", None),
    ("a/b.pth", None),
  ],
)
def test_names_of_repositories(name, expected, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "here").mkdir()
  assert names.parse(name) == expected


@pytest.mark.parametrize("name", ["hf://a", "hf://a/b/c", "hf://a/b@", "hf:///a/b"])
def test_what_follows_the_scheme_must_be_a_repository(name):
  with pytest.raises(ValueError, match=f"{name}: expected hf://user/repo or"):
    names.parse(name)


def test_cold_and_warm(server, codec_folder, caplog):
  folder = hub.find("me/dac")
  assert _fetched(server) == [
    "/me/dac/resolve/main/config.json",
    "model.safetensors",
    f"/me/dac/resolve/{folder.name}/README.md",
  ]
  for name in ("config.json", "model.safetensors"):
    assert (folder / name).read_bytes() == (codec_folder / name).read_bytes()
  line = f"me/dac: commit {folder.name[:7]} of {server.url}/me/dac, licence mit"
  assert _said(caplog) == [line]
  assert hub.find("hf://me/dac") == hub.find("me/dac@v1") == folder
  assert _fetched(server) == []
  assert _said(caplog).count(line) == 1


def test_a_revision_has_its_own_files(server):
  main = server.repos["me/dac"]["main"]
  server.repos["me/dac"]["v2"] = {**main, "config.json": b'{"model_type": "dac"}'}
  folders = [hub.find(name) for name in ("me/dac", "me/dac@v2")]
  assert [(f / "config.json").read_bytes() == main["config.json"] for f in folders] == [
    True,
    False,
  ]
  commit = server.commit_of("me/dac", "v2")
  assert hub.find(f"hf://me/dac@{commit}") == folders[1]
  assert _fetched(server).count("model.safetensors") == 1  # the content is the same


@pytest.mark.parametrize("how", ["out of reach", "HF_HUB_OFFLINE"])
def test_without_a_network_the_cache_serves(server, monkeypatch, caplog, how):
  folder = hub.find("me/dac@v1")
  server.requests.clear()
  if how == "HF_HUB_OFFLINE":
    monkeypatch.setenv(how, "1")
  else:
    _down(monkeypatch)
  assert hub.find("me/dac@v1") == folder
  assert jaxcodec.load("me/dac@v1").sample_rate == api_helpers.RATE
  assert not server.requests
  assert "licence mit; from the cache, as it is out of reach" in _said(caplog)[-1]


def test_without_a_network_and_cache_the_error_says_what_to_do(
  server, monkeypatch, tmp_path
):
  server.sends["model.safetensors"] = [b"short"]
  with pytest.raises(OSError, match="me/dac: the download of model.safetensors broke"):
    hub.find("me/dac")  # the config is in the cache now
  _down(monkeypatch)
  for name in ("me/dac", "me/other", "hf://me/dac@v1"):
    with pytest.raises(FileNotFoundError) as error:
      jaxcodec.load(name)
    text, repo = str(error.value), name.removeprefix("hf://").removesuffix("@v1")
    assert (
      "neither a path here nor in the hub's cache, and http://127.0.0.1:9 is" in text
    )
    assert f"hf download {repo}" in text and "weights=DIR" in text
    assert f"copy models--{repo.replace('/', '--')} from" in text
    assert text.endswith(f"into {tmp_path / 'cache'}")
    assert ("--revision v1" in text) == name.endswith("@v1")


def test_a_damaged_download_is_fetched_again_once(server, codec_folder, caplog):
  whole = (codec_folder / "model.safetensors").read_bytes()
  server.sends["model.safetensors"] = [_flipped(whole)]
  folder = hub.find("me/dac")
  assert (folder / "model.safetensors").read_bytes() == whole
  assert "damaged: expected the sha256" in _said(caplog)[0]
  assert _fetched(server).count("model.safetensors") == 2


def test_a_hub_that_sends_damaged_files_is_refused(server, codec_folder):
  whole = (codec_folder / "model.safetensors").read_bytes()
  server.sends["model.safetensors"] = [_flipped(whole)] * 2
  with pytest.raises(
    ValueError, match="me/dac: the hub sent another file than it prom"
  ):
    jaxcodec.load("me/dac")
  assert jaxcodec.load("me/dac").sample_rate == api_helpers.RATE  # sent whole this time


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_damage_in_the_cache_is_mended_or_said(server, codec_folder, monkeypatch, name):
  path = hub.find("me/dac") / name
  whole = path.read_bytes()
  path.resolve().write_bytes(_flipped(whole))
  with monkeypatch.context() as patch:
    _down(patch)
    with pytest.raises(ValueError, match=f"{name} is damaged: .* it is fetched again"):
      hub.find("me/dac")
  assert hub.find("me/dac") == path.parent and path.read_bytes() == whole


@pytest.fixture
def hasty(monkeypatch):
  """The client does not wait between attempts, and reads small pieces."""
  from huggingface_hub import constants

  monkeypatch.setattr(time, "sleep", lambda seconds: None)
  monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)


def test_an_interrupted_download_goes_on(server, codec_folder, hasty):
  whole = (codec_folder / "model.safetensors").read_bytes()
  server.cuts["model.safetensors"] = [3_500, 2_000]
  folder = hub.find("me/dac")
  assert (folder / "model.safetensors").read_bytes() == whole
  ranges = [r for m, p, r in server.requests if m == "GET" and "/cdn/" in p]
  assert ranges == [None, "bytes=3000-", "bytes=5000-"]


def test_a_download_that_always_breaks_off_is_an_error(server, hasty, tmp_path):
  server.cuts["model.safetensors"] = [0] * 9
  with pytest.raises(OSError, match="me/dac: the download of model.safetensors broke"):
    hub.find("me/dac")
  assert not list((tmp_path / "cache").rglob("model.safetensors"))
  server.cuts.clear()
  assert (hub.find("me/dac") / "model.safetensors").is_file()


@pytest.mark.parametrize(
  ("name", "error", "message"),
  [
    (
      "me/gone",
      FileNotFoundError,
      "nothing lies at me/gone here, and .* no such repos",
    ),
    ("me/dac@v9", FileNotFoundError, "/me/dac has no revision 'v9'"),
    (
      "me/gated",
      PermissionError,
      "me/gated is gated: accept its conditions at .*gated",
    ),
    ("me/else", FileNotFoundError, "me/else has no codec that can be loaded: expected"),
    ("me--a/b", ValueError, "me--a/b is no repository's name"),
  ],
)
def test_refusals_are_one_clear_error(server, codec_folder, name, error, message):
  server.add("me/gated", codec_folder)
  server.gated.add("me/gated")
  server.repos["me/else"] = {"main": {"model.onnx": b"x"}}
  with pytest.raises(error, match=message):
    jaxcodec.load(name)


def test_a_repository_with_a_codec_alone_has_no_language_model(server):
  with pytest.raises(FileNotFoundError, match="me/dac has no speech language model"):
    jaxcodec.load_slm("me/dac")
