"""All schedules side by side: which of them fit a layer and an engine, how fast they are, and the best of them.

A schedule is a planner with its options filled in. Adding one is an entry in :func:`schedules`.
"""

from dataclasses import dataclass

from ..errors import ConfigError, ProgramError
from ..proof.load_timing import MemoryModel
from .conventional import ConventionalPlanner
from .dense import ResidentPlanner
from .fusion import FusionPlanner
from .row_window import RowWindowPlanner
from .rowblock import RowBlockPlanner
from .sacc import SaccPlanner
from .sbe_model import exact, plan_batch

CLOSE = 1.01
"""Of schedules whose cycles differ by less than this factor the one that reads fewer bytes is better."""


@dataclass(frozen=True)
class Outcome:
    """A schedule that was tried.

    Parameters
    ----------
    name : str
        With its options, as ``sacc, batch 8``.
    plan : Plan or None
        None if it does not fit.
    refused : str
        Why not.
    cycles, read_bytes : int
        Of a run from zero state with the resident words loaded, by the exact model.
    busy : int
        Cycles in which the lanes work.
    memory_cycles : int
        Cycles that the port needs for the bytes.
    """

    name: str
    plan: object = None
    refused: str = ""
    cycles: int = 0
    read_bytes: int = 0
    busy: int = 0
    memory_cycles: int = 0


@dataclass(frozen=True)
class Choice:
    """The best schedule, the reason in one line, and everything that was tried, best first."""

    outcome: Outcome
    reason: str
    tried: tuple


def schedules(network, config, steps, sequences=1, batch=None, memory=None):
    """Every schedule for so many sequences.

    Parameters
    ----------
    network : Network
        One LSTM layer.
    config : EngineConfig
    steps, sequences : int
    batch : int, optional
        Time steps that share a fetch of W_x; every one that is possible without it.
    memory : MemoryModel, optional

    Yields
    ------
    (str, callable)
        A name and a function that makes the plan or raises ConfigError or ProgramError.
    """
    contexts, groups = config.contexts, sequences // config.contexts
    if sequences == contexts:
        yield "resident", lambda: ResidentPlanner(network, config).plan()
        yield "blocking-batching", lambda: plan_batch(network, config, steps, batch, memory=memory).plan
    if sequences > 1 and sequences % contexts == 0:
        yield f"row blocks, {groups} groups", lambda: RowBlockPlanner(network, config, groups).plan()
    blocks, units = network.layers[0].blocks(config.rows), config.units_per_block
    batches = [batch] if batch else [1, *(b for b in range(2, steps + 1, 2) if steps % b == 0)]
    if sequences * 2 == contexts:
        for size in batches:
            name = "sacc" if size == 1 else f"sacc, batch {size}"
            yield name, lambda size=size: SaccPlanner(network, config, steps, size).plan()
            yield (
                f"{name}, pinned",
                lambda size=size: _most(lambda n: SaccPlanner(network, config, steps, size, n), blocks).plan(),
            )
    if sequences > 1:
        return
    yield "conventional", lambda: ConventionalPlanner(network, config).plan()
    yield "pinned", lambda: _most(lambda n: ConventionalPlanner(network, config, n * units), blocks - 1).plan()
    if contexts == 2:
        yield "row window", lambda: _most(lambda n: RowWindowPlanner(network, config, steps, n), blocks).plan()
    if contexts > 1:
        for size in batches:
            if size > 1:
                yield f"fusion, batch {size}", lambda size=size: FusionPlanner(network, config, steps, size).plan()


def _most(planner, most):
    """The planner with the most row blocks on chip that fit, at least one."""
    low, high = 0, most  # low fits or is 0, nothing above high does
    while low < high:
        middle = (low + high + 1) // 2
        try:
            planner(middle)
            low = middle
        except ConfigError:
            high = middle - 1
    return planner(max(1, low))


def outcome(name, make, steps, memory):
    """Plan and time one schedule."""
    try:
        plan = make()
        counters = exact(plan, memory, steps)
    except (ConfigError, ProgramError) as error:
        return Outcome(name, refused=str(error))
    return Outcome(
        name,
        plan,
        "",
        counters.cycles,
        counters.read_beats * plan.config.beat_bytes,
        counters.busy,
        counters.read_beats * memory.interval,
    )


def choose(network, config, steps, sequences=1, batch=None, memory=None, schedule="auto", progress=None):
    """The schedule with the fewest cycles by the exact model; of those that are close, the one that reads least.

    Parameters
    ----------
    network : Network
        One LSTM layer.
    config : EngineConfig
        Lanes, buffers, port.
    steps, sequences : int
    batch : int, optional
        As for :func:`schedules`.
    memory : MemoryModel, optional
        Latency and bandwidth of the weight port.
    schedule : str
        ``auto``, or the beginning of the names to choose from.
    progress : callable (done, total), optional

    Returns
    -------
    Choice

    Raises
    ------
    ConfigError
        No schedule of that name, or none fits; the message says why the last one does not.
    """
    memory = memory or MemoryModel()
    candidates = [
        (name, make)
        for name, make in schedules(network, config, steps, sequences, batch, memory)
        if schedule == "auto" or name.startswith(schedule)
    ]
    if not candidates:
        rule = f"must begin the name of one for {sequences} sequences on {config.contexts} contexts"
        raise ConfigError("schedule", repr(schedule), rule)
    tried = []
    for number, (name, make) in enumerate(candidates):
        tried.append(outcome(name, make, steps, memory))
        if progress:
            progress(number + 1, len(candidates))
    fitting = sorted((o for o in tried if o.plan), key=lambda o: o.cycles)
    if not fitting:
        raise ConfigError("schedule", repr(schedule), f"does not fit: {tried[-1].refused}")
    best = min((o for o in fitting if o.cycles <= CLOSE * fitting[0].cycles), key=lambda o: o.read_bytes)
    ordered = [best, *(o for o in fitting if o is not best), *(o for o in tried if not o.plan)]
    return Choice(best, _reason(best, ordered, steps), tuple(ordered))


def _reason(best, ordered, steps):
    per_step = best.cycles / steps
    limit = "memory" if best.memory_cycles > best.busy else "the lanes"
    line = f"{best.name}: {per_step:.0f} cycles a step, limited by {limit}"
    others = [o for o in ordered[1:] if o.plan]
    if others:
        line += f"; next is {others[0].name} with {others[0].cycles / steps:.0f}"
        if others[0].cycles <= CLOSE * best.cycles:
            line += f" and {others[0].read_bytes / max(1, best.read_bytes):.2f} times the bytes"
    return line
