"""`jaxcodec doctor`: tells whether this machine can train, in about a minute."""

from collections.abc import Iterator
from typing import Any

from jaxcodec.doctor import data, devices, overfit
from jaxcodec.doctor.diagnosis import FAIL, Diagnosis, examine

__all__ = ["Diagnosis", "run"]


def run(config: Any = None) -> Iterator[Diagnosis]:
  """Examines the devices, whether tiny models learn, and the data of a config.

  Args:
    config: of an experiment, a ConfigDict; None leaves the data out.

  Yields:
    Each diagnosis as soon as it is made; the first alone if there are no devices.
  """
  if problem := devices.start_problem():
    yield Diagnosis(FAIL, "devices", problem)
    return
  yield from examine("devices", devices.products)
  yield from examine("collective", devices.collective)
  yield from examine("memory", devices.memory)
  yield from examine("codec", overfit.codec)
  yield from examine("language model", overfit.slm)
  if config is not None:
    yield from examine("data", lambda: data.rates(config))
