"""Performance of blocking-batching: the published equations, and which case and batch to take.

Que et al., "Efficient Weight Reuse for Large LSTMs", ASAP 2019. Rates are in operations a cycle (a
product and its sum are two operations), so that they hold at any clock. With K sequences side by
side a weight from memory serves K products at once: N_t has a factor K, B stays the time steps of
a batch.
"""

from dataclasses import dataclass
from itertools import product

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.latency import FINISH_DELAY, CellLatency
from ..machine.limits import GATES, SERIAL_SLOTS
from ..machine.network import LayerShape, Network
from ..machine.plan import Plan
from ..proof.count import count_cycles
from ..proof.load_timing import MemoryModel
from ..proof.timing import Counters
from .sbe import CASES, BatchPlanner, h_tiles

PINNED = 4
"""Pinned columns are tried in that many parts of what hides the whole tail."""
CLOSE = 0.02
"""A choice is good enough when no other can be faster by more than this share."""


def operations(layer: LayerShape) -> int:
    """M_op = 8 Lh (Lx + Lh): operations of a time step of one sequence."""
    return 2 * layer.macs


def peak_rate(config: EngineConfig) -> int:
    """N_pe: operations a cycle that all lanes make."""
    return 2 * config.lanes


def stream_rate(config: EngineConfig, memory: MemoryModel) -> float:
    """N_t: operations a cycle that the weight stream feeds when every weight is used once (by K sequences)."""
    return peak_rate(config) / (config.beats_per_word * memory.interval)


def knee(config: EngineConfig, memory: MemoryModel) -> float:
    """N_pe / N_t: the batch from which on memory keeps up; the cycles in which a word of weights arrives."""
    return peak_rate(config) / stream_rate(config, memory)


def alpha(layer: LayerShape, resident_bytes: float, weight_bits: int) -> float:
    """Share of the operations whose weights are fetched once a batch (or never again): W_x, and R bytes of W_h.

    (4 Lh Lx b + R) / (4 Lh (Lx + Lh) b), with b bytes a weight. It is 1 in cases 1 and 2.
    """
    weight = weight_bits / 8
    return min(1.0, (layer.matrix_rows * layer.inputs * weight + resident_bytes) / (layer.macs * weight))


def throughput(n_pe: float, n_t: float, batch: float, share: float = 1.0) -> float:
    """P, operations a cycle: equations (5) and (6) of case 3, and with a share of 1 (2) and (3) of cases 1 and 2.

    The parts follow one another: the share alpha at min(N_pe, B N_t), the rest at N_t.

    - B >= N_pe / N_t: P = N_pe N_t / (alpha N_t + (1 - alpha) N_pe)    (5); N_pe (2)
    - otherwise:       P = B N_t / (alpha + (1 - alpha) B)              (6); B N_t (3)

    Parameters
    ----------
    n_pe, n_t : float
        Operations a cycle of the lanes and of the stream; a stream faster than the lanes counts as one as fast.
    batch : int
        B.
    share : float
        alpha.
    """
    n_t = min(n_pe, n_t)
    if batch >= n_pe / n_t:
        return n_pe * n_t / (share * n_t + (1 - share) * n_pe)
    return batch * n_t / (share + (1 - share) * batch)


