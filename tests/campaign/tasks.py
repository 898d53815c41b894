"""Tasks of campaigns, for the tests."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from lstm_hw.errors import ModelError


def square(task):
    time.sleep(task.get("seconds", 0))
    return {"square": task["n"] ** 2, "pid": os.getpid()} if task.get("pid") else {"square": task["n"] ** 2}


def product(task):
    """Floating point, whose order of sums depends on the number of threads."""
    rng = np.random.default_rng(task["seed"])
    return float((rng.normal(size=(300, 700)) @ rng.normal(size=(700, 300))).sum())


def logged(task):
    """Leaves a line for every call; goes on once a file is there, where one is named."""
    with open(task["log"], "a") as file:
        file.write(f"{task['n']}\n")
    time.sleep(task.get("seconds", 0))
    while "after" in task and not Path(task["after"]).exists():
        time.sleep(0.05)
    return task["n"]


def deadly(task):
    """Kills its own process, as often as it is told."""
    logged(task)
    times = Path(task["log"]).read_text().split().count(str(task["n"]))
    if times <= task.get("deaths", 0):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(task.get("seconds", 0))
    return task["n"]


def failing(task):
    time.sleep(task.get("seconds", 0))
    if task.get("kind") == "model":
        raise ModelError("tensor w", "3 rows", "must have 4")
    if task.get("kind") == "value":
        raise ValueError("nothing of this kind")
    if task.get("kind") == "result":
        return {1, 2}
    if task.get("kind") == "nan":
        return float("nan")
    if task.get("kind") == "exit":
        raise SystemExit(3)
    return task["n"]


def threads(task):
    import threadpoolctl

    return [library["num_threads"] for library in threadpoolctl.threadpool_info()]


def same(task):
    return task


def treacherous(task):
    """The second one kills the scheduler."""
    if task["n"] == 1:
        time.sleep(1)
        os.kill(task["kill"], signal.SIGKILL)
        time.sleep(60)
    return task["n"]
