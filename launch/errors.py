"""Reports bad input to the programs here: one line on stderr, exit code 2."""

import sys

from absl import flags


def parse(argv: list[str]) -> list[str]:
  """Parses flags; a field that the config lacks gives one line, not a traceback."""
  try:
    return flags.FLAGS(argv)
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
    sys.exit(fail(error))


def fail(error: Exception) -> int:
  """Prints the error; returns the exit code."""
  text = str(error.args[0] if error.args else error).strip()
  if "Traceback" in text:  # a config's own error, quoted whole by config_flags
    text = text.splitlines()[-1]
  print(f"error: {text}", file=sys.stderr)
  return 2
