"""Layers that read several vectors, as skips around layers: bits, cycles and counts of the emitted Verilog."""

import numpy as np
import pytest

from lstm_hw.gateware.top import Top
from lstm_hw.model.reference import integer_reference
from lstm_hw.project.api import convert
from lstm_hw.project.settings import ProjectConfig
from lstm_hw.verify.runs import ModelReference, Piece, scenario_of
from lstm_hw.verify.scenario import BENCH_MEMORY, Stress
from lstm_hw.verify.simulate import expect
from lstm_hw.verilog.emit import write_verilog
from sim.play import play
from tests.plan.test_sources import X, model_of
from tests.simulators import QUICK


@pytest.mark.parametrize(
    "name, bits, sequences, stress",
    [("chain of skips", 16, 1, Stress(0.3, 0.4, 0.2, seed=3)), ("gru and plain", 8, 2, Stress())],
)
def test_bits_and_cycles(tmp_path, name, bits, sequences, stress):
    """A run, and more that go on from the state of one before."""
    engine = {"rows": 8, "contexts": sequences, "count_clipped": True}
    quantize = {"weight_bits": bits, "operand_bits": bits, "accumulator_bits": 48 if bits == 16 else 32}
    values = {"name": "tiny", "model": {"path": "none"}, "engine": engine, "plan": {"sequences": sequences}}
    config, x = ProjectConfig.from_dict(values, "here"), X[:4, :5]
    made = convert(config, model=model_of(name), calibration=x, x=x, quantize=quantize)
    stored = made.qmodel.quantize_input(made.x)
    assert len(made.plan.config.lifts) == (2 if bits == 16 else 1)
    first = stored[:sequences]
    pieces = [Piece(first[:, :3]), Piece(first[:, 3:], False), Piece(first[:, :1])]
    reference = ModelReference(made.qmodel)
    scenario = scenario_of(made.plan, made.words, reference, pieces, BENCH_MEMORY, stress)
    verilog = write_verilog(tmp_path / "lstm_engine.v", Top(scenario.config), "lstm_engine")
    played = play(scenario, verilog, tmp_path / "scenario", simulator=QUICK)
    assert [run["clipped"] for run in played.runs] == [run.clipped for run in scenario.runs]
    outputs, _ = integer_reference(made.qmodel, stored)
    assert np.array_equal(made.predict(made.x), made.qmodel.dequantize_output(outputs))
    whole = expect(made.plan, made.words, made.qmodel, stored[:, :3]).scenario.runs[1].counters["cycles"]
    assert whole == scenario.runs[1].counters["cycles"] and made.verdict()["within_bound"]
