"""A codec's measures, kept beside it for the other language models on its tokens."""

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from jaxcodec import files
from jaxcodec.evals.evaluate import SetMeasures
from jaxcodec.evals.results import to_json


def measure_once(
  folder: pathlib.Path,
  name: str,
  inputs: Mapping[str, Any],
  measure: Callable[[], SetMeasures],
) -> SetMeasures:
  """Returns what was measured of exactly these inputs before, or measures them now.

  Numbers come back with the bits that they were kept with. A file that is damaged is
  measured again, and a folder that can't be written to keeps nothing.

  Args:
    folder: of the kept measures; made if it is not there.
    name: of the set, with which its files begin.
    inputs: plain data, all that the measures depend on.
    measure: measures the set.
  """
  key = hashlib.sha256(to_json(inputs).encode()).hexdigest()
  path = folder / f"{name}-{key[:16]}.json"
  with contextlib.suppress(OSError, ValueError, KeyError):
    record = files.read_checked_json(path)
    if record["inputs"] == key:
      return SetMeasures(**json.loads(record["measures"]))
  measures = measure()
  # The measures are text in the file, as it sorts keys: rows keep their columns' order.
  record = {"inputs": key, "measures": to_json(measures._asdict())}
  with contextlib.suppress(OSError):
    files.write_checked_json(path, record)
  return measures