def tail_columns(layer: LayerShape, config: EngineConfig) -> int:
    """Pinned columns behind which the cell unit's work on the step before hides; at least one.

    Row block b is finished with slot b of a step's last MAC. Its units follow one another in the cell unit, K
    contexts each; the new h must be there when the next step's W_h columns, behind the pinned ones, read it.
    """
    blocks, units = layer.blocks(config.rows), layer.units(config.rows)
    per_unit = SERIAL_SLOTS * config.contexts / config.cells / (1 if layer.is_cell else GATES)
    cell = CellLatency(config)
    latency = FINISH_DELAY + SERIAL_SLOTS + cell.total + cell.token
    tiles = h_tiles(layer, config)
    if not tiles:
        return 1  # nothing waits for h
    finished = [(slot + 1 - blocks) * tiles[-1][1] for slot in range(blocks)]  # 0: the step's last MAC ends
    need = 1
    for first, columns in tiles:
        for column in (first, first + columns - 1):
            block = column // units
            ready = latency + max(
                cycle + (column + 1 - b * units) * per_unit for b, cycle in enumerate(finished[: block + 1])
            )
            need = max(need, ready - blocks * first - (column - first))
    return -int(-need // blocks)


def bound(planner: BatchPlanner, memory: MemoryModel, steps: int) -> int:
    """Cycles that no run of a planner can beat.

    All words through the lanes and, where too few columns are pinned, the wait for h from step to step of a batch; or
    all beats through the port.
    """
    config, network, lanes = planner.config, planner.network, 0
    for shape in network.layers:
        columns = shape.columns + sum(count for _, count in shape.bias_columns)
        lanes += shape.blocks(config.rows) * columns * (steps if shape.is_recurrent or network.head_every_step else 1)
    for layer in planner.layers:
        if not layer.layer.is_cell:
            continue  # its outputs may be there sooner
        # tail_columns rounds up to whole columns and to the slot in which the cell unit takes a unit.
        wait = layer.blocks * (tail_columns(layer.layer, config) - 1 - layer.pinned) - SERIAL_SLOTS
        lanes += (steps - -(-steps // planner.batch)) * max(0, wait)
    return max(lanes, planner.words_read(steps) * config.beats_per_word * memory.interval)


@dataclass(frozen=True)
class Choice:
    """A planner with its plan, its cycles and why it was taken."""

    planner: BatchPlanner
    plan: Plan
    counters: Counters
    reason: str


def plan_batch(
    network: Network,
    config: EngineConfig,
    steps: int,
    batch: int | None = None,
    case: int | str = "auto",
    pinned: int | tuple[int, ...] | None = None,
    memory: MemoryModel | None = None,
) -> Choice:
    """Choose how W_h lives, the batch and the pinned columns; whatever is given is taken as it is.

    Candidates are tried in the order of :func:`bound` until none that is left can be faster by more than 2 %; the one
    with the fewest cycles by the model of every cycle (:func:`.count_cycles`) is taken.

    Parameters
    ----------
    network : Network
    config : EngineConfig
        Buffers, lanes, K.
    steps : int
    batch : int, optional
        B; otherwise any by which ``steps`` make equal batches, but for a shorter last one.
    case : {"auto", 1, 2, 3}
    pinned : int or tuple of int, optional
        Otherwise as many as hide the cell unit's tail, or fewer where room is short.
    memory : MemoryModel, optional
        Bandwidth and latency.

    Returns
    -------
    Choice

    Raises
    ------
    ConfigError
        Nothing fits; the message is that of the candidate that needs least.
    """
    memory = memory or MemoryModel()
    batches = [batch] if batch else sorted({-(-steps // count) for count in range(1, steps + 1)}, reverse=True)
    tails = [(tail_columns(layer, config), layer.inputs) for layer in network.recurrent]
    shares = (tuple(max(1, min(tail * n // PINNED, most)) for tail, most in tails) for n in range(PINNED, -1, -1))
    columns = [pinned] if pinned else list(dict.fromkeys(shares))
    candidates, refused = [], {}
    for number in CASES if case == "auto" else [case]:
        small = set()  # pinned columns for which the weight buffer is too small, whatever the batch
        for b, count in product(batches, columns):
            if count not in small:
                try:
                    planner = BatchPlanner(network, config, b, count, number)
                    candidates.append((bound(planner, memory, steps), planner.words_read(steps), planner))
                except ConfigError as error:
                    refused[number] = error
                    small |= {count} if error.subject == "engine.weight_words" else set()
    if not candidates:
        raise list(refused.values())[-1]
    refused = {number: error for number, error in refused.items() if all(p.case != number for _, _, p in candidates)}
    best = None
    for least, _, planner in sorted(candidates, key=lambda c: c[:2]):
        if best and least >= (1 - CLOSE) * best[0].cycles:
            break
        plan = planner.plan()
        counters = count_cycles(plan, steps, memory=memory)
        if best is None or counters.cycles < best[0].cycles:
            best = counters, planner, plan
    counters, planner, plan = best
    return Choice(planner, plan, counters, _reason(planner, counters, memory, steps, refused))


def _reason(planner, counters, memory, steps, refused):
    """One line: what stays on chip, what memory can do, and what comes out."""
    config, network = planner.config, planner.network
    kept = sum(tile.columns for layer in planner.layers for tile in layer.resident if tile.part == "h")
    hidden = sum(layer.outputs for layer in network.recurrent)
    home = {
        1: "W_h stays on chip",
        2: "W_h streams once a batch and is held for it",
        3: f"{kept} of {hidden} columns of W_h stay on chip, the others stream at every step",
    }[planner.case]
    share = network.macs(steps) * config.contexts / (counters.cycles * config.lanes)
    words = [
        f"case {planner.case}, B = {planner.batch}, {planner.pinned} pinned columns of W_x: {home}",
        f"a word arrives in {knee(config, memory):g} cycles",
        f"{100 * share:.1f} % of lane-cycles",
    ]
    words += [f"case {number} does not fit ({error})" for number, error in refused.items()]
    return "; ".join(words)
