"""Where compiled programs are kept for the next start."""

import pathlib

import jax

from jaxcodec.files import PathLike
from jaxcodec.parallel import processes

_FOLDER, _PATH = "xla", "jax_compilation_cache_dir"


def keep(own: PathLike, *, shared: PathLike | None = None) -> None:
  """Chooses the folder of compiled programs, unless JAX_COMPILATION_CACHE_DIR has.

  Only the first process writes there. If the others could not read it, they would
  compile what the first one finds, and on GPUs wait forever for its share of trying out
  kernels, which XLA divides among the processes of a program.

  Args:
    own: the folder for a single process.
    shared: a folder that all processes see, for several.
  """
  # A program of cuDNN's attention for several GPUs has another number at each start,
  # which says nothing of it.
  jax.config.update("jax_remove_custom_partitioning_ptr_from_cache_key", True)
  if jax.config.jax_compilation_cache_dir:
    return
  several = shared is not None and processes.is_distributed()
  jax.config.update(_PATH, str(pathlib.Path(shared if several else own) / _FOLDER))
