"""XLA flags with which tests compile fast, also in the processes that they start."""

import importlib.metadata

# Fusions made by MLIR take half of the time of compiling. Other versions may not know
# the flag, and XLA ends a process that names one it doesn't know.
FAST = ""
if importlib.metadata.version("jaxlib").startswith("0.10."):
  FAST = "--xla_cpu_use_fusion_emitters=false"
