"""Runs as one of two processes: `two_processes.py FOLDER PORT PROCESS_ID`.

Prints one line of JSON, then the second process fails.
"""

import json
import os
import signal
import sys

import jax
import numpy as np
import train_toy
from jax.sharding import NamedSharding, PartitionSpec

from jaxcodec.parallel import processes, rendezvous, sharding
from jaxcodec.semantic import kmeans
from jaxcodec.train import interrupts


def fail_in(process):
  if jax.process_index() == process:
    raise ValueError(f"bad file in {process}")


def error_of(function):
  try:
    function()
  except (ValueError, processes.OtherProcessError) as error:
    return f"{type(error).__name__}: {error}"
  return None


def fail_alone_in(process):
  with processes.share_failure():
    fail_in(process)


def spread_and_fetched():
  """Shards a matrix over the processes and returns it whole on the host."""
  mesh = sharding.make_mesh({"fsdp": -1})
  x_4x2 = np.arange(8.0, dtype=np.float32).reshape(4, 2)
  spread = jax.device_put(x_4x2, NamedSharding(mesh, PartitionSpec("fsdp")))
  assert not spread.is_fully_addressable
  return sharding.to_host({"x": spread})["x"].tolist()


def clusters():
  """Returns the difference of k-means on one device and on all."""
  x_TxD = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
  where = sharding.batch_sharding(sharding.make_mesh())
  local, spread = (
    kmeans.fit(jax.random.key(0), x_TxD, 4, sharding=s) for s in (None, where)
  )
  return float(np.abs(np.asarray(local[0]) - np.asarray(spread[0])).max())


def stopped(folder):
  """Trains with a SIGTERM to the second process only; returns [exit code, step]."""

  def spoil(number, batch):
    if number == 4 and jax.process_index() == 1:
      os.kill(os.getpid(), signal.SIGTERM)
    return batch

  data, mesh = train_toy.Data(size=4, seconds=0.01, spoil=spoil), sharding.make_mesh()
  try:
    train_toy.fit(folder, 1000, data=data, mesh=mesh)
  except interrupts.Interrupted as stop:
    return [stop.code, stop.step]


def shards():
  return {
    name: sharding.batch_part(sharding.make_mesh(shape))
    for name, shape in {
      "data": {"data": -1},
      "fsdp": {"data": 2, "fsdp": 2},
      "tensor across": {"tensor": -1},
      "tensor within": {"data": 2, "tensor": 2},
    }.items()
  }


def main():
  folder, port, process_id = sys.argv[1], *map(int, sys.argv[2:])
  jax.config.update("jax_num_cpu_devices", 2)
  address = f"127.0.0.1:{port}"
  rendezvous.initialize(address, 2, process_id, timeout=30, heartbeat_timeout=10)
  with processes.exit_together():
    answers = {
      "first": processes.is_first(),
      "gathered": processes.gather("äb" * (1 + process_id)),
      "share": processes.take_share([0, 1, 2, 3, 4]),
      "on_first": processes.on_first(lambda: {"n": jax.process_index()}),
      "first failed": error_of(lambda: processes.on_first(lambda: fail_in(0))),
      "second failed": error_of(lambda: fail_alone_in(1)),
      "fetched": spread_and_fetched(),
      "shards": shards(),
      "k-means": clusters(),
      "stopped": stopped(folder),
    }
    print(json.dumps(answers), flush=True)
    fail_in(1)
    processes.gather("")


if __name__ == "__main__":
  main()
