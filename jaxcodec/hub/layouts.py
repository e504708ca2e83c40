"""The files of a repository that make a codec or a language model."""

import re
from collections.abc import Collection, Iterator, Sequence

CARD = "README.md"
# Ours first; then what transformers saves; then Vocos, and transformers as it was.
_CODEC = (
  ("params.safetensors",),
  ("codec/params.safetensors",),
  ("config.json", "model.safetensors"),
  ("config.json", "model.safetensors.index.json"),  # and the shards that it names
  ("config.yaml", "pytorch_model.bin"),
  ("config.json", "pytorch_model.bin"),
)
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_SLM = ("config.json", "slm/params.safetensors", "slm/spec.json")
_SLM_CODEC = "codec/params.safetensors"
_WANTED = {"codec": _CODEC, "slm": (_SLM,)}
TITLES = {"codec": "codec", "slm": "speech language model"}


def choose(names: Collection[str], part: str) -> list[str]:
  """Returns those of a repository's files that make a part; [] if some are missing.

  Args:
    names: paths in the repository.
    part: "codec" or "slm".
  """
  for wanted in _WANTED[part]:
    if set(wanted) <= set(names):
      return [*wanted, *sorted(_more(names, wanted))]
  return []


def signs(part: str) -> list[str]:
  """Returns the files by one of which every repository with the part is known."""
  return list(dict.fromkeys(wanted[-1] for wanted in _WANTED[part]))


def describe(part: str) -> str:
  """Says, for an error, what a repository has if it has the part."""
  return " or ".join(" and ".join(wanted) for wanted in _WANTED[part])


def _more(names: Collection[str], wanted: Sequence[str]) -> Iterator[str]:
  """Yields what only some have: of language models a codec, a vocabulary, tokens."""
  for name in names:
    folder, _, rest = name.partition("/")
    tables = folder == "slm" and "/" not in rest and name not in _SLM
    if wanted == _SLM and (name == _SLM_CODEC or tables):
      yield name
    if wanted[-1].endswith(".index.json") and _SHARD.fullmatch(name):
      yield name
