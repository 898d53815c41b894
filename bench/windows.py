"""Rows of :mod:`bench.sparse` on pruned weights: lanes that pick their operands from windows, by the cycle model.

A layer of as many inputs as units is pruned by each pattern, from random normal weights, to about 87.5 %: 1,500 columns
have no banks of which an eighth is a whole number, so there 6 of 50 stay. Weights stay on chip, or stream under
blocking-batching, with and without their zeros.

Published is the effective rate of BBS (Cao et al., FPGA 2019; batch 1, 87.5 %), to which ours is put in both readings:
all operations of the layer as it was before pruning, or those on weights that are not zero.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from lstm_hw.errors import ConfigError
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.plan.gather import GatherPlanner
from lstm_hw.plan.gather_batch import GatherBatchPlanner
from lstm_hw.plan.gather_sacc import GatherSaccPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.prune.patterns import BankBalanced, ColumnBalanced, LoadBalanced, NOfM, RowBalanced, Unstructured

from .table import Row

CLOCK_MHZ = 200
"""That of BBS; ours is what a rate is told at, not what anything was built for."""
BBS_GOPS = 750.9
SPARSITY = 0.875
STEPS = 16
"""A run of so many steps is taken off one of three times as many."""
LATENCY, PORT_BITS = 40, 1024
"""Cycles and bits of the memory that weights stream from."""
STREAM_WORDS = 1 << 15
PINNED = {"pruned": 65, "dense": 16}
"""Columns of W_x at least that hide the tail of the step before: two windows, or columns enough."""
SMALL = {64: (3072, 8), 512: (512, 2)}
"""Lanes -> words of a buffer in which W_h of 1,024 units does not fit, and row blocks of a group of SACC's halves."""
STACK = 64, 8, 4096, 8, 256
"""Of two layers in one run: lanes, batch, words of the buffer, row blocks of a group, and bits of the port."""
FIELDS = {
    "accumulators": 2048,
    "finish_entries": 128,
    "states": 1 << 13,
    "h_elements": 1 << 14,
    "x_elements": 1 << 15,
    "program_length": 512,
}


@dataclass(frozen=True)
class Shape:
    """Rows and contexts of an engine, and its cells."""

    rows: int
    contexts: int = 1
    cells: int = 5

    def __str__(self):
        lanes = f"{self.rows * self.contexts} lanes"
        return lanes if self.contexts == 1 else f"{lanes}, {self.contexts} sequences"


def shapes(units):
    """Engines of 64 lanes and of about 512. Lanes whose row a layer does not have form no products: 6,000 rows take 12
    blocks of 512, so there are engines beside that take them evenly."""
    even = [Shape(500), Shape(128, 4)] if units % 512 else []
    return [Shape(64), Shape(512), *even]


def patterns(units, lanes):
    """Name -> pattern; those that are not for windows too where lanes divide the rows."""
    balanced = (NOfM(1, 8), BankBalanced(64, 8)) if units % 64 == 0 else (NOfM(3, 25), BankBalanced(50, 6))
    others = {
        "row_balanced": RowBalanced(SPARSITY),
        "column_balanced of a part a lane": ColumnBalanced(lanes, SPARSITY),
        "load_balanced of a part a lane": LoadBalanced(lanes, SPARSITY),
        "unstructured": Unstructured(SPARSITY),
    }
    return {str(pattern): pattern for pattern in balanced} | (others if 4 * units % 512 == 0 else {})


@lru_cache(maxsize=4)
def pruned(pattern, units, seed=0, layers=1):
    """Layers, as a planner sees them, all of whose matrices are pruned."""
    rng, shapes = np.random.default_rng(seed), []
    for _ in range(layers):
        used = tuple(pattern.mask(rng.standard_normal((4 * units, units), dtype=np.float32)) for _ in "xh")
        shapes.append(LayerShape("lstm", units, units, 15, used=used))
    return Network(tuple(shapes))


def engine(shape, **fields):
    per_beat = max(2, shape.contexts)
    return EngineConfig(shape.rows, shape.contexts, cells=shape.cells, x_per_beat=per_beat, **FIELDS | fields)


def rows_of(name, plan, network, memory=None, bbs=False):
    """Rows of a plan: cycles and bytes of a step, and what lanes do in them."""
    config, source = plan.config, "cycle model"
    short, long = (count_cycles(plan, count, memory=memory) for count in (STEPS, 3 * STEPS))
    cycles, beats = ((getattr(long, n) - getattr(short, n)) / (2 * STEPS) for n in ("cycles", "read_beats"))
    layers, sequences = network.layers, plan.sequences
    matrices, macs = sum(used.sum() for layer in layers for used in layer.used), sum(layer.macs for layer in layers)
    rows = sum(layer.blocks(config.rows) * config.rows * layer.columns for layer in layers)
    kept = sum(tile.words for tile in plan.image.tiles if tile.part != "bias") * config.rows
    rate = 2 * sequences * CLOCK_MHZ / 1000 / cycles
    published, beside = (BBS_GOPS, f"{source} at {CLOCK_MHZ} MHz; BBS, an FPGA, batch 1") if bbs else (None, source)
    return [
        Row("sparsity", name, 1 - float(matrices) / macs, "of the weights", None, "mask"),
        Row("lanes_with_a_row", name, macs / rows, "of lane-cycles", None, "the most that utilisation can be"),
        Row("cycles_per_step", name, cycles, "cycles", None, source),
        Row("bytes_per_step", name, beats * config.beat_bytes, "bytes", None, source),
        Row(
            "utilisation_on_nonzeros",
            name,
            float(matrices * sequences / (cycles * config.lanes)),
            "of lane-cycles",
            None,
            source,
        ),
        Row("padding", name, float(kept / matrices - 1), "zeros a non-zero", None, "weight image"),
        Row("effective_gops", f"{name}/before pruning", float(macs * rate), "GOPS", published, beside),
        Row("effective_gops", f"{name}/on non-zeros", float(matrices * rate), "GOPS", published, beside),
    ]


