"""The choice of a schedule, with its engine: which of them fit, how fast they are, and the best of them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, islice

from ..errors import ConfigError, ProgramError
from ..machine.config import EngineConfig
from ..machine.limits import MAX_CONTEXTS
from ..machine.network import Network
from ..machine.plan import Plan
from ..proof.count import count_cycles
from ..proof.load_timing import MemoryModel
from ..proof.work import work
from .outcome import Choice, Outcome
from .schedules import AUTO, OPTIONS, SCHEDULES, Request
from .sizing import counting, engine_and_plan, on_ample_engine
from .target import Target, deeper, shapes

CLOSE = 1.01
"""Of schedules whose cycles differ by less than this factor the one that reads fewer bytes is better."""
CONTEXTS_TRIED = 2
"""Numbers of contexts, where nobody gives one, that are tried for a schedule until one fits."""
DEEPER_TRIED = 3
"""Engines with fewer rows and more weights on chip that are tried beside the fastest one until one fits."""


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
    refusals = {name: kind.planner.refuses(network) for name, kind in SCHEDULES.items()}
    suited = [name for name, refused in refusals.items() if not refused]
    if not suited:
        raise _nothing_suits(schedule, network, refusals)
    if schedule != AUTO and (refused := refusals[schedule]):
        found, way = f"{schedule!r} for a model {refused}", "; [delta] gives it thresholds"
        rule = f"must be {' or '.join((AUTO, *suited))} for it" + way * (refused == "without thresholds")
        raise ConfigError("plan.schedule", found, rule)
    names = [name for name, kind in SCHEDULES.items() if kind.tried(network, fields)]
    names = names if schedule == AUTO else [schedule]
    tried, errors = [], {}
    for name in names:
        if not compare and SCHEDULES[name].streams and any(_on_chip(outcome) for outcome in tried):
            break
        found = list(_plans(name, ask, fields, given, target, errors))
        tried += found or [Outcome(name, refused=_unfit(name, ask, given))]
        if progress:
            progress(names.index(name) + 1, 2 * len(names))  # planning is half of it, and timing the other
    if not any(outcome.plan for outcome in tried):
        raise _nothing_fits(schedule, tried, errors)
    shown = progress and (lambda done, of: progress(len(names) + len(names) * done // of, 2 * len(names)))
    timed = _timed(tried, ask, compare, shown)
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
    possible = [contexts for contexts in kind.possible(ask.sequences) if given.get("contexts", contexts) == contexts]
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
            return kind.plan(ask, network, config)

        _, plan = engine_and_plan(ask.network, on_chip, fetches=False, **fields)
        plan = replace(plan, config=target.divided(plan.config, fields))
        return [Outcome(name, {}, plan, memory=ask.memory(plan.config))]
    # The planner with the least needs says how deep the weight buffer must be at least.
    ample, choices = _choices(kind, ask, fields)
    outcomes, refused = [], None
    for options in choices:

        def make(network, config, options=options):
            return kind.plan(ask, network, config, **options)

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
        return kind.plan(ask, network, config, **first)

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
            progress(number + 1, len(order))
    return [result.get(id(outcome), outcome) for outcome in tried]


def _least_cycles(plan: Plan, memory: MemoryModel, steps: int) -> tuple[int, str]:
    """Cycles that no run can beat, and why: a column a cycle through the lanes, or all beats through the port."""
    needs = work(plan, steps)
    return max((needs.columns, "columns for the lanes"), (needs.beats * memory.interval, "beats for the port"))


def _unfit(name, ask, given):
    """Why a schedule has no engine at all."""
    kind = SCHEDULES[name]
    if wanted := kind.possible(ask.sequences):
        return f"needs {' or '.join(map(str, wanted))} contexts, and engine.contexts is {given['contexts']}"
    most, *fewer = [count for count in range(MAX_CONTEXTS, 0, -1) if kind.possible(count)]
    takes = f"{fewer[-1]} to {most} sequences" if fewer else f"{most} sequence"
    takes += " and their multiples" * kind.groups
    return f"is for {takes}, and plan.sequences, or engine.contexts without it, asks for {ask.sequences}"


def _nothing_suits(schedule, network, refusals):
    """The error of a model with things that no schedule takes together: the schedules that lack the fewest of them."""
    fewest = min(reason.count(" and ") for reason in refusals.values())
    near = {}
    for name, reason in refusals.items():
        if reason.count(" and ") == fewest:
            near.setdefault(reason, []).append(name)
    found = " and ".join(f"with {trait}" for trait in network.traits)
    rule = "; ".join(
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not for one {reason}"
        for reason, names in near.items()
    )
    return ConfigError("plan.schedule", f"{schedule!r} for a model {found}", f"no schedule takes all of it: {rule}")


def _nothing_fits(schedule, tried, errors):
    """The error to raise: that of all of them, if there is but one, or why each does not fit."""
    if len({str(error) for error in errors.values()}) == 1:
        return next(iter(errors.values()))
    why = {outcome.name: outcome.refused for outcome in reversed(tried)}
    found = "; ".join(f"{name} does not fit ({why[name]})" for name in SCHEDULES if name in why)
    return ConfigError("plan.schedule", repr(schedule), f"must fit: {found}")


def activity_in_words(network: Network) -> str:
    """What share of x and h estimates take to change, or of the groups of h to be kept; nothing where all counts."""
    if not network.sparse_h and not network.thresholds:
        return ""
    if network.sparse_h:
        shares = ", ".join(f"{100 * share:.1f} %" for share in network.activity) or "all"
        return f"{shares} of the groups of h are taken to be kept"
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
    else:
        line += f", most of them {best.limit}; {best.read_bytes / ask.steps:.0f} bytes a step"
    if assumed := activity_in_words(ask.network):
        line += f"; {assumed}"
    if unused := [option for option in ask.options if option not in SCHEDULES[best.name].options]:
        line += f"; {', '.join(f'plan.{option}' for option in unused)} not used: not for {best.name}"
    others = [o for o in ordered[1:] if o.counters]
    if others:
        line += f"; next is {others[0].label} with {others[0].cycles / ask.steps:.0f}"
        if others[0].cycles <= CLOSE * best.cycles:
            line += f" and {others[0].read_bytes / max(1, best.read_bytes):.2f} times the bytes"
    resident = next((o for o in ordered if o.name == "resident" and o is not best), None)
    if resident is not None and not resident.plan:
        line += f"; resident does not fit ({resident.refused})"
    return line
