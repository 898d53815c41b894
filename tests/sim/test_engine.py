"""Random networks on the emitted Verilog: bits and, when nothing is held back, every counter."""

import pytest

import sim.play
from lstm_hw.errors import VerificationError
from lstm_hw.machine.formats import QFormat
from lstm_hw.verify.scenario import Stress
from tests.builders import PAIRS
from tests.sim.engines import bench, play, verilog_of
from tests.sim.scenarios import network_scenario, streaming_scenario
from tests.simulators import QUICK

ONE_CELL = "K1-R4-one-cell"
NETWORKS = {
    ONE_CELL: {"sizes": (3, 5), "steps": (4, 3, 1, 2), "rows": 4, "axi_data_bits": 64},
    "K2-R16-two-cells-lifts-8-bit-weights-head-that-adds-x": {
        "sizes": (5, 9, 6),
        "head": 5,
        "head_every_step": True,
        "skip": True,
        "steps": (3, 1, 2),
        "rows": 16,
        "contexts": 2,
        "cells": 2,
        "x_per_beat": 2,
        "x_elements": 12,
        "weight_bits": 8,
        "lifts": ((0, 3), (2, 0), (3, 3)),
        "row_bits": 3,
        "accumulator_bits": 48,
    },
    "K3-R32-five-cells-8-bit-head-every-step": {
        "sizes": (5, 11, 3, 10),
        "head": 3,
        "head_every_step": True,
        "steps": (3, 3),
        "rows": 32,
        "contexts": 3,
        "cells": 5,
        "weight_bits": 8,
        "axi_data_bits": 256,
        "x_per_beat": 4,
        "x_elements": 24,
        "activation": "pwl",
    },
    "K2-R32-two-cells-pairs-head": {
        "sizes": (20, 18, 5),
        "head": 6,
        "steps": (4, 2, 3),
        "rows": 32,
        "contexts": 2,
        "cells": 2,
        "x_per_beat": 8,
        "axi_data_bits": 128,
        **PAIRS,
    },
    "K1-R8-one-cell-24-bit-c-18-bit-pre-activations-formats-of-layers-one-lift-for-all-head": {
        "sizes": (3, 6, 4),
        "h_shifts": (2, 0),
        "c_shifts": (0, 5),
        "preact_shifts": (2, 0),
        "head": 2,
        "steps": (4, 1, 2),
        "rows": 8,
        "lifts": ((4, 4),),
        "cell": QFormat(7, 16),
        "preact": QFormat(1, 16),
        "activation": "hard5/catmull_rom",
    },
    "K1-R48-6-bit-weights-groups-across-beats": {
        "sizes": (5, 13),
        "steps": (3, 2),
        "rows": 48,
        "weight_bits": 6,
        "axi_data_bits": 128,
        "activation": "nonuniform",
    },
    "K1-R16-parallel-cell-row-blocks-in-turn-head": {
        "sizes": (3, 7),
        "head": 2,
        "head_every_step": True,
        "steps": (4, 1, 3),
        "rows": 16,
        "cells": 5,
        "parallel": True,
        "cell": QFormat(2, 15),
    },
}

LARGE = {"K3-R32-five-cells-8-bit-head-every-step", "K2-R32-two-cells-pairs-head"}
"""Engines that Verilator plays in less time than Icarus."""


@pytest.mark.parametrize("name", NETWORKS)
def test_bits_and_counters(tmp_path, name):
    """Counters when nothing is held back, and bits under stress: of one engine with each of three stalls, of the others
    with one that takes turns."""
    simulator = "verilator" if name in (*LARGE, ONE_CELL) else QUICK
    play(tmp_path, network_scenario(1, **NETWORKS[name]), simulator=simulator)
    stalls = [0.1, 0.5, 0.9]
    for stall in stalls if name == ONE_CELL else [stalls[list(NETWORKS).index(name) % 3]]:
        stress = Stress(stall, stall, stall, seed=stalls.index(stall))
        play(tmp_path, network_scenario(stress.seed, **NETWORKS[name], stress=stress), simulator=simulator)


@pytest.mark.icarus
def test_both_simulators(tmp_path):
    """Icarus plays an engine that is Verilator's above."""
    scenario = network_scenario(4, **NETWORKS[ONE_CELL], stress=Stress(0.5, 0.5, 0.5))
    play(tmp_path, scenario, simulator="icarus")


@pytest.mark.icarus
@pytest.mark.parametrize("name", [ONE_CELL, "K2-R16-two-cells-lifts-8-bit-weights-head-that-adds-x"])
def test_initial_zeros_that_are_read_are_known_to_synthesis(tmp_path, name):
    """As a synthesiser reads the Verilog: memories are X, but for those that say that they need zeros."""
    play_without_zeros(tmp_path, network_scenario(1, **NETWORKS[name]), "icarus")


