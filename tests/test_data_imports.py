"""The data package is usable without JAX and without TensorFlow."""

import subprocess
import sys


def test_data_imports_neither_jax_nor_tensorflow():
  code = (
    "import importlib, pkgutil, sys, jaxcodec.data as data\n"
    "names = [m.name for m in pkgutil.iter_modules(data.__path__)]\n"
    "assert len(names) > 10, names\n"
    "for name in names: importlib.import_module('jaxcodec.data.' + name)\n"
    "print(sorted({'jax', 'flax', 'tensorflow', 'torch'} & set(sys.modules)))"
  )
  result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
  assert result.stdout.strip() == "[]", result.stderr
