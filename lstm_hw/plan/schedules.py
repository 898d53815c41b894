"""All schedules side by side: which of them fit a network and an engine, how fast they are, and the best of them.

A schedule is a planner with a name that users write, options, and what it needs of an engine. Adding one is an entry in
:data:`SCHEDULES`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice, product

from ..errors import ConfigError, ProgramError
from ..machine.config import MAX_CONTEXTS, WINDOWS, EngineConfig
from ..machine.network import Network
from ..machine.plan import Plan
from ..proof.count import count_cycles
from ..proof.load_timing import MemoryModel
from ..proof.timing import Counters
from ..proof.work import work
from .compressed import LEAST_BATCH, CompressedPlanner
from .conventional import ConventionalPlanner
from .delta import DeltaPlanner
from .delta_columns import ColumnPlanner
from .dense import ResidentPlanner
from .fusion import FusionPlanner
from .gather import GatherPlanner
from .gather_batch import LEAST_BATCH as GATHER_BATCH
from .gather_batch import GatherBatchPlanner
from .row_window import RowWindowPlanner
from .rowblock import RowBlockPlanner
from .sacc import SaccPlanner
from .sbe import CASES, BatchPlanner
from .sbe_model import plan_batch
from .sizing import counting, engine_and_plan, on_ample_engine
from .target import Target, deeper, shapes

CLOSE = 1.01
"""Of schedules whose cycles differ by less than this factor the one that reads fewer bytes is better."""
CONTEXTS_TRIED = 2
"""Numbers of contexts, where nobody gives one, that are tried for a schedule until one fits."""
DEEPER_TRIED = 3
"""Engines with fewer rows and more weights on chip that are tried beside the fastest one until one fits."""
FINE_BATCH, LARGEST_BATCH = 16, 64
"""Up to which every batch is tried that makes equal ones of the steps, and up to which powers of two are."""
SMALLER_TRIED = 3
"""Batches below the best one of blocking-batching that are tried where the engine for that does not fit."""
AUTO = "auto"


@dataclass(frozen=True)
class Request:
    """What a schedule is asked for.

    Parameters
    ----------
    network : Network
    steps, sequences : int
        Time steps of a sequence, and independent sequences of a run.
    options : dict
        Options that are given: ``batch``, ``pinned``, ``case``, ``window``.
    memory : callable (EngineConfig) -> MemoryModel
    """

    network: Network
    steps: int
    sequences: int
    options: dict
    memory: Callable[[EngineConfig], MemoryModel]

    @property
    def hidden(self) -> int:
        """Units of the largest LSTM layer."""
        return max(layer.outputs for layer in self.network.recurrent)

    def batches(self, of: int = 1) -> list[int]:
        """Batches to try: the one that is given, or multiples of ``of`` that make about equal batches of the steps."""
        if "batch" in self.options:
            return [self.options["batch"]]
        equal = {-(-self.steps // count) for count in range(1, self.steps + 1)}
        tried = {batch for batch in equal if batch <= FINE_BATCH} | {1 << n for n in range(LARGEST_BATCH.bit_length())}
        return sorted({-(-batch // of) * of for batch in tried if batch <= max(self.steps, of)})

    def amounts(self, name: str, make: Callable[[int], object], most: int, none: bool) -> list[int]:
        """Amounts of an option to try: what is given, or the most that fits, beside none at all."""
        if name in self.options:
            return [self.options[name]]
        low, high = 0, most  # low fits or is 0, nothing above high does
        while low < high:
            middle = (low + high + 1) // 2
            try:
                make(middle)
                low = middle
            except ConfigError:
                high = middle - 1
        return sorted({0, low} if none else {low})


@dataclass(frozen=True)
class Schedule:
    """A kind of schedule.

    Parameters
    ----------
    doc : str
        What it does, in a line.
    options : tuple of str
        Keys that it takes.
    contexts : callable (sequences) -> iterable of int
        K that an engine may have for so many sequences; none if the schedule is not for so many.
    sequences : callable (contexts) -> int
        How many sequences a run takes on so many contexts where nobody says it.
    choices : callable (Request, EngineConfig) -> iterable of dict
        Options to try on an engine whose memories are as deep as can be, apart from the weight buffer.
    planner : callable (Request, Network, EngineConfig, **options) -> planner
    streams : bool
        Weights come from memory during a run.
    ranked : bool
        The best choice is the first: those behind it are only tried if its engine does not fit.
    lists : bool
        It is for models with thresholds, and for no others.
    pruned : bool
        ``auto`` tries it for models many of whose weights are zero.
    fields : dict
        Fields of EngineConfig that it needs, where nobody gives others.
    sparse_h : bool
        It takes models that leave out groups of h.
    """

    doc: str
    options: tuple[str, ...]
    contexts: Callable[[int], Iterable[int]]
    sequences: Callable[[int], int]
    choices: Callable[[Request, EngineConfig], Iterable[dict]]
    planner: Callable
    streams: bool = True
    ranked: bool = False
    lists: bool = False
    pruned: bool = False
    fields: dict = field(default_factory=dict)
    sparse_h: bool = False

    def suits(self, network: Network) -> bool:
        """Whether it is for such a model."""
        return self.lists == bool(network.thresholds) and (self.sparse_h or not network.sparse_h)


def _one(*contexts):
    """Contexts for a single sequence."""
    return lambda sequences: contexts if sequences == 1 else ()


def _sbe_choices(ask, config):
    """The best by the model, then of smaller batches, whose sums take less room."""
    given = {name: ask.options[name] for name in ("batch", "case", "pinned") if name in ask.options}

    def best(**given):
        planner = plan_batch(ask.network, config, ask.steps, memory=ask.memory(config), **given).planner
        return {"batch": planner.batch, "case": planner.case, "pinned": planner.pinned}

    first = best(**given)
    yield first
    smaller = [batch for batch in ask.batches() if 1 < batch < first["batch"]] if "batch" not in given else []
    for batch in sorted(smaller, reverse=True)[:SMALLER_TRIED]:
        try:
            found = best(**given, batch=batch)
        except ConfigError:
            continue
        yield found


def _gather_sbe_choices(ask, config):
    """By what the lanes or the port need at least, then the smaller batch."""
    pinned, cases = ask.options.get("pinned", 1), [ask.options["case"]] if "case" in ask.options else CASES
    least = 1 if "batch" in ask.options else GATHER_BATCH
    found, refused = [], None
    for batch, case in product(sorted({max(least, batch) for batch in ask.batches()}), cases):
        try:
            planner = GatherBatchPlanner(ask.network, config, batch, pinned, case)
        except ConfigError as error:
            refused = refused or error
            continue
        beats = planner.words_read(ask.steps) * config.beats_per_word * ask.memory(config).interval
        found.append((max(planner.columns(ask.steps), beats), batch, case))
    if not found:
        raise refused
    yield from ({"batch": batch, "case": case, "pinned": pinned} for _, batch, case in sorted(found))


def _sacc_choices(ask, config):
    batches = [1] if "batch" not in ask.options else []
    blocks = max(layer.blocks(config.rows) for layer in ask.network.recurrent)
    for batch in [*batches, *ask.batches(2 if batches else 1)]:

        def make(pinned, batch=batch):
            return SaccPlanner(ask.network, config, batch, pinned)

        for pinned in ask.amounts("pinned", make, blocks, none=True):
            yield {"batch": batch, "pinned": pinned}


def _conventional_choices(ask, config):
    def make(pinned):
        return ConventionalPlanner(ask.network, config, pinned)

    for pinned in ask.amounts("pinned", make, ask.hidden - 1, none=True):
        yield {"pinned": pinned}


def _row_window_choices(ask, config):
    def make(window):
        return RowWindowPlanner(ask.network, config, window)

    blocks = max(layer.blocks(config.rows) for layer in ask.network.recurrent)
    for window in ask.amounts("window", make, blocks, none=False):
        yield {"window": window}


def _compressed_choices(ask, config):
    least = 1 if "batch" in ask.options else LEAST_BATCH
    for batch in sorted({max(least, batch) for batch in ask.batches()}):
        yield {"batch": batch}


SCHEDULES = {
    "resident": Schedule(
        "all weights stay on chip and are loaded once",
        (),
        lambda sequences: (sequences,),
        lambda contexts: contexts,
        lambda ask, config: ({},),
        lambda ask, network, config: ResidentPlanner(network, config),
        streams=False,
    ),
    "delta": Schedule(
        "for models with [delta] thresholds: all weights stay on chip, and the columns of what did not change are left "
        "out",
        (),
        _one(1),
        lambda contexts: contexts,
        lambda ask, config: ({},),
        lambda ask, network, config: DeltaPlanner(network, config),
        streams=False,
        lists=True,
    ),
    "delta_columns": Schedule(
        "for models with [delta] thresholds and one layer: of what changed, columns are read from memory",
        (),
        _one(1),
        lambda contexts: contexts,
        lambda ask, config: ({},),
        lambda ask, network, config: ColumnPlanner(network, config),
        lists=True,
        fields={"list_loads": True},
    ),
    "gather": Schedule(
        "for pruned models: all weights stay on chip without their zeros, and lanes pick their operands from windows",
        (),
        lambda sequences: (sequences,),
        lambda contexts: contexts,
        lambda ask, config: ({},),
        lambda ask, network, config: GatherPlanner(network, config),
        streams=False,
        pruned=True,
        fields={"window": WINDOWS[-1]},
    ),
    "sbe": Schedule(
        "W_x is fetched once for a batch of time steps; W_h stays on chip (case 1), is held for the batch (2) or "
        "streams in part (3)",
        ("batch", "case", "pinned"),
        lambda sequences: (sequences,),
        lambda contexts: contexts,
        _sbe_choices,
        lambda ask, network, config, **options: BatchPlanner(network, config, **options),
        ranked=True,
    ),
    "gather_sbe": Schedule(
        "as sbe, of one layer of a pruned model: weights stream, and are multiplied, without their zeros",
        ("batch", "case", "pinned"),
        lambda sequences: (sequences,),
        lambda contexts: contexts,
        _gather_sbe_choices,
        lambda ask, network, config, **options: GatherBatchPlanner(network, config, **options),
        ranked=True,
        pruned=True,
        fields={"window": WINDOWS[-1]},
    ),
    "rowblock": Schedule(
        "every weight is fetched once a time step and serves all sequences",
        (),
        lambda sequences: [k for k in range(MAX_CONTEXTS, 1, -1) if sequences % k == 0],
        lambda contexts: contexts,
        lambda ask, config: ({},),
        lambda ask, network, config: RowBlockPlanner(network, config, ask.sequences // config.contexts),
    ),
    "conventional": Schedule(
        "every weight is fetched once a time step for one sequence; pinned columns of W_h stay on chip",
        ("pinned",),
        _one(*range(1, MAX_CONTEXTS + 1)),
        lambda contexts: 1,
        _conventional_choices,
        lambda ask, network, config, pinned: ConventionalPlanner(network, config, pinned),
    ),
    "sacc": Schedule(
        "every fetched weight of W_h serves two time steps, of W_x a batch of them; pinned row blocks stay on chip",
        ("batch", "pinned"),
        lambda sequences: (2 * sequences,),
        lambda contexts: max(1, contexts // 2),
        _sacc_choices,
        lambda ask, network, config, batch, pinned: SaccPlanner(network, config, batch, pinned),
    ),
    "row_window": Schedule(
        "a window of rows of W_h stays on chip and serves two time steps",
        ("window",),
        _one(2),
        lambda contexts: 1,
        _row_window_choices,
        lambda ask, network, config, window: RowWindowPlanner(network, config, window),
    ),
    "fusion": Schedule(
        "products of x for a batch of steps are formed while W_h streams for the steps before it",
        ("batch",),
        _one(*sorted(range(2, MAX_CONTEXTS + 1), key=lambda contexts: (contexts & contexts - 1, contexts))),
        lambda contexts: 1,
        lambda ask, config: ({"batch": batch} for batch in ask.batches(config.contexts)),
        lambda ask, network, config, batch: FusionPlanner(network, config, batch),
    ),
    "compressed": Schedule(
        "as fusion, of one layer, with weights that stream in the form of engine.decoder",
        ("batch",),
        _one(1),
        lambda contexts: 1,
        _compressed_choices,
        lambda ask, network, config, batch: CompressedPlanner(network, config, batch),
        sparse_h=True,
    ),
}
"""Schedules by the name that users write."""
OPTIONS = tuple(dict.fromkeys(option for schedule in SCHEDULES.values() for option in schedule.options))
"""Options that some schedule takes."""


@dataclass(frozen=True)
class Outcome:
    """A schedule that was tried.

    Parameters
    ----------
    name : str
        Of the schedule.
    options : dict
        Its options.
    plan : Plan or None
        With its engine; None if it does not fit.
    refused : str
        Why it was not timed: it does not fit, or cannot be the best.
    counters : Counters or None
        Of a run from zero state with the resident words loaded, by the exact model.
    memory : MemoryModel or None
    macs : int
        Products that the model needs in that run.
    """

    name: str
    options: dict = field(default_factory=dict)
    plan: Plan | None = None
    refused: str = ""
    counters: Counters | None = None
    memory: MemoryModel | None = None
    macs: int = 0

    @property
    def label(self) -> str:
        """The name with its options, as ``sacc, batch 8``."""
        shown = [
            f"{option} {'+'.join(map(str, value)) if isinstance(value, tuple) else value}"
            for option, value in self.options.items()
            if value and (option, value) != _PLAIN
        ]
        return ", ".join([self.name, *shown])

    @property
    def cycles(self) -> int:
        return self.counters.cycles

    @property
    def read_bytes(self) -> int:
        return self.counters.read_beats * self.plan.config.beat_bytes  # beats of all ports together

    @property
    def utilisation(self) -> float:
        """Share of all lanes' cycles that form a product."""
        return self.macs / (self.cycles * self.plan.config.lanes)

    @property
    def limit(self) -> str:
        """What most cycles of the lanes go to."""
        return LIMITS[max(LIMITS, key=lambda name: getattr(self.counters, name))]


