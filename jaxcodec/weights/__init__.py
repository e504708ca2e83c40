"""Parameters as safetensors files, and as nested dicts of arrays."""

from jaxcodec.weights.file import (
  CHECKSUM,
  FILE,
  is_params,
  load_metadata,
  load_params,
  params_file,
  save_params,
)
from jaxcodec.weights.trees import (
  BUFFERS,
  fingerprint,
  only_parts,
  restore_weight_norm,
  token_fingerprint,
)

__all__ = [
  "BUFFERS",
  "CHECKSUM",
  "FILE",
  "fingerprint",
  "is_params",
  "load_metadata",
  "load_params",
  "only_parts",
  "params_file",
  "restore_weight_norm",
  "save_params",
  "token_fingerprint",
]
