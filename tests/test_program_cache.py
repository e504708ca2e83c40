"""Where compiled programs are kept: with one process, with several, by the user."""

import jax
import pytest

from jaxcodec.parallel import processes, program_cache

PATH = "jax_compilation_cache_dir"


@pytest.mark.parametrize("several, folder", [(False, "own"), (True, "shared")])
def test_several_processes_keep_programs_where_all_see_them(
  monkeypatch, tmp_path, several, folder
):
  before = jax.config.jax_compilation_cache_dir
  monkeypatch.setattr(processes, "is_distributed", lambda: several)
  own, shared = tmp_path / "own", tmp_path / "shared"
  try:
    jax.config.update(PATH, None)
    program_cache.keep(own, shared=shared)
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / folder / "xla")
    program_cache.keep(tmp_path / "other")  # what was chosen stays
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / folder / "xla")
  finally:
    jax.config.update(PATH, before)
