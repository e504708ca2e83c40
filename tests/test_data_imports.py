"""The data package works where JAX and TensorFlow cannot be imported."""

import subprocess
import sys

# Grain imports JAX's profiler where there is one, so looking for JAX would find that.
CODE = """
import importlib, pkgutil, sys
for name in ("jax", "flax", "tensorflow", "torch"):
  sys.modules[name] = None
import jaxcodec.data as data
names = [module.name for module in pkgutil.iter_modules(data.__path__)]
for name in names:
  importlib.import_module("jaxcodec.data." + name)
from jaxcodec.data.synthetic import synthetic_crops
batch = next(iter(synthetic_crops(crop_samples=9, batch_size=2, seed=0)))
print(len(names) > 10, batch["audio_BxN"].shape)
"""


def test_works_without_jax_and_tensorflow():
  result = subprocess.run(
    [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120
  )
  assert result.stdout.strip() == "True (2, 9)", result.stderr
