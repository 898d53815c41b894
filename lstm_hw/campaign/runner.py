"""Running the tasks of a campaign: what is kept is not computed again, what dies is tried again, failures are named."""

import heapq
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

from ..errors import ConfigError, TaskError, ToolError
from ..process import ended_by_signals
from ..progress import progress
from .kept import Kept
from .pools import Pool, workers
from .task import name_of, raised, shown, sources, to_text

MAX_JOBS = 1024


def run_tasks(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    *,
    jobs: int = 1,
    cluster: str | None = None,
    cache: str | os.PathLike | None = None,
    label: str = "",
    advance: Callable[[int, int], None] | None = None,
) -> list[Any]:
    """Call a function on every task, and give the results in the order of the tasks.

    The results are the same, to the byte of their JSON text, whatever the number of workers: tasks and results go
    through JSON in any case, numpy's libraries compute with one thread, and workers with other sources are refused.
    (Floating point may differ between kinds of processors.) Progress is told on stderr.

    Parameters
    ----------
    function : callable
        A function of a module, whose result depends on the task alone. Returns what JSON can hold.
    tasks : sequence
        What JSON can hold, as dicts. Equal tasks are computed once.
    jobs : int
        Processes of this machine; 1: in this process. A task whose process dies is tried again, three times in all.
    cluster : str, optional
        Address of a dask.distributed scheduler, as ``"tcp://host:8786"``, instead of ``jobs``.
    cache : path-like, optional
        Folder in which results are kept, each as soon as it is there, by task, function and sources of the project.
        Interrupted campaigns go on from there.
    label : str
        What progress and errors call the campaign; the function's name without it.
    advance : callable (done, total), optional
        Called with how many tasks are done, instead of telling it on stderr.

    Returns
    -------
    list

    Raises
    ------
    ConfigError
        ``jobs``, ``cluster`` or the function is not usable, or the cache cannot be written.
    InputError
        A task is not JSON.
    LstmHwError
        A task raised it: the first in the order of tasks. The message names the task.
    TaskError
        A task raised something else, has a result that is not JSON, or ended every process that worked on it.
    ToolError
        The cluster cannot be reached, has no workers, or its workers are of other sources.
    """
    _check(jobs, cluster)
    name = name_of(function)
    label = label or name.partition(":")[2]
    texts = [to_text(task, f"{label}, task {number}", "a task") for number, task in enumerate(tasks)]
    kept = Kept(cache, name, sources(name))
    unique: dict[str, int] = {}  # key -> number of the first task that has it
    keys = [kept.key(json.loads(text)) for text in texts]
    for number, key in enumerate(keys):
        unique.setdefault(key, number)
    found = {key: kept.read(key, json.loads(texts[number])) for key, number in unique.items()}
    if kept.refused:
        first = " ".join(str(kept.refused[0]).split())
        more = f", and {len(kept.refused) - 1} more" if kept.refused[1:] else ""
        print(f"note: {label}: a kept result is not used: {first}{more}", file=sys.stderr)
    missing = [number for key, number in unique.items() if found[key] is None]
    with ended_by_signals(), nullcontext(advance) if advance else progress(label) as advance:
        advance(len(unique) - len(missing), len(unique))
        if missing:
            with _pool(jobs, len(missing), cluster) as pool, _resumed(kept):
                answers = _answers(pool, label, name, kept.follows["sources"], texts, missing)
                for done, (number, result) in enumerate(answers, len(unique) - len(missing) + 1):
                    found[keys[number]] = result
                    kept.write(keys[number], json.loads(texts[number]), json.loads(result))
                    advance(done, len(unique))
    return [json.loads(found[key]) for key in keys]


@contextmanager
def _resumed(kept):
    """An interrupt of the body says what stays."""
    try:
        yield
    except KeyboardInterrupt as error:
        if kept.folder is not None and kept.folder.exists():
            error.add_note(f"what was done is kept in {kept.folder}, and the same command goes on from there")
        raise


@contextmanager
def workers_kept() -> Iterator[None]:
    """Calls of :func:`run_tasks` in the body, all with the same workers, keep them from one to the next."""
    with ExitStack() as stack:
        _KEPT.append((stack, []))
        try:
            yield
        finally:
            _KEPT.pop()


_KEPT: list[tuple[ExitStack, list[Pool]]] = []
"""What ends the workers that are kept, and these, once there are any."""


def check_workers(jobs: int, cluster: str | None) -> None:
    """Refuse what :func:`run_tasks` cannot use, before anything long begins.

    Raises
    ------
    ConfigError
        ``jobs`` is no number of processes, or there is a cluster beside it.
    ToolError
        The cluster cannot be reached.
    """
    _check(jobs, cluster)
    if cluster is not None:
        from .cluster import check_scheduler

        check_scheduler(cluster)


def _check(jobs, cluster):
    if type(jobs) is not int or not 1 <= jobs <= MAX_JOBS:
        raise ConfigError("jobs", repr(jobs), f"must be between 1 and {MAX_JOBS} processes")
    if cluster is not None and jobs != 1:
        raise ConfigError("jobs", jobs, "must be left out with a cluster, whose workers are counted where they start")


def _pool(jobs, tasks, cluster):
    if _KEPT:
        stack, kept = _KEPT[-1]
        if not kept:
            kept.append(stack.enter_context(_opened(jobs, jobs, cluster)))
        return nullcontext(kept[0])
    return _opened(jobs, tasks, cluster)


def _opened(jobs, tasks, cluster):
    if cluster is None:
        return workers(jobs, tasks)
    from .cluster import workers_of

    return workers_of(cluster)


def _answers(pool: Pool, label, name, state, texts, missing):
    """Yield number and result (JSON text) of every missing task, as they come.

    When a task fails, those before it are done first: the error is the same whatever the number of workers.
    """
    waiting, begun, died, failed = list(missing), set(), Counter(), {}
    while True:
        while waiting and pool.free > 0 and waiting[0] < min(failed, default=len(texts)):
            number = heapq.heappop(waiting)
            begun.add(number)
            pool.submit(number, name, state, texts[number])
        if not begun:
            break
        for number, text in pool.finished():
            begun.remove(number)
            subject = f"{label}, task {number} {shown(json.loads(texts[number]))}"
            if text is None:
                died[number] += 1
                if died[number] < pool.attempts:
                    heapq.heappush(waiting, number)
                else:
                    times = f"ended its process {died[number]} times"
                    failed[number] = TaskError(subject, times, "must leave it alive: look at its memory")
                continue
            answer = json.loads(text)
            if "other" in answer:
                rule = f"must be the same as here: {state}; install this version there and start the workers again"
                failed[number] = ToolError(f"{label}: a worker", f"other sources: {answer['other']}", rule)
            elif "error" in answer:
                failed[number] = raised(answer["error"], subject)
            else:
                yield number, answer["result"]
    if failed:
        raise failed[min(failed)]
