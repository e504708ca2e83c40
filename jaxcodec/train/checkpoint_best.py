"""Which checkpoints stay: the latest, and the best by a metric."""

from typing import Any, Literal

import orbax.checkpoint as ocp

Best = tuple[str, Literal["min", "max"]]


def policy(keep: int, best: Best | None) -> ocp.checkpoint_managers.PreservationPolicy:
  """Keeps the latest `keep`, and the best by (metric, "min" or "max")."""
  policies = ocp.checkpoint_managers
  latest = policies.LatestN(keep)
  if best is None:
    return latest
  name, mode = best
  kept = policies.BestN(
    get_metric_fn=lambda metrics: metrics[name],
    reverse=mode == "min",
    n=1,
    keep_checkpoints_without_metrics=False,
  )
  return policies.AnyPreservationPolicy([latest, kept])


def tracking(best: Best | None) -> dict[str, Any]:
  """Options of the manager without which it writes no metrics beside checkpoints."""
  if best is None:
    return {}
  return {"best_fn": lambda metrics: metrics[best[0]], "best_mode": best[1]}


def step(manager: ocp.CheckpointManager, best: Best | None) -> int | None:
  """The step of the best checkpoint that is there, None if none has the metric."""
  if best is None:
    return None
  name, mode = best
  found = {n: (manager.metrics(n) or {}).get(name) for n in manager.all_steps()}
  measured = {n: value for n, value in found.items() if value is not None}
  choose = min if mode == "min" else max
  return choose(measured, key=measured.get) if measured else None
