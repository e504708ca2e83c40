"""The package's own rules: imports go downward, the data package stays off JAX."""

import ast
import pathlib

import pytest

import jaxcodec

PACKAGE = pathlib.Path(jaxcodec.__file__).parent

# A module may import from its own layer and from those before it.
LAYERS = (
  ("distributed", "rendezvous"),
  ("types", "token_file", "cache", "config_args", "config_fields", "files", "presets"),
  ("nn", "recipes", "flops", "hlo", "profile", "health"),
  (
    *("quantizers", "semantic", "losses", "data"),
    *("stages", "progress", "interrupts", "damage"),
  ),
  ("codecs", "slm"),
  ("tasks", "sharding", "metrics_writer", "export", "text_config", "best_of"),
  ("packing", "prefetch", "step", "nonfinite", "inference", "slm_jobs"),
  ("checkpoint",),
  ("rates", "train_log", "evaluation", "aot"),
  ("train",),
  ("build", "build_slm"),
  ("porting",),
  ("semantic_features", "evals"),
  ("study", "pipeline", "api"),
  ("doctor", "cli_synthesize"),
  ("cli",),
  ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# Within a level, these stand beside each other and know nothing of one another.
APART = ({"quantizers", "semantic", "data"}, {"codecs", "slm", "evals"})
MODULES = sorted(PACKAGE.rglob("*.py"))


def _imports(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: relative import"
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _part(dotted):
  parts = dotted.split(".")
  return parts[1] if parts[0] == "jaxcodec" and len(parts) > 1 else None


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downward(path):
  own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
  if own == "__init__":
    return
  for part in filter(None, map(_part, _imports(path))):
    if part == own or part == "__version__":
      continue
    assert LEVEL[part] <= LEVEL[own], f"{own} imports {part}, which is above it"
    for group in APART:
      assert not {part, own} <= group, f"{own} and {part} should not know each other"


def test_the_study_computes_without_jax():
  for path in (PACKAGE / "study").rglob("*.py"):
    assert not {n.split(".")[0] for n in _imports(path)} & {"jax", "flax"}, path


@pytest.mark.parametrize("folder", ["data"])
def test_data_does_not_import_jax(folder):
  for path in (PACKAGE / folder).rglob("*.py"):
    roots = {name.split(".")[0] for name in _imports(path)}
    assert not roots & {"jax", "flax", "optax"}, path
    assert "types" not in set(map(_part, _imports(path))), path


def test_linen_stays_in_the_models():
  models = {"nn", "quantizers", "codecs", "semantic", "slm", "tasks"}
  for path in MODULES:
    own = path.relative_to(PACKAGE).parts[0]
    if own not in models:
      assert not any(name.startswith("flax.linen") for name in _imports(path)), path


def test_only_recipes_know_config_dicts():
  for path in MODULES:
    if path.relative_to(PACKAGE).parts[0] != "recipes":
      assert not any(name.startswith("ml_collections") for name in _imports(path)), path


def test_files_stay_small():
  for path in MODULES:
    assert len(path.read_text().splitlines()) <= 300, path
