"""Eight CPU devices, strict numerics, a shared compilation cache."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax  # noqa: E402
import pytest  # noqa: E402
from jax.experimental.compilation_cache import compilation_cache  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
if os.environ.get("JAXCODEC_TEST_CACHE"):
  jax.config.update("jax_compilation_cache_dir", os.environ["JAXCODEC_TEST_CACHE"])

SHARED_DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory):
  """For tests whose time would go to compiling one program again and again."""
  folder = tmp_path_factory.mktemp("programs")
  before = jax.config.jax_compilation_cache_dir
  least = jax.config.jax_persistent_cache_min_compile_time_secs
  compilation_cache.reset_cache()
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  yield
  jax.config.update("jax_compilation_cache_dir", before)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
  compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def ljspeech_mini():
  """Folder of real read speech kept beside the checkout; skips where absent."""
  return _real_speech("ljspeech-mini")


@pytest.fixture(scope="session")
def fsdd():
  """Folder of real spoken digits kept beside the checkout; skips where absent."""
  return _real_speech("fsdd")


def _real_speech(name):
  folder = SHARED_DATA / name
  if not folder.is_dir():
    pytest.skip(f"{folder} is absent")
  return folder
