"""What is recorded of a run is what the counters count, and viewers of traces can read it."""

from dataclasses import astuple

import numpy as np
import pytest

from lstm_hw.machine.isa import OPS
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.trace import UNITS, record, to_trace_events
from tests import trace_events
from tests.builders import config_of, random_network


def resident():
    model = random_network(np.random.default_rng(1), (5, 7, 6), head=9)
    return ResidentPlanner(model.network, config_of(shifts=model.shifts)).plan()


def streamed():
    model = random_network(np.random.default_rng(3), (5, 12))
    config = config_of(shifts=model.shifts, contexts=2, accumulators=128, program_length=256)
    return SaccPlanner(model.network, config).plan()


@pytest.mark.parametrize("plan", [resident(), streamed()], ids=["resident", "sacc"])
@pytest.mark.parametrize("memory", [None, MemoryModel(30, 2)], ids=["fast", "slow"])
def test_spans_are_those_of_the_counters(plan, memory):
    trace, counters = record(plan, 6, memory=memory), count_cycles(plan, 6, memory=memory)
    assert trace.complete and trace.cycles == counters.cycles
    assert len(trace.beats) * plan.config.axi_ports == counters.read_beats
    for unit in UNITS:
        spans = [span for span in trace.spans if span.unit == unit]
        assert spans or unit == "load port"
        assert all(0 <= span.first < span.end <= trace.cycles for span in spans)
        assert all(before.end <= after.first for before, after in zip(spans, spans[1:], strict=False))
    columns = [span.command.slots * span.command.columns for span in trace.spans if span.unit == "MAC"]
    assert sum(columns) == counters.busy
    waits = sum(span.end - span.first for span in trace.spans if span.unit == "MAC") - counters.busy
    assert waits <= sum(astuple(counters)[2:6])


def test_commands_are_the_programs():
    plan = resident()
    trace = record(plan, 3)
    commands = [c for c in plan.program.run("run", 3, True) if OPS[c.op].unit or c.op in ("RING", "BUFFERS", "HALT")]
    assert [span.command.op for span in trace.spans if span.unit == "sequencer"] == [c.op for c in commands][:-1]
    for unit, op in (("MAC", "MAC"), ("cell", "CELL"), ("input", "INPUT")):
        assert sum(span.unit == unit for span in trace.spans) == sum(c.op == op for c in commands)
    assert sum(span.unit == "output" for span in trace.spans) == sum(c.op == "CELL" and c.emit for c in commands) == 1


def test_a_long_run_is_cut():
    trace = record(resident(), 50, limit=40)
    assert not trace.complete and sum(span.unit == "sequencer" for span in trace.spans) == 40
    assert trace.cycles < record(resident(), 50).cycles


@pytest.mark.parametrize("mhz", [50, 66.6, 33.333, 187.5])
@pytest.mark.parametrize("plan", [resident(), streamed()], ids=["resident", "sacc"])
def test_trace_events(plan, mhz):
    """A thread a unit, an event a span; none overlaps another, however a viewer rounds."""
    trace = record(plan, 4, memory=MemoryModel(30, 2))
    units = trace_events.read(to_trace_events(trace, mhz, plan.program))
    assert list(units) == list(UNITS)
    for unit, events in units.items():
        spans = [span for span in trace.spans if span.unit == unit]
        for event, span in zip(events, spans, strict=True):
            assert event["ts"] == pytest.approx(span.first / mhz, abs=0.0006)
            assert event["dur"] == pytest.approx((span.end - span.first) / mhz, abs=0.0021)
            assert event["args"]["address"] == span.command.at
            assert (event["args"]["first cycle"], event["args"]["cycles"]) == (span.first, span.end - span.first)
    mac = units["MAC"][0]
    assert mac["name"].startswith("MAC") and mac["args"]["columns"] > 0 and "stream" not in mac["args"]
