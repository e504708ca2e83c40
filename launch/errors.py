"""How the programs here say what is wrong with their input: one line, exit code 2."""

import sys

from absl import flags


def parse(argv: list[str]) -> list[str]:
  """Flags, with one line instead of a traceback for a field that the config lacks."""
  try:
    return flags.FLAGS(argv)
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
    sys.exit(fail(error))


def fail(error: Exception) -> int:
  """Prints the error; the exit code."""
  text = str(error.args[0] if error.args else error).strip()
  if "Traceback" in text:  # a config's own error, quoted whole by config_flags
    text = text.splitlines()[-1]
  print(f"error: {text}", file=sys.stderr)
  return 2
