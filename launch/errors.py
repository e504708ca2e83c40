"""Reports bad input to the programs here: one line on stderr, exit code 2."""

import errno
import sys

from absl import flags

# What a user mends outside of the program: a full or read-only disk, permissions.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def parse(argv: list[str]) -> list[str]:
  """Parses flags; a field that the config lacks gives one line, not a traceback."""
  try:
    return flags.FLAGS(argv)
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
    sys.exit(fail(error))


def fail(error: Exception) -> int:
  """Prints the error; returns the exit code."""
  plain = isinstance(error, OSError) or not error.args
  text = str(error if plain else error.args[0]).strip()
  if "Traceback" in text:  # a config's own error, quoted whole by config_flags
    text = text.splitlines()[-1]
  print(f"error: {text}", file=sys.stderr)
  return 2


def is_disk(error: OSError) -> bool:
  """Tells whether a disk or its permissions are at fault, not a program."""
  return error.errno in _DISK
