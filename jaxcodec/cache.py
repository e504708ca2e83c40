"""Where jaxcodec keeps what it can make again: the spoken corpus, compiled programs."""

import os
import pathlib


def folder() -> pathlib.Path:
  """`JAXCODEC_CACHE`, or `~/.cache/jaxcodec`."""
  root = os.environ.get("JAXCODEC_CACHE") or "~/.cache/jaxcodec"
  return pathlib.Path(root).expanduser()
