"""Where the hub and its cache are.

Its client reads these variables once, when it is first imported; here they are read at
each call, as a notebook may set them later.
"""

import os
import pathlib

_TRUE = {"1", "ON", "YES", "TRUE"}


def endpoint() -> str:
  """Returns the hub's address: `HF_ENDPOINT`, or huggingface.co."""
  from huggingface_hub import constants

  return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def cache() -> pathlib.Path:
  """Returns the client's cache: `HF_HUB_CACHE`, or what the client takes by itself."""
  from huggingface_hub import constants

  folder = os.environ.get("HF_HUB_CACHE") or constants.HF_HUB_CACHE
  return pathlib.Path(folder).expanduser()


def offline() -> bool:
  """Tells whether `HF_HUB_OFFLINE` forbids the network."""
  from huggingface_hub import constants

  forbidden = os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE
  return forbidden or constants.HF_HUB_OFFLINE
