"""What an engine takes at the least, before anything is planned: what cannot be among the best is not looked at.

Of time: products for the lanes, words for the ports, units for the cells. Of resources: those of the shape with the
least of every memory, where memory that may become block RAM takes no LUTs. Tests compare each with what planned
engines take.
"""

from collections import Counter
from dataclasses import replace
from functools import cache

from ..machine.config import EngineConfig
from ..machine.limits import BLOCK_DEPTH, LEAST_REGISTER_BITS, SERIAL_SLOTS
from ..machine.network import LayerShape, Network
from ..machine.parts import Part, Usage
from ..plan.resident_layer import may_split
from ..plan.resources import estimate, mapped, memories
from ..plan.schedules import SCHEDULES
from ..plan.sizing import ample_engine, whole_blocks
from ..plan.target import LEAST
from ..proof.energy import Events, energy
from .objectives import OBJECTIVES, cost
from .space import Candidate, Numbers, Place

OTHER = {
    "h_elements": 1 << 10,
    "x_elements": 1 << 10,
    "states": 1 << 10,
    "accumulators": 1 << 8,
    "finish_entries": 1 << 8,
    "program_length": 1 << 9,
}
"""Depths unlike those of ``LEAST``: memories that are the same with both follow from the shape alone."""


def words_of(network: Network, rows: int, part: str = "", split: int = 1) -> int:
    """Words of all weights, without bias; or of W_x or W_h of the recurrent layers, ``x`` or ``h``."""
    columns = {"x": lambda layer: layer.inputs, "h": lambda layer: layer.columns - layer.inputs}
    if not part:
        return sum(columns_of(layer, rows, split) for layer in network.layers)
    return sum(layer.blocks(rows) * columns[part](layer) for layer in network.recurrent)


