"""Runs a plan in the emitted Verilog: what all benches of weights in memory share.

The Verilog runs under Verilator on a memory model of stated latency and bandwidth; outputs must equal the integer
reference and counters the estimate, or the bench fails.
"""

from lstm_hw.gateware.top import Top
from lstm_hw.machine.ports import TOPLEVEL
from lstm_hw.progress import progress
from lstm_hw.proof.checker import check
from lstm_hw.verify.runs import ModelReference, Piece, image_words, scenario_of
from lstm_hw.verilog.emit import write_verilog
from sim.play import play as play_scenario


def play(name, model, plan, x, memory, folder, steps_checked=3, **options):
    """Prove, estimate and simulate a plan; ``options`` are those of :func:`sim.play.play`.

    Returns
    -------
    dict of str to int
        Counters that the Verilog gave for the run, and the beats of each matrix that the memory saw being
        read.

    Raises
    ------
    ProgramError, VerificationError
        The program is not proved, or Verilog, interpreter and reference differ.
    """
    check(plan, steps_checked)
    with progress(name) as update:
        words = image_words(plan, model)
        scenario = scenario_of(plan, words, ModelReference(model), [Piece(x)], memory, progress=update)
    verilog = write_verilog(f"{folder}/{TOPLEVEL}.v", Top(plan.config), TOPLEVEL)
    with progress(name) as update:
        played = play_scenario(scenario, verilog, f"{folder}/simulation", image=plan.image, progress=update, **options)
    runs = played.runs[int("load" in plan.program.entries) :]
    found = [run["counters"] | {f"beats_{part}": beats for part, beats in run["beats"].items()} for run in runs]
    return {name: sum(run[name] for run in found) for name in found[0]}
