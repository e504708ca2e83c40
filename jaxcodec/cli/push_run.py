"""Puts together what `jaxcodec push` uploads: weights, model card, config."""

import json
import pathlib
import shutil
import tempfile

from jaxcodec import files, shipped, weights
from jaxcodec.cli import model_card
from jaxcodec.cli.export import export_run
from jaxcodec.hub import layouts
from jaxcodec.hub.upload import check_name, upload

_CONFIG = "config.json"
UNKNOWN = "unknown"  # the hub's name of a licence that nobody stated


def push(
  run: files.PathLike,
  repo_id: str,
  *,
  part: str = "codec",
  licence: str | None = None,
  private: bool = False,
  dry_run: bool = False,
) -> str:
  """Uploads a run's codec or language model, in float16, with a model card.

  Args:
    run: the work directory of an experiment, or a folder that `export` wrote, whose
      model card is uploaded as it is.
    repo_id: `user/repo`.
    part: "codec" or "slm", of a work directory.
    licence: of the weights, as the hub calls it; unknown if None.
    private: whether a repository that is made is.
    dry_run: whether to upload nothing.

  Returns:
    Lines for the user: what was or would be uploaded; with `dry_run` the card, too.

  Raises:
    FileNotFoundError, ValueError: naming the file or the name that is wrong.
    OSError: the hub is out of reach or refuses; see `hub.upload`.
  """
  name = check_name(repo_id).partition("/")[2]
  with tempfile.TemporaryDirectory() as folder:
    staged = pathlib.Path(folder) / name
    _stage(pathlib.Path(run), staged, repo_id, part, licence or UNKNOWN)
    paths = sorted(path for path in staged.rglob("*") if path.is_file())
    lines = [f"  {p.relative_to(staged)}: {p.stat().st_size:,} bytes" for p in paths]
    card = (staged / shipped.CARD).read_text(encoding="utf-8")
    if dry_run:
      return "\n".join([f"{run} would be uploaded to {repo_id}:", *lines, "", card])
    where = upload(staged, repo_id, private=private)
  if f"\nlicense: {UNKNOWN}\n" in card:
    lines.append("  its card names no licence; --license says one")
  return "\n".join([f"{run} -> {where}", *lines])


def _stage(
  run: pathlib.Path, staged: pathlib.Path, repo_id: str, part: str, licence: str
) -> None:
  """Writes all that is uploaded into a folder."""
  if (run / shipped.CARD).is_file():
    part = _stage_exported(run, staged)
  else:
    export_run(run, staged, part, model_card.stated(repo_id, part, licence))
  _complete(staged, part, licence)


def _stage_exported(run: pathlib.Path, staged: pathlib.Path) -> str:
  """Copies what `export` wrote; returns which part that is."""
  card = (run / shipped.CARD).read_text(encoding="utf-8")
  if model_card.PROMPT in card:
    raise ValueError(
      f"{run / shipped.CARD}: complete the lines with {model_card.PROMPT!r} first"
    )
  part = "slm" if (run / "slm" / weights.FILE).is_file() else "codec"
  names = [p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()]
  wanted = layouts.choose(names, part) if part == "slm" else [weights.FILE]
  if not wanted or not set(wanted) <= set(names):
    raise FileNotFoundError(f"{run}: has a {shipped.CARD}, but not what export writes")
  for name in (*wanted, shipped.CARD):
    (staged / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / name, staged / name)
  return part


def _complete(staged: pathlib.Path, part: str, licence: str) -> None:
  """Adds what the hub reads: the top of the card, and a codec's config."""
  path = staged / shipped.CARD
  text = path.read_text(encoding="utf-8")
  if not text.startswith("---\n"):
    files.write_text(path, model_card.front_matter(part, licence) + text)
  if part == "codec":  # by which the hub counts downloads
    metadata = weights.load_metadata(staged / weights.FILE)
    config = {"codec": json.loads(metadata["config"])}
    files.write_json(staged / _CONFIG, config)