LIMITS = {
    "busy": "busy",
    "stall_weights": "waiting for weights",
    "stall_h": "waiting for h",
    "stall_x": "waiting for x",
    "stall_output": "waiting for the output",
    "empty": "between commands",
}
"""What the lanes do in a cycle, by the name of the counter."""
_PLAIN = ("batch", 1)


@dataclass(frozen=True)
class Choice:
    """The best schedule, the reason in one line, and everything that was tried, best first."""

    outcome: Outcome
    reason: str
    tried: tuple[Outcome, ...]
    steps: int
    sequences: int

    def to_dict(self) -> dict:
        """JSON-able values."""
        best = self.outcome
        return {
            "schedule": best.name,
            "options": best.options,
            "sequences": self.sequences,
            "steps": self.steps,
            "reason": self.reason,
            "memory": {"latency": best.memory.latency, "interval": best.memory.interval},
            "tried": [
                {
                    "schedule": tried.label,
                    **(
                        {"cycles": tried.cycles, "read_bytes": tried.read_bytes, "lanes": tried.plan.config.lanes}
                        if tried.counters
                        else {"refused": tried.refused}
                    ),
                }
                for tried in self.tried
            ],
        }


def choose(
    network: Network,
    steps: int,
    *,
    schedule: str = AUTO,
    options: dict | None = None,
    sequences: int | None = None,
    given: dict | None = None,
    formats: dict | None = None,
    target: Target | None = None,
    memory: Callable[[EngineConfig], MemoryModel] | None = None,
    compare: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Choice:
    """The schedule for a network, with its engine: the resident one if it fits, else that with the fewest cycles.

    Cycles are those of the exact model. Of schedules that are close the one that reads least is taken. What cannot be
    the best, by the beats that the port must carry or the columns that the lanes must form, is not timed.

    Parameters
    ----------
    network : Network
    steps : int
        Time steps of a sequence.
    schedule : str
        ``auto``, or a name of :data:`SCHEDULES`.
    options : dict, optional
        Options of the schedule that are given; the others are chosen.
    sequences : int, optional
        Independent sequences of a run; as many as the contexts that are given make possible without it.
    given : dict, optional
        Fields of EngineConfig that are taken as they are.
    formats : dict, optional
        Fields of EngineConfig that follow from the quantised model.
    target : Target, optional
        What the engine has to fit.
    memory : callable (EngineConfig) -> MemoryModel, optional
        Latency and bandwidth of the weight ports of an engine.
    compare : bool
        Try the schedules that stream even if the resident one fits, and time each at least once.
    progress : callable (done, total), optional

    Returns
    -------
    Choice

    Raises
    ------
    ConfigError
        No schedule of that name, an option that it does not take, or nothing fits: the message says why not.
    """
    given, options, target = dict(given or {}), dict(options or {}), target or Target()
    if schedule not in (AUTO, *SCHEDULES):
        raise ConfigError("plan.schedule", repr(schedule), f"must be one of {', '.join((AUTO, *SCHEDULES))}")
    for option in options:
        if option not in (OPTIONS if schedule == AUTO else SCHEDULES[schedule].options):
            takes = [name for name, kind in SCHEDULES.items() if option in kind.options]
            raise ConfigError(f"plan.{option}", options[option], f"must be for {' or '.join(takes)}, not {schedule}")
    if sequences is None:
        contexts = given.get("contexts", 1)
        sequences = contexts if schedule == AUTO else SCHEDULES[schedule].sequences(contexts)
    ask = Request(network, steps, sequences, options, memory or (lambda config: MemoryModel()))
    fields = {**(formats or {}), **given}
    suited = [name for name, kind in SCHEDULES.items() if kind.suits(network)]
    if schedule not in (AUTO, *suited):
        kind = f"{'with' if network.thresholds else 'without'} thresholds"
        found = f"{schedule!r} for a model {'with sparse_h' if network.sparse_h else kind}"
        raise ConfigError("plan.schedule", found, f"must be {' or '.join((AUTO, *suited))} for it")
    names = [name for name in suited if network.pruned or not SCHEDULES[name].pruned]
    names = [schedule] if schedule != AUTO else names
    tried, errors = [], {}
    for name in names:
        if not compare and SCHEDULES[name].streams and any(_on_chip(outcome) for outcome in tried):
            break
        found = list(_plans(name, ask, fields, given, target, errors))
        tried += found or [Outcome(name, refused=_unfit(name, ask, given))]
        if progress:
            progress(names.index(name) + 1, 2 * len(names))
    if not any(outcome.plan for outcome in tried):
        raise _nothing_fits(schedule, tried, errors)
    timed = _timed(tried, ask, compare, progress)
    fitting = sorted((o for o in timed if o.counters), key=lambda o: o.cycles)
    resident = [o for o in fitting if _on_chip(o)]
    close = [o for o in fitting if o.cycles <= CLOSE * fitting[0].cycles]
    best = resident[0] if resident else min(close, key=lambda o: o.read_bytes)
    ordered = (best, *(o for o in fitting if o is not best), *(o for o in timed if not o.counters))
    return Choice(best, _reason(best, ordered, ask), ordered, steps, sequences)


def _on_chip(outcome: Outcome) -> bool:
    """Whether all weights stay on chip, and fit."""
    return outcome.plan is not None and not SCHEDULES[outcome.name].streams


def _plans(name: str, ask: Request, fields: dict, given: dict, target: Target, errors: dict) -> Iterator[Outcome]:
    """A schedule with all options that are worth trying, each with its plan on its engine, or why it has none."""
    kind = SCHEDULES[name]
    fields = {**kind.fields, **fields}
    possible = [contexts for contexts in kind.contexts(ask.sequences) if contexts <= MAX_CONTEXTS]
    if "contexts" in given:
        possible = [contexts for contexts in possible if contexts == given["contexts"]]
    refused = None  # on the best shape
    for contexts in possible[:CONTEXTS_TRIED]:
        outcomes, error = _on_first(
            name, ask, fields, target, shapes(target, contexts, ask.network, kind.streams, fields)
        )
        refused = refused or error
        if outcomes:
            yield from outcomes
            if kind.streams and target.part is not None:
                yield from _on_deeper(name, ask, fields, target, outcomes)
            return
    if refused:
        if refused.subject in OPTIONS:
            refused = ConfigError(f"plan.{refused.subject}", refused.found, refused.rule)
        errors[name] = refused
        yield Outcome(name, refused=_short(refused))


def _on_first(name, ask, fields, target, tried):
    """The schedule's outcomes on the first shape that fits, and why the best one does not; either may be None."""
    refused = None
    try:
        for shape in tried:
            try:
                return on_shape(name, ask, {**fields, **shape}, target), refused
            except (ConfigError, ProgramError) as error:
                refused = refused or error
    except ConfigError as error:
        refused = refused or error
    return None, refused


def _on_deeper(name, ask, fields, target, outcomes):
    """Those that fit on an engine with more weights on chip, if its lanes alone do not take longer than the others."""
    plans = [outcome for outcome in outcomes if outcome.plan]
    least = min(_least_cycles(outcome.plan, outcome.memory, ask.steps)[0] for outcome in plans)
    tried = deeper(target, ask.network, fields, plans[0].plan.config, least / ask.steps)
    found, _ = _on_first(name, ask, fields, target, islice(tried, DEEPER_TRIED))
    return [outcome for outcome in found or () if outcome.plan]


def _short(error):
    """Why a schedule does not fit, without what to do."""
    return error.found if error.subject == "plan.schedule" else str(error)


def on_shape(name: str, ask: Request, fields: dict, target: Target) -> list[Outcome]:
    """A schedule with all options that are worth trying on engines of a shape.

    Parameters
    ----------
    name : str
        Of the schedule.
    ask : Request
    fields : dict
        Fields of EngineConfig that are given; the others are what the schedule needs.
    target : Target

    Returns
    -------
    list of Outcome
        Each with its plan on its engine, or why it has none; nothing is timed.

    Raises
    ------
    ConfigError, ProgramError
        None fits.
    """
    kind = SCHEDULES[name]
    fields = {**counting(ask.steps, fields), **fields}
    if not kind.streams:

        def on_chip(network, config):
            return kind.planner(ask, network, config)

        _, plan = engine_and_plan(ask.network, on_chip, fetches=False, **fields)
        plan = replace(plan, config=target.divided(plan.config, fields))
        return [Outcome(name, {}, plan, memory=ask.memory(plan.config))]
    # The planner with the least needs says how deep the weight buffer must be at least.
    ample, choices = _choices(kind, ask, fields)
    outcomes, refused = [], None
    for options in choices:

        def make(network, config, options=options):
            return kind.planner(ask, network, config, **options)

        try:
            _, plan = engine_and_plan(ask.network, make, **{"weight_words": ample.weight_words, **fields})
            plan = replace(plan, config=target.divided(plan.config, fields))
            outcomes.append(Outcome(name, options, plan, memory=ask.memory(plan.config)))
            if kind.ranked:
                break
        except (ConfigError, ProgramError) as error:
            refused = refused or error
            outcomes.append(Outcome(name, options, refused=_short(error)))
    if refused and not any(outcome.plan for outcome in outcomes):
        raise refused
    return outcomes


def _choices(kind, ask, fields):
    """The engine as deep as can be, its weight buffer as one of the choices needs it if nobody gave it; choices."""
    found = []

    def planner(network, config):
        choices = iter(kind.choices(ask, config))
        first = next(choices)
        found[:] = [chain([first], choices)]
        return kind.planner(ask, network, config, **first)

    ample, _ = on_ample_engine(ask.network, planner, True, **fields)
    return ample, found[0]


def _timed(tried, ask, compare, progress):
    """The outcomes with counters of those that may be the best, and to compare of one of each name.

    Their order is that of what each takes at the least.
    """
    bounds = {id(o): _least_cycles(o.plan, o.memory, ask.steps) for o in tried if o.plan}
    best, result, kinds = None, {}, set()
    order = sorted((o for o in tried if o.plan), key=lambda o: bounds[id(o)])
    for number, outcome in enumerate(order):
        least, why = bounds[id(outcome)]
        shown = not SCHEDULES[outcome.name].streams or compare and outcome.name not in kinds
        kinds.add(outcome.name)
        if best is not None and least > CLOSE * best and not shown:
            result[id(outcome)] = replace(
                outcome, refused=f"takes {least / ask.steps:.0f} cycles a step at the least, {why}"
            )
        else:
            counters = count_cycles(outcome.plan, ask.steps, memory=outcome.memory)
            best = min(counters.cycles, best or counters.cycles)
            result[id(outcome)] = replace(outcome, counters=counters, macs=ask.network.macs(ask.steps) * ask.sequences)
        if progress:
            progress(len(order) + number + 1, 2 * len(order))
    return [result.get(id(outcome), outcome) for outcome in tried]


def _least_cycles(plan: Plan, memory: MemoryModel, steps: int) -> tuple[int, str]:
    """Cycles that no run can beat, and why: a column a cycle through the lanes, or all beats through the port."""
    needs = work(plan, steps)
    return max((needs.columns, "columns for the lanes"), (needs.beats * memory.interval, "beats for the port"))


def _unfit(name, ask, given):
    """Why a schedule has no engine at all."""
    wanted = [k for k in SCHEDULES[name].contexts(ask.sequences) if k <= MAX_CONTEXTS]
    if not wanted:
        return f"is not for {ask.sequences} sequences"
    return f"needs {' or '.join(map(str, wanted))} contexts, and engine.contexts is {given['contexts']}"


def _nothing_fits(schedule, tried, errors):
    """The error to raise: that of all of them, if there is but one, or why each does not fit."""
    if len({str(error) for error in errors.values()}) == 1:
        return next(iter(errors.values()))
    why = {outcome.name: outcome.refused for outcome in reversed(tried)}
    found = "; ".join(f"{name} does not fit ({why[name]})" for name in SCHEDULES if name in why)
    return ConfigError("plan.schedule", repr(schedule), f"must fit: {found}")


def _activity(network):
    """What share of x and h is taken to change, in words."""
    if network.sparse_h:
        share = f"{100 * network.activity[0]:.1f} %" if network.activity else "all"
        return f"{share} of the groups of h are taken to be kept"
    if not network.activity:
        return "all of x and h is taken to change, which is the most that can be"
    x, *h = (f"{100 * share:.1f} %" for share in network.activity)
    return f"{x} of x and {', '.join(h)} of h are taken to change in a step"


def _reason(best, ordered, ask):
    """One line: what was taken, what it costs, what limits it, and what is next or does not fit."""
    per_step = best.cycles / ask.steps
    config = best.plan.config
    line = f"{best.label}: {per_step:.0f} cycles a step"
    if not SCHEDULES[best.name].streams:
        size = f"{best.plan.image.words} words of {config.word_bits} bits"
        line += f"; all weights stay on chip ({size}, the buffer has {config.weight_words})"
        if SCHEDULES[best.name].lists:
            line += f"; {_activity(ask.network)}"
    else:
        line += f", most of them {best.limit}; {best.read_bytes / ask.steps:.0f} bytes a step"
        if ask.network.sparse_h or ask.network.thresholds:
            line += f"; {_activity(ask.network)}"
    others = [o for o in ordered[1:] if o.counters]
    if others:
        line += f"; next is {others[0].label} with {others[0].cycles / ask.steps:.0f}"
        if others[0].cycles <= CLOSE * best.cycles:
            line += f" and {others[0].read_bytes / max(1, best.read_bytes):.2f} times the bytes"
    resident = next((o for o in ordered if o.name == "resident" and o is not best), None)
    if resident is not None and not resident.plan:
        line += f"; resident does not fit ({resident.refused})"
    return line
