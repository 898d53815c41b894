"""All schedules: what each is for, its options, and which of them are worth trying.

A schedule is a planner with a name that users write, options, and what it needs of an engine. Adding one is an entry in
:data:`SCHEDULES`. :mod:`lstm_hw.plan.choose` takes the best.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import product
from typing import Any

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.limits import MAX_CONTEXTS, WINDOWS
from ..machine.network import Network
from ..proof.load_timing import MemoryModel
from .compressed import CompressedPlanner
from .compressed_sacc import CompressedSaccPlanner
from .conventional import ConventionalPlanner
from .delta import DeltaPlanner
from .delta_columns import ColumnPlanner
from .dense import ResidentPlanner
from .fusion import FusionPlanner
from .gather import GatherPlanner
from .gather_batch import GatherBatchPlanner
from .gather_grid import heights
from .gather_sacc import GatherSaccPlanner
from .row_window import RowWindowPlanner
from .rowblock import RowBlockPlanner
from .sacc import SaccPlanner
from .sbe import CASES, BatchPlanner
from .sbe_model import plan_batch
from .stack import StackPlanner

FINE_BATCH, LARGEST_BATCH = 16, 64
"""Up to which every batch is tried that makes equal ones of the steps, and up to which powers of two are."""
SMALLER_TRIED = 3
"""Batches below the best one of blocking-batching that are tried where the engine for that does not fit."""
AUTO = "auto"
"""The name that stands for the best of them."""


@dataclass(frozen=True)
class Request:
    """What a schedule is asked for.

    Parameters
    ----------
    network : Network
    steps, sequences : int
        Time steps of a sequence, and independent sequences of a run.
    options : dict
        Options that are given: ``batch``, ``pinned``, ``case``, ``window``, ``height``.
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

    def batches(self, planner: type[StackPlanner], of: int = 1) -> list[int]:
        """Batches to try: the one that is given, or multiples of ``of`` that make about equal batches of the steps."""
        if "batch" in self.options:
            return [self.options["batch"]]
        equal = {-(-self.steps // count) for count in range(1, self.steps + 1)}
        tried = {batch for batch in equal if batch <= FINE_BATCH} | {1 << n for n in range(LARGEST_BATCH.bit_length())}
        multiples = {-(-batch // of) * of for batch in tried if batch <= max(self.steps, of)}
        return sorted({max(planner.least_batch, batch) for batch in multiples})

    def amounts(self, name: str, make: Callable[[int], object], most: int, none: bool) -> list[int]:
        """Amounts of an option to try: what is given, or the most that fits, beside none at all."""
        if name in self.options:
            return [self.options[name]]
        low, high, middle = 0, most, 0  # low fits or is 0, nothing above high does
        while low < high:
            try:
                make(middle)
                low = middle
            except ConfigError:
                high = max(0, middle - 1)
            middle = (low + high + 1) // 2
        return sorted({0, low} if none else {low})


def _one_a_sequence(sequences):
    return (sequences,)


def _one(*contexts):
    """Contexts for a single sequence."""
    return lambda sequences: contexts if sequences == 1 else ()


def _nothing(ask, config):
    return ({},)


@dataclass(frozen=True)
class Schedule:
    """A kind of schedule.

    Parameters
    ----------
    doc : str
        What it does, in a line.
    planner : type of StackPlanner
        Made of a Network, an EngineConfig and options.
    options : tuple of str
        Keys that it takes.
    contexts : callable (sequences) -> iterable of int
        K that an engine may have for so many sequences; none if the schedule is not for so many.
    sequences : callable (contexts) -> int
        How many sequences a run takes on so many contexts where nobody says it.
    choices : callable (Request, EngineConfig) -> iterable of dict
        Options to try on an engine whose memories are as deep as can be, apart from the weight buffer.
    groups : bool
        The planner is told in how many groups, as many sequences as contexts each, a run goes through its sequences.
    streams : bool
        Weights come from memory during a run.
    ranked : bool
        The best choice is the first: those behind it are only tried if its engine does not fit.
    pruned : bool
        ``auto`` tries it for models many of whose weights are zero, or that leave out groups of h, or where the
        decoder that it needs is given.
    fields : dict
        Fields of EngineConfig that it needs, where nobody gives others.
    """

    doc: str
    planner: type[StackPlanner]
    options: tuple[str, ...] = ()
    contexts: Callable[[int], Iterable[int]] = _one_a_sequence
    sequences: Callable[[int], int] = int
    choices: Callable[[Request, EngineConfig], Iterable[dict]] = _nothing
    groups: bool = False
    streams: bool = True
    ranked: bool = False
    pruned: bool = False
    fields: dict = field(default_factory=dict)

    def possible(self, sequences: int) -> list[int]:
        """Contexts that an engine may have for so many sequences, and can have."""
        return [contexts for contexts in self.contexts(sequences) if contexts <= MAX_CONTEXTS]

    def tried(self, network: Network, fields: dict) -> bool:
        """Whether ``auto`` tries it for such a model, on engines of which such fields are given."""
        decodes = self.planner.decodes and fields.get("decoder", "off") != "off"
        pruned = network.pruned or bool(network.sparse_h) or decodes
        return not self.planner.refuses(network) and (pruned or not self.pruned)

    def plan(self, ask: Request, network: Network, config: EngineConfig, **options: Any) -> StackPlanner:
        """The planner of a network, which need not be the one that is asked about, on an engine."""
        groups = {"groups": ask.sequences // config.contexts} if self.groups else {}
        return self.planner(network, config, **groups, **options)


@lru_cache(maxsize=256)
def _best_batch(network, config, steps, memory, given):
    """The options that :func:`.plan_batch` chooses. A shape is asked for again where another one did not fit."""
    planner = plan_batch(network, config, steps, memory=memory, **dict(given)).planner
    return {"batch": planner.batch, "case": planner.case, "pinned": planner.pinned}


def _sbe_choices(ask, config):
    """The best by the model, then of smaller batches, whose sums take less room."""
    given = {name: ask.options[name] for name in ("batch", "case", "pinned") if name in ask.options}

    def best(**given):
        return dict(_best_batch(ask.network, config, ask.steps, ask.memory(config), tuple(given.items())))

    first = best(**given)
    yield first
    smaller = [batch for batch in ask.batches(BatchPlanner) if 1 < batch < first["batch"]]  # none of one that is given
    for batch in sorted(smaller, reverse=True)[:SMALLER_TRIED]:
        try:
            found = best(**given, batch=batch)
        except ConfigError:
            continue
        yield found


def _cheapest(make, cost, choices):
    """Options that a planner can be made of, the cheapest first; why not the first ones, if there are none."""
    found, refused = [], None
    for options in choices:
        try:
            planner = make(**options)
        except ConfigError as error:
            refused = refused or error
            continue
        found.append((cost(planner), options))
    if not found:
        raise refused
    return [options for _, options in sorted(found, key=lambda choice: (choice[0], *choice[1].values()))]


def _gather_sbe_choices(ask, config):
    """By what the lanes or the port need at least, then the smaller batch."""
    beats = config.beats_per_word * ask.memory(config).interval
    cases = [ask.options["case"]] if "case" in ask.options else CASES
    pinned = ask.options.get("pinned", 1)
    return _cheapest(
        partial(GatherBatchPlanner, ask.network, config),
        lambda planner: max(planner.columns(ask.steps), planner.words_read(ask.steps) * beats),
        [{"batch": b, "case": case, "pinned": pinned} for b, case in product(ask.batches(GatherBatchPlanner), cases)],
    )


def _gather_sacc_choices(ask, config):
    """By what the lanes or the port need at least of W_x, and of W_h, then the smaller batch."""
    tried = [ask.options["height"]] if "height" in ask.options else [1]
    if "height" not in ask.options and config.window:  # else the planner tells why
        tried = sorted({height for shape in ask.network.recurrent for height in heights(shape, config)})
    interval = ask.memory(config).interval
    return _cheapest(
        partial(GatherSaccPlanner, ask.network, config),
        lambda planner: planner.cycles(ask.steps, interval),
        [{"batch": batch, "height": height} for batch, height in product(ask.batches(GatherBatchPlanner), tried)],
    )


def _sacc_choices(ask, config):
    batches = [1] if "batch" not in ask.options else []
    blocks = max(layer.blocks(config.rows) for layer in ask.network.recurrent)
    for batch in [*batches, *ask.batches(SaccPlanner, 2 if batches else 1)]:
        make = partial(SaccPlanner, ask.network, config, batch)
        for pinned in ask.amounts("pinned", make, blocks, none=True):
            yield {"batch": batch, "pinned": pinned}


def _conventional_choices(ask, config):
    make = partial(ConventionalPlanner, ask.network, config)
    return ({"pinned": pinned} for pinned in ask.amounts("pinned", make, ask.hidden - 1, none=True))


def _row_window_choices(ask, config):
    make = partial(RowWindowPlanner, ask.network, config)
    blocks = max(layer.blocks(config.rows) for layer in ask.network.recurrent)
    return ({"window": window} for window in ask.amounts("window", make, blocks, none=False))


def _compressed_choices(ask, config):
    return ({"batch": batch} for batch in ask.batches(CompressedPlanner))


def _compressed_sacc_choices(ask, config):
    return ({"batch": batch} for batch in ask.batches(CompressedSaccPlanner, 2))


def _fusion_choices(ask, config):
    return ({"batch": batch} for batch in ask.batches(FusionPlanner, config.contexts))


_GATHER_SBE = Schedule(
    "as sbe, of pruned models: weights stream, and are multiplied, without their zeros",
    GatherBatchPlanner,
    ("batch", "case", "pinned"),
    choices=_gather_sbe_choices,
    ranked=True,
    pruned=True,
    fields={"window": WINDOWS[-1]},
)
_COMPRESSED = Schedule(
    "as fusion, with weights that stream in the form of engine.decoder",
    CompressedPlanner,
    ("batch",),
    contexts=_one(1),
    sequences=lambda contexts: 1,
    choices=_compressed_choices,
    pruned=True,
    fields={"decoder": "bitmap", "axi_ports": 1},
)

SCHEDULES = {
    "resident": Schedule("all weights stay on chip and are loaded once", ResidentPlanner, streams=False),
    "delta": Schedule(
        "for models with [delta] thresholds: all weights stay on chip, and the columns of what did not change are left "
        "out",
        DeltaPlanner,
        contexts=_one(1),
        streams=False,
    ),
    "delta_columns": Schedule(
        "for models with [delta] thresholds: of what changed, columns are read from memory",
        ColumnPlanner,
        contexts=_one(1),
        fields={"list_loads": True},
    ),
    "gather": Schedule(
        "for pruned models: all weights stay on chip without their zeros, and lanes pick their operands from windows",
        GatherPlanner,
        streams=False,
        pruned=True,
        fields={"window": WINDOWS[-1]},
    ),
    "sbe": Schedule(
        "W_x is fetched once for a batch of time steps; W_h stays on chip (case 1), is held for the batch (2) or "
        "streams in part (3)",
        BatchPlanner,
        ("batch", "case", "pinned"),
        choices=_sbe_choices,
        ranked=True,
    ),
    "gather_sbe": _GATHER_SBE,
    "gather_sacc": replace(
        _GATHER_SBE,
        doc="as gather_sbe; W_h streams but for its diagonal, and serves two time steps as in sacc",
        planner=GatherSaccPlanner,
        options=("batch", "height"),
        choices=_gather_sacc_choices,
    ),
    "rowblock": Schedule(
        "every weight is fetched once a time step and serves all sequences",
        RowBlockPlanner,
        contexts=lambda sequences: [k for k in range(MAX_CONTEXTS, 1, -1) if sequences % k == 0],
        groups=True,
    ),
    "conventional": Schedule(
        "every weight is fetched once a time step for one sequence; pinned columns of W_h stay on chip",
        ConventionalPlanner,
        ("pinned",),
        contexts=_one(*range(1, MAX_CONTEXTS + 1)),
        sequences=lambda contexts: 1,
        choices=_conventional_choices,
    ),
    "sacc": Schedule(
        "every fetched weight of W_h serves two time steps, of W_x a batch of them; pinned row blocks stay on chip",
        SaccPlanner,
        ("batch", "pinned"),
        contexts=lambda sequences: (2 * sequences,),
        sequences=lambda contexts: max(1, contexts // 2),
        choices=_sacc_choices,
    ),
    "row_window": Schedule(
        "a window of rows of W_h stays on chip and serves two time steps",
        RowWindowPlanner,
        ("window",),
        contexts=_one(2),
        sequences=lambda contexts: 1,
        choices=_row_window_choices,
    ),
    "fusion": Schedule(
        "products of x for a batch of steps are formed while W_h streams for the steps before it",
        FusionPlanner,
        ("batch",),
        contexts=_one(*sorted(range(2, MAX_CONTEXTS + 1), key=lambda contexts: (contexts & contexts - 1, contexts))),
        sequences=lambda contexts: 1,
        choices=_fusion_choices,
    ),
    "compressed": _COMPRESSED,
    "compressed_sacc": replace(
        _COMPRESSED,
        doc="as compressed: every segment of W_h serves two time steps",
        planner=CompressedSaccPlanner,
        choices=_compressed_sacc_choices,
    ),
}
"""Schedules by the name that users write."""
OPTIONS = tuple(dict.fromkeys(option for schedule in SCHEDULES.values() for option in schedule.options))
"""Options that some schedule takes."""
