"""The package's own rules: imports go downward, the data package stays off JAX."""

import ast
import collections
import graphlib
import pathlib
import subprocess
import sys

import pytest

import jaxcodec

PACKAGE = pathlib.Path(jaxcodec.__file__).parent
ROOT = pathlib.Path(__file__).parents[1]

# A module may import from its own layer and from those before it, never in a circle.
LAYERS = {
  "ground": "files registry presets progress coding token_file types"
  " weights shipped hub stages parallel nn",
  "models": "quantizers codecs semantic slm losses tasks data stats train inference",
  "config": "recipes build porting",
  "measures": "evals study",
  "programs": "report pipeline dry_run api deploy doctor cli __main__",
}
LEVEL = {name: i for i, names in enumerate(LAYERS.values()) for name in names.split()}
# Within a level, these stand beside each other and know nothing of one another.
APART = ({"quantizers", "semantic", "data"}, {"codecs", "slm"}, {"stats", "train"})
MODULES = sorted(PACKAGE.rglob("*.py"))
# Programs around the package, each a folder of its own: none imports another.
OUTER = ("launch", "configs", "benchmarks", "tests/faults")


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


def _cycle(graph):
  """Returns names that import each other in a circle, [] if none do."""
  try:
    graphlib.TopologicalSorter(graph).prepare()
  except graphlib.CycleError as error:
    return error.args[1]
  return []


def test_wings_form_no_circle():
  graph = collections.defaultdict(set)
  for path in MODULES:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own != "__init__":
      graph[own] |= set(filter(None, map(_part, _imports(path)))) & LEVEL.keys() - {own}
  assert not _cycle(graph)


def _module(path):
  return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def test_modules_form_no_circle():
  names = {_module(path).removesuffix(".__init__") for path in MODULES}
  graph = {}
  for path in MODULES:
    own = _module(path).removesuffix(".__init__")
    if own != "jaxcodec":  # whose names are imported at first use
      found = {n if n in names else n.rpartition(".")[0] for n in _imports(path)}
      graph[own] = found & names - {own, "jaxcodec"}
  assert not _cycle(graph)


def test_a_circle_is_found():
  assert _cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}})


@pytest.mark.parametrize("folder", OUTER)
def test_programs_import_the_package_and_their_own_folder(folder):
  own = {path.stem for path in (ROOT / folder).glob("*.py")}
  others = {path.stem for f in OUTER for path in (ROOT / f).glob("*.py")} - own
  roots = {"tests", "benchmarks", "launch", "configs"}
  for path in (ROOT / folder).glob("*.py"):
    found = {name.split(".")[0] for name in _imports(path)}
    assert not found & (others | roots), f"{path} imports another program"


def test_the_package_imports_no_program():
  for path in MODULES:
    roots = {name.split(".")[0] for name in _imports(path)}
    assert not roots & {"tests", "benchmarks", "launch", "configs"}, path


def test_the_root_stays_small():
  assert len(list(PACKAGE.glob("*.py"))) <= 10


@pytest.mark.parametrize("name", ["jaxcodec.study", "jaxcodec.stats"])
def test_the_study_computes_without_jax(name):
  """Checks indirect imports, too, so that a notebook on a study starts in a second."""
  code = (
    f"import importlib, pkgutil, sys; top = importlib.import_module({name!r})\n"
    "for module in pkgutil.walk_packages(top.__path__, top.__name__ + '.'):\n"
    "  importlib.import_module(module.name)\n"
    "print(*{'jax', 'flax', 'orbax', 'grain', 'optax'} & set(sys.modules))"
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert done.stdout.split() == []


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
