"""Connects the processes of one program, by given address or the cluster's."""

import os
import re
import signal
import socket
import sys
import threading
import time
from typing import Any

import jax
from jax.experimental import multihost_utils

AUTO = "auto"
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:\[\]/]+):([0-9]{1,5})")


class LaunchError(ValueError):
  """The processes can't find each other; the message names the flag."""


def initialize(
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  *,
  timeout: float = 300,
  heartbeat_timeout: int = 100,
) -> None:
  """Joins the processes of the program. Must be called before anything uses devices.

  Does nothing if no argument is given and no cluster starts several processes.

  Args:
    coordinator: "host:port" of process 0; "auto" asks JAX, which knows SLURM, TPU pods
      and Kubernetes; None is "auto" inside a SLURM step of several tasks and on a TPU
      pod that names its workers, and a single process elsewhere.
    num_processes: of the program; only with a "host:port".
    process_id: of this process, from 0; only with a "host:port".
    timeout: seconds to wait for the others.
    heartbeat_timeout: seconds after which a silent process counts as dead, and the
      others end.

  Raises:
    LaunchError: an argument is invalid, or nobody answers.
  """
  if coordinator is None and num_processes is None and process_id is None:
    if not _in_cluster():
      return
    coordinator = AUTO
  address = _parse_address(coordinator, num_processes, process_id)
  if address is None:
    _print_error(f"joining the processes that the cluster names, for up to {timeout} s")
    options: dict[str, Any] = {}
  else:
    number = f"process {process_id} of {num_processes}"
    _print_error(f"{number}: up to {timeout} s for all to meet at {coordinator}")
    if process_id:
      _await_listener(*address, timeout)
    options = {
      "coordinator_address": coordinator,
      "num_processes": num_processes,
      "process_id": process_id,
      "cluster_detection_method": "deactivate",
    }
  _connect(coordinator, timeout, heartbeat_timeout, options)


def _connect(coordinator, timeout, heartbeat_timeout, options) -> None:
  try:
    jax.distributed.initialize(
      initialization_timeout=int(timeout),
      heartbeat_timeout_seconds=heartbeat_timeout,
      **options,
    )
  except (RuntimeError, ValueError) as error:
    if coordinator == AUTO:
      raise LaunchError(
        f"--coordinator=auto: JAX found no SLURM step, TPU pod or Kubernetes job that"
        f" it can use ({error}); give --coordinator=HOST:PORT --num_processes=N"
        " --process_id=I"
      ) from error
    raise LaunchError(
      f"--coordinator={coordinator}: {error}; is the port free on process 0's host?"
    ) from error
  if threading.current_thread() is threading.main_thread():
    # JAX has just replaced the handler by one that only notes the signal. Python's own
    # handling is set again.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
  # Connects now, while all processes are here: later it would time out after 30 s.
  multihost_utils.sync_global_devices("started")


def _parse_address(coordinator, num_processes, process_id) -> tuple[str, int] | None:
  """Checks the arguments; returns host and port, None for "auto"."""
  if coordinator == AUTO:
    if num_processes is not None or process_id is not None:
      raise LaunchError(
        "--coordinator=auto finds --num_processes and --process_id itself"
      )
    return None
  if None in (coordinator, num_processes, process_id):
    raise LaunchError(
      "several processes need --coordinator=HOST:PORT, --num_processes and"
      f" --process_id, all three; got {coordinator!r}, {num_processes}, {process_id}"
    )
  match = _ADDRESS.fullmatch(coordinator)
  if match is None or not 0 < int(match[2]) < 1 << 16:
    raise LaunchError(f"--coordinator must be HOST:PORT or auto, got {coordinator!r}")
  if num_processes < 1:
    raise LaunchError(f"--num_processes must be at least 1, got {num_processes}")
  if not 0 <= process_id < num_processes:
    raise LaunchError(
      f"--process_id must be 0 to {num_processes - 1} for {num_processes} processes,"
      f" got {process_id}"
    )
  return match[1].strip("[]"), int(match[2])


def _in_cluster() -> bool:
  """Whether the environment is certainly that of several processes."""
  # The step's count, not the job's: an interactive shell in a job is one task.
  if int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
    return True
  workers = os.environ.get("TPU_PROCESS_ADDRESSES") or os.environ.get(
    "TPU_WORKER_HOSTNAMES", ""
  )
  return len(workers.split(",")) > 1


def _await_listener(host: str, port: int, timeout: float) -> None:
  """Waits until somebody listens; JAX would abort without naming the address."""
  end = time.monotonic() + timeout
  while True:
    try:
      socket.create_connection((host, port), timeout=5).close()
      return
    except OSError as error:
      if time.monotonic() > end:
        raise LaunchError(
          f"--coordinator={host}:{port}: nobody answered there for {timeout} s"
          f" ({error}); does process 0 run on that host, and can this one reach it?"
        ) from error
    time.sleep(0.2)


def _print_error(text: str) -> None:
  print(text, file=sys.stderr, flush=True)