def columns_of(layer: LayerShape, rows: int, split: int) -> int:
    """Columns of all row blocks of a layer, where those of the last one may be split over parts of the lanes."""
    left = layer.columns if split == 1 or not may_split(layer, rows, split) else -(-layer.columns // split)
    return (layer.blocks(rows) - 1) * layer.columns + left


def columns_at_least(
    schedule: str, network: Network, rows: int, contexts: int, steps: int, sequences: int, split: int = 1
) -> int:
    """Cycles in which the lanes form products: each is for a row block's column in every context."""
    if network.thresholds or network.sparse_h or SCHEDULES[schedule].pruned:
        return 0  # columns may be left out
    turns = zip(network.layers, network.steps_of(steps), strict=True)
    each = sum(columns_of(layer, rows, split) * count for layer, count in turns)
    return -(-each * sequences // contexts)


def cell_cycles(network: Network, cells: int, steps: int, sequences: int, since: int = 0) -> int:
    """Cycles that the cells need for all hidden units of a run, or for those that one of steps ``since`` has less."""
    less = network.steps_of(since) if since else [0] * len(network.layers)
    turns = zip(network.layers, network.steps_of(steps), less, strict=True)
    units = sum(layer.outputs * (long - short) for layer, long, short in turns if layer.is_cell)
    return units * sequences * SERIAL_SLOTS // cells


def words_at_least(schedule: str, network: Network, rows: int, buffer: int, steps: int) -> int:
    """Words that a run reads from memory with a buffer of so many words.

    All that is not on chip is read once a run; W_h once a step where no word of it serves two, once in two steps where
    it does.
    """
    if not SCHEDULES[schedule].streams or SCHEDULES[schedule].pruned:
        return 0  # zeros may be left out
    x, h = (words_of(network, rows, part) for part in "xh")
    once = max(0, words_of(network, rows) - buffer)
    if schedule in ("conventional", "rowblock"):
        return max(once, steps * max(x, x + h - buffer))
    if schedule == "fusion":
        return max(once, steps * h)
    if schedule in ("sacc", "row_window"):
        return max(once, steps // 2 * max(0, h - buffer))
    return once


def events_of(config: EngineConfig, columns: float, read_bytes: float) -> Events:
    """What happens in a run in which the lanes form so many columns of products.

    A column reads a word of weights and an operand of every context. Sums, c and what the cells do are not counted:
    they are the same for all engines of a model, or nearly so.
    """
    products = columns * config.lanes * config.weight_bits * config.operand_bits
    read = columns * (config.word_bits + config.contexts * config.operand_bits)
    return Events(8 * read_bytes, 8 * read_bytes, read, products)


def shares_of(usage: Usage, part: Part) -> dict[str, float]:
    """Figures of resources: shares of a part."""
    shares = {name: taken / there if there else 0.0 for name, (taken, there) in part.shares(usage).items()}
    found = {"lut": shares["LUT"], "dsp": shares["DSP"], "bram": shares["BRAM36"], "ff": shares["FF"]}
    return {"area": max(found["lut"], found["dsp"]), **found}


@cache
def _least(network, streams, fields, family):
    """The engine of a shape with the least of everything, and what it takes at the least."""
    fields = dict(fields)
    # Zeros may be left out.
    words = 1 if fields.get("window") else words_of(network, fields["rows"], split=fields.get("split", 1))
    ample = ample_engine(network, streams, **fields)
    least = {name: value for name, value in LEAST.items() if name not in ("contexts", "axi_data_bits")}
    least["x_elements"] = max(LEAST["x_elements"], ample.x_per_beat)
    # The program tells the rest.
    least |= {"streams": streams or ample.decoder != "off", "indexed": (), "register_bits": LEAST_REGISTER_BITS}
    least["weight_words"] = fields.get("weight_words", max(2, whole_blocks(words)))
    config = replace(ample, **least)
    other = replace(ample, **{**OTHER, "x_elements": OTHER["x_elements"] // ample.x_per_beat * ample.x_per_beat})
    other = replace(other, weight_words=config.weight_words)
    same = Counter(memories(config, family)) & Counter(memories(other, family))
    placed = [(count * memory.count, mapped(memory, family)) for memory, count in same.items()]
    usage = estimate(config, family)
    sure = config.weight_words >= BLOCK_DEPTH or "weight_words" in fields
    lutram = sum(count * each.lutram for count, each in placed) if sure else 0
    bram36 = sum(count * each.bram36 for count, each in placed) if sure else 0
    return config, replace(usage, lutram=lutram, bram36=bram36, ff=0)


def at_least(
    candidate: Candidate, numbers: Numbers, place: Place, steps: int, sequences: int
) -> tuple[Usage, dict[str, float]]:
    """What no plan of a candidate is below.

    Parameters
    ----------
    candidate : Candidate
    numbers : Numbers
    place : Place
    steps, sequences : int
        Of a run.

    Returns
    -------
    usage : Usage
    costs : dict of str to float
        By name of the objective, turned so that less is better; minus infinity where nothing is known.
    """
    network, schedule = numbers.network, candidate.schedule
    fields = tuple(sorted({**numbers.fields, **candidate.shape}.items()))
    config, usage = _least(network, SCHEDULES[schedule].streams, fields, place.part.family)
    columns = columns_at_least(schedule, network, config.rows, config.contexts, steps, sequences, config.split)
    words = words_at_least(schedule, network, config.rows, config.weight_words, steps)
    beats = words * config.beats_per_word * place.memory.model(config).interval
    cycles = max(columns, beats, cell_cycles(network, config.cells, steps, sequences), 1)
    latency = cycles / place.clock_mhz
    known = {
        "latency": latency,
        **shares_of(usage, place.part),
        "energy": energy(events_of(config, columns, words * config.word_bytes)) / sequences / 1000,
        "bytes": words * config.word_bytes,
        "throughput": sequences * steps / latency * 1e6,
        **numbers.figures,
    }
    return usage, {name: cost(name, known[name]) if name in known else -float("inf") for name in OBJECTIVES}
