"""A layer on an engine with weights in memory, run in Verilog: what the benches of blocking-batching share.

The emitted Verilog runs under Verilator on a memory model of stated latency and bandwidth; outputs must equal the
integer reference and counters the estimate.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from lstm_hw.cli import progress
from lstm_hw.config import EngineConfig
from lstm_hw.emit import write_verilog
from lstm_hw.errors import VerificationError
from lstm_hw.gateware.top import Top
from lstm_hw.image.pack import pack, to_bytes
from lstm_hw.model.reference import integer_reference
from lstm_hw.plan.checker import check
from lstm_hw.plan.interpreter import Interpreter
from lstm_hw.plan.load_timing import MemoryModel
from lstm_hw.plan.sbe import BatchPlanner, tail_columns
from lstm_hw.plan.sizing import accumulator_bits, engine_formats, network_of
from lstm_hw.scenario import Run, Scenario, pack_beats
from sim.scale import run_scale

from .workloads import random_model

RING_WORDS = 1024
"""Room for streamed words beside what stays on chip, where a case does not say how deep the weight buffer is."""


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
        **engine_formats(model), "accumulator_bits": accumulator_bits(network, 16),
        "shifts": tuple(shape.shift for shape in network.layers),
        "h_elements": layer.hidden, "states": layer.hidden * contexts,
        "accumulators": 1 + case.batch * network.layers[0].blocks(case.engine["rows"]),
        "x_elements": case.batch * -(-layer.input // per_beat) * per_beat, "weight_words": 1 << 16}
    config = EngineConfig(**fields | case.engine)
    pinned = tail_columns(network.layers[0], config)
    planner = BatchPlanner(network, config, layer.steps, case.batch, pinned, case.home)
    if "weight_words" not in case.engine:
        config = replace(config, weight_words=planner.resident_words + RING_WORDS)
        planner = BatchPlanner(network, config, layer.steps, case.batch, pinned, case.home)
    return model, planner, x


def scenario_of(case, model, plan, x):
    """The run as a scenario: outputs from the integer reference, counters from the interpreter, which must agree."""
    config, steps = plan.config, x.shape[1]
    words = pack(plan.image, model.layers, config)
    beats, lasts = pack_beats(x, config, plan.x_order)
    interpreter = Interpreter(config, plan.program, words, case.memory)
    packets = interpreter.run("run", steps, True, beats)
    reference, _ = integer_reference(model, x)
    expected = [reference[:, step].T.ravel().tolist() for step in range(steps)]
    if packets != expected:
        raise VerificationError(case.name, "interpreter and integer reference differ", "must be equal in every bit")
    counters = interpreter.timing.counters.to_dict()
    return Scenario(config, plan.program.encoded(), to_bytes(words, config),
                    [Run(plan.program.entries["run"], steps, True, beats, lasts, packets, counters)])


def measure(case, layer, folder, build_dir=None):
    """Prove, estimate and simulate a case; returns its plan and the counters that the Verilog gave.

    Raises
    ------
    ProgramError, VerificationError
        The program is not proved, or Verilog, interpreter and reference differ.
    """
    model, planner, x = prepared(case, layer)
    plan = planner.plan()
    check(plan)
    scenario = scenario_of(case, model, plan, x)
    verilog = write_verilog(f"{folder}/lstm_engine.v", Top(plan.config), "lstm_engine")
    with progress(case.name) as update:
        counters, = run_scale(folder, scenario, verilog, case.memory, build_dir=build_dir, progress=update)
    return plan, counters
