"""Sets up eight CPU devices, strict numerics, and a cache of compiled programs."""

import gc
import os
import pathlib
import shutil
import tempfile

import compile_flags

os.environ.setdefault("JAX_PLATFORMS", "cpu")
_FLAGS = [os.environ.get("XLA_FLAGS", ""), compile_flags.FAST]
_FLAGS += ["--xla_force_host_platform_device_count=8"]
os.environ["XLA_FLAGS"] = " ".join(_FLAGS)
# For the processes that tests start, too. LLVM's optimisations, half of the compiling,
# are left out, as by `step.COMPILE_FAST`; 0 brings them back.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
_OWN_CACHE = None
if not os.environ.get("JAXCODEC_TEST_CACHE"):
  _OWN_CACHE = os.environ["JAXCODEC_TEST_CACHE"] = tempfile.mkdtemp(prefix="programs-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ["JAXCODEC_TEST_CACHE"]

import jax  # noqa: E402
import pytest  # noqa: E402
from skip_list import pytest_addoption, pytest_configure  # noqa: E402, F401

jax.config.update("jax_numpy_rank_promotion", "raise")
# Python would look through all that JAX keeps so often that tests take a sixth longer.
gc.set_threshold(50_000, 20, 20)

SHARED_DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items):
  """Puts the files with slow tests first: else one process waits for another's last."""
  slow = {item.path for item in items if item.get_closest_marker("slow")}
  items.sort(key=lambda item: item.path not in slow)


def pytest_unconfigure():
  """Removes the folder of compiled programs in the first process, which ends last."""
  if _OWN_CACHE:
    shutil.rmtree(_OWN_CACHE)


@pytest.fixture(scope="session")
def ljspeech_mini():
  """Folder of real read speech kept beside the checkout; skips where absent."""
  return _real_speech("ljspeech-mini")


@pytest.fixture(scope="session")
def fsdd():
  """Folder of real spoken digits kept beside the checkout; skips where absent."""
  return _real_speech("fsdd")


@pytest.fixture(scope="session")
def speech_runs(tmp_path_factory):
  """Work directories of a masked-parallel and an AR + NAR model, by their names."""
  import speech_helpers

  root = tmp_path_factory.mktemp("runs")
  kinds = ("maskgit", "valle")
  return {kind: speech_helpers.write_run(root / kind, kind) for kind in kinds}


@pytest.fixture(scope="session")
def converter(speech_runs):
  """The masked-parallel model of `speech_runs`."""
  from jaxcodec import api

  return api.load_slm(speech_runs["maskgit"])


@pytest.fixture(scope="session")
def speaker(speech_runs):
  """The AR + NAR model of `speech_runs`."""
  from jaxcodec import api

  return api.load_slm(speech_runs["valle"])


def _real_speech(name):
  folder = SHARED_DATA / name
  if not folder.is_dir():
    pytest.skip(f"{folder} is absent")
  return folder
