"""Runs a plan in the emitted Verilog: what all benches of weights in memory share.

The Verilog runs under Verilator on a memory model of stated latency and bandwidth; outputs must equal the integer
reference and counters the estimate, or the bench fails.
"""

import numpy as np

from lstm_hw.errors import VerificationError
from lstm_hw.gateware.top import Top
from lstm_hw.machine.pack import to_bytes
from lstm_hw.machine.ports import TOPLEVEL
from lstm_hw.model.reference import integer_reference
from lstm_hw.plan.stack import Stack
from lstm_hw.progress import progress
from lstm_hw.proof.checker import check
from lstm_hw.proof.interpreter import Interpreter
from lstm_hw.verify.runs import ModelReference, Piece, image_words, scenario_of
from lstm_hw.verify.scenario import Run, Scenario
from lstm_hw.verilog.emit import write_verilog
from sim.play import play as play_scenario


def stack_scenario(name, model, plan, x, memory):
    """A run from zero state of every layer of a Stack, behind one of the load entry."""
    config, steps = plan.config, x.shape[1]
    words = image_words(plan, model)
    interpreter = Interpreter(config, plan.program, words, memory)
    runs = []

    def add(entry, clear, x, lasts, expected):
        if interpreter.run(entry, steps, clear, x) != expected:
            raise VerificationError(name, "interpreter and integer reference differ", "must be equal in every bit")
        counters = interpreter.timing.counters.to_dict()
        runs.append(Run(plan.program.entries[entry], steps, clear, x, lasts, expected, counters))

    nothing = np.zeros((0, config.x_per_beat), dtype=np.int64)
    add("load", False, nothing, nothing[:, 0], [])
    trace = {}
    integer_reference(model, x, trace=trace)
    for n, layer in enumerate(plan.plans):
        h = trace[n]["h"]
        add(plan.entry(n), True, *layer.beats(x), layer.packets(h))
        x = h
    return Scenario(config, plan.program.encoded(), to_bytes(words, config), runs, memory=memory)


def play(name, model, plan, x, memory, folder, steps_checked=3, **options):
    """Prove, estimate and simulate a plan; ``options`` are those of :func:`sim.play.play`.

    Returns
    -------
    dict of str to int
        Counters that the Verilog gave for the run of all layers, and the beats of each matrix that the memory saw being
        read.

    Raises
    ------
    ProgramError, VerificationError
        The program is not proved, or Verilog, interpreter and reference differ.
    """
    for layer in plan.plans:
        check(layer, steps_checked)
    with progress(name) as update:
        if isinstance(plan, Stack):
            scenario = stack_scenario(name, model, plan, x, memory)
        else:
            words = image_words(plan, model)
            scenario = scenario_of(plan, words, ModelReference(model), [Piece(x)], memory, progress=update)
    verilog = write_verilog(f"{folder}/{TOPLEVEL}.v", Top(plan.config), TOPLEVEL)
    with progress(name) as update:
        played = play_scenario(scenario, verilog, f"{folder}/simulation", image=plan.image, progress=update, **options)
    runs = played.runs[int("load" in plan.program.entries) :]
    found = [run["counters"] | {f"beats_{part}": beats for part, beats in run["beats"].items()} for run in runs]
    return {name: sum(run[name] for run in found) for name in found[0]}
