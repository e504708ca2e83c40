"""Fetches repositories into the cache of the hub's client, and checks them there."""

import functools
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxcodec.hub import checksums, layouts, problems, settings
from jaxcodec.hub.names import Repository

_LOG = logging.getLogger(__name__)
_TIMEOUT = 10.0  # seconds until the hub counts as out of reach


def fetch(repository: Repository, part: str) -> pathlib.Path:
  """Returns the folder of the cache with the files that make a part of a repository.

  Says once in a process which revision that is, and its licence. Without a network the
  cache serves. Files that were damaged in the cache are fetched again.

  Args:
    repository: its name and revision.
    part: "codec" or "slm", see `layouts`.

  Raises:
    FileNotFoundError: there is no such repository or revision, it lacks the part, or it
      is neither in the cache nor within reach; the message says what to put where.
    PermissionError: it is gated.
    ValueError: no possible name, or files other than the hub has promised.
    OSError: the download broke off.
  """
  try:
    names = _listing(repository)
  except problems.client_errors() as error:
    return _from_cache(repository, part, error)
  wanted = layouts.choose(names, part)
  if not wanted:
    raise FileNotFoundError(
      f"{repository} has no {layouts.TITLES[part]} that can be loaded: expected"
      f" {layouts.describe(part)}"
    )
  card = [layouts.CARD] if layouts.CARD in names else []
  # The first notes in the cache which commit the revision is; the others are its.
  first, *others = wanted + card
  folder = _folder(_file(repository, first), first)
  for name in others:
    _file(repository, name, commit=folder.name)
  _announce(repository, folder)
  return folder


def _listing(repository: Repository) -> list[str]:
  """Returns the paths of a repository's files; raises what the client raises."""
  import huggingface_hub

  if settings.offline():
    raise ConnectionError("HF_HUB_OFFLINE is set")
  api = huggingface_hub.HfApi(endpoint=settings.endpoint())
  found = api.model_info(repository.id, revision=repository.revision, timeout=_TIMEOUT)
  return [file.rfilename for file in found.siblings or ()]


def _file(repository: Repository, name: str, commit: str | None = None) -> pathlib.Path:
  """Returns a file in the cache, fetched if it isn't there, with the right content."""
  path = _download(repository, name, commit)
  if (wrong := checksums.problem(path)) is None:
    return path
  _LOG.warning("%s; it is fetched again", wrong)
  path = _download(repository, name, commit, force_download=True)
  if (wrong := checksums.problem(path)) is None:
    return path
  raise ValueError(f"{repository}: the hub sent another file than it promised: {wrong}")


def _download(
  repository: Repository, name: str, commit: str | None, **options: Any
) -> pathlib.Path:
  import huggingface_hub

  try:
    path = huggingface_hub.hf_hub_download(
      repository.id,
      name,
      revision=commit or repository.revision,
      endpoint=settings.endpoint(),
      cache_dir=settings.cache(),
      library_name="jaxcodec",
      **options,
    )
  except problems.client_errors() as error:
    raise problems.of_download(repository, name, error) from error
  return pathlib.Path(path)


def _from_cache(repository: Repository, part: str, error: Exception) -> pathlib.Path:
  """Returns the folder as it was fetched before; raises what `error` means if not."""
  folder = None if problems.is_final(error) else _cached_folder(repository, part)
  wanted = [] if folder is None else layouts.choose(_names_in(folder), part)
  if folder is None or not wanted:
    raise problems.of_listing(repository, error) from error
  for name in wanted:
    if (wrong := checksums.problem(folder / name)) is not None:
      raise ValueError(f"{wrong}; it is fetched again where the hub is within reach")
  reason = problems.first_line(error)
  _announce(repository, folder, f"; from the cache, as it is out of reach ({reason})")
  return folder


def _cached_folder(repository: Repository, part: str) -> pathlib.Path | None:
  import huggingface_hub

  for name in layouts.signs(part):
    path = huggingface_hub.try_to_load_from_cache(
      repository.id, name, cache_dir=settings.cache(), revision=repository.revision
    )
    if isinstance(path, str):
      return _folder(pathlib.Path(path), name)
  return None


def _folder(path: pathlib.Path, name: str) -> pathlib.Path:
  """Returns the folder of a repository's file, which is called as the commit is."""
  return path.parents[name.count("/")]


def _names_in(folder: pathlib.Path) -> list[str]:
  return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]


def _announce(repository: Repository, folder: pathlib.Path, how: str = "") -> None:
  where = f"{settings.endpoint()}/{repository.id}"
  _say(f"{repository}: commit {folder.name[:7]} of {where}, {_licence(folder)}{how}")


@functools.cache
def _say(text: str) -> None:
  """Logs a text unless it was logged before."""
  _LOG.warning("%s", text)


def _licence(folder: pathlib.Path) -> str:
  """Returns what a repository's card says of its licence."""
  data = _card_data(folder / layouts.CARD)
  licence = data.get("license_name") or data.get("license")
  return f"licence {licence}" if licence else "no licence named there"


def _card_data(card: pathlib.Path) -> Mapping[str, Any]:
  import huggingface_hub
  import yaml

  try:
    return huggingface_hub.metadata_load(card) or {}
  except (OSError, ValueError, yaml.YAMLError):
    return {}
