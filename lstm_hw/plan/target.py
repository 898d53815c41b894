"""What an engine may take: a number of lanes, or a part, and which engines are tried for a schedule on it.

An engine for a target is the first of :func:`shapes` on which the schedule runs and that
:meth:`Target.check` lets pass. Where weights stream into a part, the first of :func:`deeper` that does is compared
with it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.limits import BLOCK_DEPTH, CELL_PHASES, SERIAL_SLOTS, SUM_ROWS
from ..machine.network import Network
from ..machine.parts import Part, Usage
from .resources import COEFFICIENTS, estimate_at_most

ROWS = (4, 8, *range(16, 2049, 16))
"""Numbers of rows that an engine can have."""
CELL_SHARE = 0.8
"""Most of the lanes' cycles that the cell unit may be busy for, so that it never holds them up."""
PORTS, PORT_BITS = (1, 2, 4), tuple(1 << bits for bits in range(6, 11))
"""Numbers and widths of weight ports."""
BUFFERS = (
    *(1 << bits for bits in range(15, 13, -1)),
    *range(8 * 1024, 4 * 1024, -1024),
    *range(4 * 1024, 0, -BLOCK_DEPTH),
)
"""Depths of the weight buffer that are tried where weights stream, the best first: whole block RAMs."""


@dataclass(frozen=True)
class Target:
    """What the engine has to fit.

    Parameters
    ----------
    lanes : int, optional
        Multiply-accumulate lanes at most.
    part : Part, optional
    bytes_per_cycle : float, optional
        What the memory delivers; without it nothing follows for the weight ports.

    Raises
    ------
    ConfigError
        The part is of a family that no engine is synthesised for; says what it could hold.
    """

    lanes: int | None = None
    part: Part | None = None
    bytes_per_cycle: float | None = None

    def __post_init__(self):
        if self.part is not None and self.part.family not in COEFFICIENTS:
            found = f"{self.part.name}, {_could_hold(self.part)}"
            supported = " or ".join(sorted(COEFFICIENTS))
            rule = f"must be of family {supported}: nothing is synthesised for {self.part.family}"
            raise ConfigError("target.part", found, rule)

    def divided(self, config: EngineConfig, given: dict) -> EngineConfig:
        """The engine, its accumulators divided between block RAM and LUT memory so that it fits.

        Parameters
        ----------
        config : EngineConfig
        given : dict
            Fields of EngineConfig that are taken as they are.

        Raises
        ------
        ConfigError
            It does not fit, however they are divided: what the first division lacks.
        """
        deep = config.block_sum_rows or config.finished_in_block_ram
        # All in block RAM, which costs no logic, then as many rows of each lane group as fit.
        rows = [None, *reversed(range(0, config.group_rows, SUM_ROWS))]
        choices = [replace(config, block_sums=n) for n in rows] if deep and "block_sums" not in given else [config]
        refused = None
        for choice in choices:
            try:
                self.check(choice)
                return choice
            except ConfigError as error:
                refused = refused or error
        raise refused

    def check(self, config: EngineConfig) -> None:
        """ConfigError with the numbers if an engine may take more than there is: its estimate may be too low."""
        shape = f"{config.rows} rows x {config.contexts} contexts"
        if self.lanes is not None and config.lanes > self.lanes:
            found = f"{shape} = {config.lanes} lanes"
            raise ConfigError("engine", found, f"must be at most target.lanes = {self.lanes}")
        if self.part is None:
            return
        lacking = self.part.lacking(estimate_at_most(config, self.part.family))
        if lacking:
            found = f"{shape}, {config.weight_words} weight words, take up to {', '.join(lacking)}"
            raise ConfigError("engine", found, f"must fit the {self.part.name}")


def shapes(target: Target, contexts: int, network: Network, streams: bool, given: dict) -> Iterator[dict]:
    """Fields of engines to try for a schedule, the best first: rows, contexts, and whatever else the target decides.

    The best has the fewest cycles of its lanes in a step; of those that are equal, the fewest rows. On a part, cells
    follow the lanes, and the buffer of streams is as deep as fits. Weight ports follow the memory's bandwidth.

    Parameters
    ----------
    target : Target
    contexts : int
        K that the schedule needs.
    network : Network
    streams : bool
        Weights come from memory during a run.
    given : dict
        Fields of EngineConfig that are taken as they are.

    Yields
    ------
    dict of str to int

    Raises
    ------
    ConfigError
        Not even the smallest engine with so many contexts fits.
    """
    choices = [given["rows"]] if "rows" in given else worthwhile_rows(target, contexts, network, given)
    for rows in choices:
        shape = {"contexts": contexts, "rows": rows, **worthwhile_ports(target, rows, given)}
        if target.part is None:
            yield shape
            continue
        shape["cells"] = given.get("cells", _cells(network, rows, contexts, possible_cells(given)))
        depths = [given["weight_words"]] if "weight_words" in given else BUFFERS if streams else [None]
        for depth in depths:
            tried = shape | ({"weight_words": depth} if depth and streams else {})
            if depth == depths[-1] or _may_fit(target, tried, given):
                yield tried


