"""Which checkpoints stay: the latest, and the best by a metric."""

from typing import Any, Literal

import orbax.checkpoint as ocp

Best = tuple[str, Literal["min", "max"]]


def preservation_policy(
  keep: int, best: Best | None
) -> ocp.checkpoint_managers.PreservationPolicy:
  """Returns Orbax's policy that keeps the latest `keep` and the best.

  Args:
    keep: how many of the latest.
    best: (metric, "min" or "max"); None keeps the latest only.
  """
  policies = ocp.checkpoint_managers
  latest = policies.LatestN(keep)
  if best is None:
    return latest
  name, mode = best
  keep_best = policies.BestN(
    get_metric_fn=lambda metrics: metrics[name],
    reverse=mode == "min",
    n=1,
    keep_checkpoints_without_metrics=False,
  )
  return policies.AnyPreservationPolicy([latest, keep_best])


def manager_options(best: Best | None) -> dict[str, Any]:
  """Returns the options without which Orbax writes no metrics beside checkpoints."""
  if best is None:
    return {}
  return {"best_fn": lambda metrics: metrics[best[0]], "best_mode": best[1]}


def find_best_step(manager: ocp.CheckpointManager, best: Best | None) -> int | None:
  """Returns the step of the best checkpoint, None if none has the metric."""
  if best is None:
    return None
  name, mode = best
  values = {n: (manager.metrics(n) or {}).get(name) for n in manager.all_steps()}
  measured = {n: value for n, value in values.items() if value is not None}
  choose = min if mode == "min" else max
  return choose(measured, key=measured.get) if measured else None