def resident_rows(units=(1024, 1500), shapes_of=shapes, patterns_of=patterns):
    """Rows of layers whose weights stay on chip."""
    result = []
    for n in units:
        for shape in shapes_of(n):
            for name, pattern in patterns_of(n, shape.rows).items():
                network = pruned(pattern, n)
                plan = GatherPlanner(network, engine(shape, window=64, weight_words=1 << 18)).plan()
                where = f"patterns/LSTM {n}/{n}, {shape}/{name}"
                result += rows_of(where, plan, network, bbs=shape.contexts == 1 and "kept" in name)
    return result


def streamed_rows(units=(1024, 1500), shapes_of=shapes, batch=16, port_bits=PORT_BITS, pinned=MappingProxyType(PINNED)):
    """Rows of blocking-batching: W_h held for the batch or on chip, with zeros and without."""
    result, memory = [], MemoryModel(LATENCY)
    for n in units:
        pattern = next(p for name, p in patterns(n, 1).items() if isinstance(p, BankBalanced))
        network = pruned(pattern, n)
        for shape in shapes_of(n):
            fields = {"axi_data_bits": port_bits, "weight_words": STREAM_WORDS}
            for case, home in ((1, "W_h on chip"), (2, "W_h held for the batch")):
                where = f"sbe/LSTM {n}/{n}, {shape}, batch {batch}, {home}"
                sparse = GatherBatchPlanner(
                    network, engine(shape, window=64, **fields), batch, pinned["pruned"], case
                ).plan()
                result += rows_of(f"{where}/pruned", sparse, network, memory)
                dense = BatchPlanner(
                    network, engine(shape, **fields | {"weight_words": 1 << 18}), batch, pinned["dense"], case
                ).plan()
                result += rows_of(f"{where}/dense", dense, network, memory)
    return result


def halved_rows(units=1024, lanes=None, batch=16, ports=(256, PORT_BITS), kept=8, bank=64, pinned=PINNED["pruned"]):
    """Rows of W_h that does not fit the chip: it streams at every step, or half of it, as its words serve two steps.

    SACC with zeros has two contexts on as many lanes, a buffer of as many bits, and on chip what fits of W_h; there is
    none on a port that is wider than a word.
    """
    result, memory = [], MemoryModel(LATENCY)
    network = pruned(BankBalanced(bank, kept), units)
    for rows, (words, height) in (lanes or SMALL).items():
        for port_bits in ports:
            fields = {"axi_data_bits": port_bits, "weight_words": words, "window": 64}
            config = engine(Shape(rows), **fields)
            layer = f"LSTM {units}/{units}, {rows} lanes, batch {batch}, {port_bits}-bit port, W_h streams"
            plan = GatherBatchPlanner(network, config, batch, pinned, 3).plan()
            result += rows_of(f"sbe/{layer}/pruned", plan, network, memory)
            plan = GatherSaccPlanner(network, config, batch, height).plan()
            result += rows_of(f"sacc/{layer}/pruned", plan, network, memory)
            word_bits = rows // 2 * config.weight_bits
            if port_bits <= word_bits:
                fields |= {"weight_words": words * config.word_bits // word_bits, "window": 0}
                plan = _dense_sacc(network, engine(Shape(rows // 2, 2), **fields), batch)
                result += rows_of(f"sacc/{layer}/dense", plan, network, memory)
    return result


def stacked_rows(units=1024, lanes=STACK, kept=8, bank=64, pinned=PINNED["pruned"]):
    """Rows of two layers in one run beside one of them on the same engine: W_h streams, or stays in a larger buffer."""
    result, memory = [], MemoryModel(LATENCY)
    rows, batch, words, height, port_bits = lanes
    config = engine(Shape(rows), axi_data_bits=port_bits, weight_words=words, window=64)
    for layers in (1, 2):
        network = pruned(BankBalanced(bank, kept), units, layers=layers)
        where = f"{rows} lanes, batch {batch}, {port_bits}-bit port, {layers} in a run"
        fields = {"shifts": (15,) * layers}
        plan = GatherSaccPlanner(network, replace(config, **fields), batch, height).plan()
        result += rows_of(f"sacc/LSTM {units}/{units}, {where}/pruned", plan, network, memory)
        fields["weight_words"] = STREAM_WORDS
        plan = GatherBatchPlanner(network, replace(config, **fields), batch, pinned, 1).plan()
        result += rows_of(f"sbe/LSTM {units}/{units}, {where}, W_h on chip/pruned", plan, network, memory)
    return result


def _dense_sacc(network, config, batch):
    """SACC with as many row blocks of W_h on chip as fit."""
    for pinned in reversed(range(network.layers[0].blocks(config.rows))):
        try:
            return SaccPlanner(network, config, batch, pinned).plan()
        except ConfigError as error:
            refused = error
    raise refused