def deeper(target: Target, network: Network, given: dict, than: EngineConfig, columns: float) -> Iterator[dict]:
    """Shapes for a part with fewer rows but more weights on chip, of a schedule that streams: those with most first.

    Parameters
    ----------
    target, network, given
        As of :func:`shapes`.
    than : EngineConfig
        The engine to compare with; contexts are the same.
    columns : float
        Cycles a step that the lanes may take at most.
    """
    found = []
    for shape in shapes(target, than.contexts, network, True, given):
        size = shape["rows"] * shape["weight_words"]
        if size > than.rows * than.weight_words and _columns(network, shape["rows"]) <= columns:
            found.append((size, shape))
    yield from (shape for _, shape in sorted(found, key=lambda entry: -entry[0]))


def _columns(network: Network, rows: int) -> int:
    """Cycles of the lanes in a step."""
    return sum(layer.blocks(rows) * layer.columns for layer in network.layers)


def worthwhile_rows(target: Target, contexts: int, network: Network, given: dict) -> list[int]:
    """Rows that are worth trying: no others have as few cycles with fewer rows."""
    if target.lanes is not None:
        lanes, limit = target.lanes, "target.lanes"
    elif target.part is not None:
        lanes, limit = target.part.dsp * (2 if given.get("operand_bits") == 8 else 1), "target.part"
    else:
        lanes, limit = EngineConfig.rows * (contexts if "contexts" in given else 1), "engine.rows"
    possible = [rows for rows in ROWS if rows * contexts <= lanes]
    if not possible:
        found = f"{lanes} lanes for {contexts} contexts"
        raise ConfigError(limit, found, f"must be at least {ROWS[0] * contexts} for this schedule")
    if target.lanes is None and target.part is None:
        return possible[-1:]
    fewest = {}
    for rows in reversed(possible):
        fewest[_columns(network, rows)] = rows
    return [fewest[columns] for columns in sorted(fewest)]


def worthwhile_ports(target: Target, rows: int, given: dict) -> dict[str, int]:
    """The narrowest weight ports that take all that the memory delivers, or the widest; of equal ones the fewest.

    None is narrower than usual: a beat is a part of the weight buffer, and narrow parts fill block RAMs worse.
    """
    if target.bytes_per_cycle is None:
        return {}
    least = max(EngineConfig.axi_data_bits // 8, target.bytes_per_cycle)
    possible = []
    for count, bits in product(PORTS, PORT_BITS):
        ports = {"axi_ports": count, "axi_data_bits": bits}
        ports |= {name: given[name] for name in ports if name in given}
        try:
            stored = {name: given[name] for name in ("weight_bits", "window", "decoder") if name in given}
            engine = EngineConfig(rows, **stored, **ports)
        except ConfigError:
            continue
        possible.append((engine.axi_ports * engine.beat_bytes, -engine.axi_ports, ports))
    widths = {width for width, _, _ in possible}
    width = min((w for w in widths if w >= least), default=max(widths, default=0))
    return max((p for p in possible if p[0] == width), key=lambda p: p[1], default=(0, 0, {}))[2]


def possible_cells(given: Mapping[str, object]) -> list[int]:
    """Numbers of cells of an engine of which some fields are given: a parallel one stands for the most."""
    return [max(CELL_PHASES)] if given.get("parallel") else sorted(CELL_PHASES)


def _cells(network, rows, contexts, possible):
    """The fewest cells that keep up with the lanes."""
    units = contexts * sum(layer.outputs for layer in network.recurrent)
    busy = CELL_SHARE * _columns(network, rows)
    return next((cells for cells in possible if units * SERIAL_SLOTS <= busy * cells), possible[-1])


LEAST = {
    "contexts": 1,
    "weight_words": 2,
    "h_elements": 2,
    "x_elements": 2,
    "states": 2,
    "accumulators": 2,
    "finish_entries": 2,
    "axi_data_bits": 64,
}
"""An engine that has room for nothing."""


def _could_hold(part):
    """What fits a part whose family has LUTs of four inputs, by the counts for an ECP5."""
    fitting, lacking = 0, []
    for rows in ROWS:
        lacking = part.lacking(estimate_at_most(EngineConfig(rows, **LEAST), "ecp5"))
        if lacking:
            break
        fitting = rows
    shares = part.shares(Usage(0, 0, 0, 0, 0))
    holds = ", ".join(f"{round(there, 2):g} {name}" for name, (_, there) in shares.items())
    most = f"an engine of {fitting} lanes" if fitting else "no engine"
    return (
        f"with {holds}, where {most} would fit by the counts for an ECP5 ({rows} lanes take up to {', '.join(lacking)})"
    )


def _may_fit(target, shape, given):
    """Whether the engine fits that has this shape and the least of everything else."""
    fields = {name: least for name, least in LEAST.items() if name != "weight_words"}
    per_beat = given.get("x_per_beat", 1 << (shape["contexts"] - 1).bit_length())
    fields |= {"x_elements": max(LEAST["x_elements"], per_beat), "x_per_beat": per_beat}
    try:
        target.check(EngineConfig(**{**fields, **given, **shape}))
    except ConfigError:
        return False
    return True
