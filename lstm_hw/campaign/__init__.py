"""Campaigns: one function over many tasks, on the processors of this machine or on a cluster.

>>> from lstm_hw.campaign import run_tasks
>>> run_tasks(measure, [{"lanes": 16}, {"lanes": 32}], jobs=2, cache="build/campaign", label="measure")
"""

from .runner import check_workers, run_tasks, workers_kept

__all__ = ["check_workers", "run_tasks", "workers_kept"]
