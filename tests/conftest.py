"""Eight CPU devices, strict numerics, a shared compilation cache."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
if os.environ.get("JAXCODEC_TEST_CACHE"):
  jax.config.update("jax_compilation_cache_dir", os.environ["JAXCODEC_TEST_CACHE"])

SHARED_DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"


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
