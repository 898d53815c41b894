"""Engines as Verilog, each emitted once in a process, and what plays and benches do with them."""

import functools

import sim.play
from lstm_hw.gateware.top import Top
from lstm_hw.verilog.emit import emit_verilog
from sim.runner import run_bench


@functools.cache
def verilog_of(config):
    """The emitted engine, made once in a process: that takes longer than to play a scenario on it."""
    return emit_verilog(Top(config), "lstm_engine")


def emitted(folder, scenario):
    verilog = folder / "engine.v"
    verilog.write_text(verilog_of(scenario.config))
    return verilog


def play(folder, scenario, **options):
    """Play a scenario on its engine."""
    played = sim.play.play(scenario, emitted(folder, scenario), folder / "scenario", timeout=500, **options)
    assert len(played.runs) == len(scenario.runs)


def bench(folder, scenario, name, simulator="verilator", **more):
    """Run a bench on the engine of a scenario; ``more`` are environment variables."""
    scenario.save(folder / "scenario")
    environment = {"LSTM_HW_SCENARIO": str(folder / "scenario"), **more}
    verilog = emitted(folder, scenario)
    options = {"short": True, "timeout": 500, "extra_env": environment}
    run_bench([verilog], "lstm_engine", name, simulator=simulator, **options)