def test_initial_zeros_that_are_read_while_streaming_are_known_to_synthesis(tmp_path):
    """Memories are random: X would spread over what no value changes, as a product with 0."""
    play_without_zeros(tmp_path, streaming_scenario(1, **STREAMING), "verilator")


def play_without_zeros(folder, scenario, simulator):
    verilog = folder / "engine.v"
    verilog.write_text("`define SYNTHESIS\n" + verilog_of(scenario.config))
    sim.play.play(scenario, verilog, folder / "scenario", timeout=500, simulator=simulator)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            lambda scenario: scenario.runs[1].outputs[0].__setitem__(2, 12345),
            "run 1, packet 0, element 2: Verilog gives",
        ),
        (lambda scenario: scenario.runs[2].counters.update(busy=1), "run 2: counters"),
        (lambda scenario: setattr(scenario, "image", scenario.image[:64]), "did not end|left no results|tests failed"),
    ],
    ids=["output", "counter", "burst outside the image"],
)
def test_every_difference_is_found(tmp_path, spoil, message):
    scenario = network_scenario(1, **NETWORKS[ONE_CELL])
    spoil(scenario)
    with pytest.raises(VerificationError, match=message):
        play(tmp_path, scenario)


def test_faults(tmp_path):
    bench(tmp_path, network_scenario(2, **NETWORKS[ONE_CELL]), "sim.bench_faults")


def test_aborts(tmp_path):
    scenario = network_scenario(2, sizes=(2, 2), steps=(2, 1), rows=4, axi_data_bits=64)
    bench(tmp_path, scenario, "sim.bench_abort")


def test_transfers_of_a_dma(tmp_path):
    """Vectors of seven bytes in beats of four, and packets of five elements."""
    shape = {"sizes": (7, 4), "head": 5, "head_every_step": True, "x_per_beat": 4}
    scenario = network_scenario(5, steps=(4, 3), **shape, **PAIRS)
    bench(tmp_path, scenario, "sim.bench_dma", QUICK, LSTM_HW_INPUTS="7")


def test_faults_while_streaming(tmp_path):
    bench(tmp_path, streaming_scenario(2, **STREAMING), "sim.bench_streaming_faults")


LAYER = {"inputs": 40, "units": 12, "steps": 4, "batch": 2, "pinned": 8, "tile_columns": 4}
STREAMING = {
    **LAYER,
    "rows": 16,
    "contexts": 2,
    "x_per_beat": 2,
    "x_elements": 256,
    "weight_words": 150,
    "accumulators": 64,
}


@pytest.mark.parametrize("fields", [{}, {**PAIRS, "weight_words": 200}], ids=["16 bits", "pairs"])
def test_streaming(tmp_path, fields):
    play(tmp_path, streaming_scenario(1, **STREAMING | fields), simulator=QUICK if fields else "verilator")


def test_streaming_under_stress(tmp_path):
    for seed, stall in enumerate((0.1, 0.5, 0.9)):
        stress = Stress(stall, stall, stall, seed=seed, memory_latency=20 * seed)
        play(tmp_path, streaming_scenario(seed, **STREAMING, stress=stress))


TWO_PORTS = STREAMING | {"rows": 32, "axi_ports": 2, "weight_words": 90}
FOUR_PORTS = STREAMING | {"rows": 64, "axi_ports": 4, "weight_words": 64, "cells": 2}


@pytest.mark.parametrize("fields", [TWO_PORTS, FOUR_PORTS], ids=["2", "4"])
def test_several_ports(tmp_path, fields):
    """Bits and cycles of a streaming run, over memories that do the same in every cycle."""
    play(tmp_path, streaming_scenario(3, **fields))


def test_ports_that_drift_apart(tmp_path):
    """Bits over memories that pause and answer each in its own time."""
    for seed, (fields, stall) in enumerate(((TWO_PORTS, 0.5), (TWO_PORTS, 0), (FOUR_PORTS, 0.3))):
        stress = Stress(0.1, 0.1, stall, seed=seed, memory_latency=25)
        play(tmp_path, streaming_scenario(seed, **fields, stress=stress))


def test_resident_weights_over_two_ports(tmp_path):
    engine = {name: value for name, value in TWO_PORTS.items() if name not in LAYER}
    play(tmp_path, network_scenario(5, sizes=(7, 9), steps=(3, 2), **engine), simulator=QUICK)


def test_faults_of_two_ports(tmp_path):
    bench(tmp_path, streaming_scenario(2, **TWO_PORTS | {"inputs": 56, "steps": 2}), "sim.bench_streaming_faults")


@pytest.mark.icarus
@pytest.mark.parametrize("stress", [None, Stress(0, 0, 0.5, memory_latency=10)], ids=["quiet", "stress"])
def test_two_ports_on_icarus(tmp_path, stress):
    fields = TWO_PORTS | {"inputs": 24, "units": 8, "steps": 2}
    play(tmp_path, streaming_scenario(4, **fields, stress=stress), simulator="icarus")
