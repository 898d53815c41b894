"""A layer on an engine with weights in memory, run in Verilog: what the benches of blocking-batching share.

The emitted Verilog runs under Verilator on a memory model of stated latency and bandwidth; outputs must equal the
integer reference and counters the estimate.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from lstm_hw.machine.config import EngineConfig
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.plan.sbe_model import tail_columns
from lstm_hw.plan.sizing import accumulator_bits, engine_formats, network_of, whole_blocks
from lstm_hw.proof.load_timing import MemoryModel

from .verilog import play
from .workloads import random_model

RING_WORDS = 512
"""Least room for streamed words beside what stays on chip, where a case does not say how deep the weight buffer is."""


@dataclass(frozen=True)
class Case:
    """A planner's settings, the engine and the memory that it meets.

    Parameters
    ----------
    name : str
    engine : dict
        Fields of EngineConfig; memories that are not given are as deep as the case needs.
    batch, home : int
        See BatchPlanner; ``home`` is how W_h lives, its case 1, 2 or 3.
    memory : MemoryModel
    """

    name: str
    engine: dict
    batch: int
    home: int = 1
    memory: MemoryModel = MemoryModel(latency=40)


_model = lru_cache(maxsize=4)(random_model)


def prepared(case, layer, activation="pwl"):
    """Model, planner and inputs of a case; the cell unit's tail hides behind pinned columns.

    Returns
    -------
    QuantModel, BatchPlanner, int array (K, steps, Lx)
    """
    contexts = case.engine["contexts"]
    model, x = _model(layer, contexts, activation)
    network = network_of(model)
    per_beat = case.engine["x_per_beat"]
    fields = {
        **engine_formats(model),
        "accumulator_bits": accumulator_bits(network, 16),
        "shifts": tuple(shape.shift for shape in network.layers),
        "h_elements": layer.hidden,
        "states": layer.hidden * contexts,
        "accumulators": 1 + case.batch * network.layers[0].blocks(case.engine["rows"]),
        "x_elements": case.batch * -(-layer.input // per_beat) * per_beat,
        "weight_words": 1 << 16,
    }
    config = EngineConfig(**fields | case.engine)
    pinned = tail_columns(network.layers[0], config)
    planner = BatchPlanner(network, config, case.batch, pinned, case.home)
    if "weight_words" not in case.engine:
        config = replace(config, weight_words=whole_blocks(planner.resident + RING_WORDS))
        planner = BatchPlanner(network, config, case.batch, pinned, case.home)
    return model, planner, x


def measure(case, layer, folder):
    """Prove, estimate and simulate a case; returns its plan and the counters that the Verilog gave.

    Raises
    ------
    ProgramError, VerificationError
        The program is not proved, or Verilog, interpreter and reference differ.
    """
    model, planner, x = prepared(case, layer)
    plan = planner.plan()
    return plan, play(case.name, model, plan, x, case.memory, folder)
