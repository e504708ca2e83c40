"""Files in place of `-`, standard input and output."""

import contextlib
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Sequence

NAME = "-"
INPUT = "standard input"


@contextlib.contextmanager
def as_files(
  inputs: Sequence[str], out: str, suffix: str
) -> Iterator[tuple[list[str], str]]:
  """Gives inputs and an output folder that are no streams.

  Standard input is read to its end before, and what was written goes to standard output
  after the block.

  Args:
    inputs: files and folders; `-` is standard input.
    out: a folder; `-` is standard output, for a single input.
    suffix: of the file that holds standard input.

  Raises:
    ValueError: several inputs, or none that is one file, for standard output.
  """
  if out == NAME and (len(inputs) != 1 or pathlib.Path(inputs[0]).is_dir()):
    raise ValueError("--out - is for a single file, since its content is all there is")
  if NAME not in [*inputs, out]:
    yield list(inputs), out
    return
  with tempfile.TemporaryDirectory() as folder:
    given = pathlib.Path(folder) / f"stdin{suffix}"
    if NAME in inputs:
      given.write_bytes(sys.stdin.buffer.read())
    target = pathlib.Path(folder) / "out"
    try:
      yield (
        [str(given) if name == NAME else name for name in inputs],
        str(target) if out == NAME else out,
      )
    except ValueError as error:
      raise ValueError(str(error).replace(str(given), INPUT)) from error
    if out == NAME:
      _write_out(target)


def _write_out(folder: pathlib.Path) -> None:
  written = [path for path in folder.rglob("*") if path.suffix in (".wav", ".jxc")]
  if len(written) != 1:
    raise ValueError(
      f"--out - is for a single file, but {len(written)} were made: the input holds"
      " several clips"
    )
  sys.stdout.buffer.write(written[0].read_bytes())
  sys.stdout.buffer.flush()
