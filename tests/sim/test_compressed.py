"""Compressed weights on the emitted Verilog: bits and counters, pauses, a memory that fails, segments that are none."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.plan.compressed import CompressedPlanner
from lstm_hw.plan.compressed_sacc import CompressedSaccPlanner
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.verify.scenario import BENCH_MEMORY, Stress
from tests.builders import config_of, pruned, random_network
from tests.sim.engines import bench, play
from tests.sim.scenarios import plan_scenario
from tests.simulators import QUICK

FIELDS = {
    "rows": 12,
    "decoder": "bitmap",
    "accumulators": 256,
    "finish_entries": 16,
    "x_elements": 128,
    "weight_words": 640,
    "program_length": 512,
}
"""The engine of most tests: as few as they can share, since to make and to compile one takes longer than to play it."""


def compressed_plan(
    seed,
    sizes=(28, 30),
    zeros=(0.3, 0.6),
    batch=2,
    least=None,
    head=3,
    every=False,
    planner=CompressedPlanner,
    **options,
):
    """Pruned layers of random weights, and their plan; ``options`` are fields of the engine.

    ``least`` is the size from which on groups of h are kept.
    """
    widths = {name: options[name] for name in ("weight_bits",) if name in options}
    model = random_network(np.random.default_rng(seed), sizes, head, every, **widths)
    model = pruned(model, zeros, seed)
    if least is not None:
        model = replace(model, network=replace(model.network, sparse_h=(least,) * (len(sizes) - 1)))
    config = config_of(**FIELDS | options, shifts=model.shifts)
    return model, planner(model.network, config, batch).plan()


def compressed_scenario(seed, runs=((5, True), (4, False)), memory=BENCH_MEMORY, stress=None, **options):
    """Runs of such a layer."""
    return plan_scenario(*compressed_plan(seed, **options), runs, memory, seed, stress)


SHORT = ((3, True), (1, False))
"""Runs for benches that play them many times."""
CASES = {
    "12 rows": {},
    "memory of half the bandwidth": {"memory": MemoryModel(30, 2)},
    "eSELL": {"decoder": "esell", "sizes": (16, 24), "zeros": (0.3, 0.9)},
    "20 rows, 8 bit, batch of 3": {"batch": 3, "sizes": (10, 20)},
}
OTHER = {"rows": 20, "weight_bits": 8, "head": 0}


@pytest.mark.parametrize("name", CASES)
def test_bits_and_counters(tmp_path, name):
    options, simulator = (OTHER, QUICK) if name.startswith("20 rows") else ({"sizes": (28, 24)}, "verilator")
    play(tmp_path, compressed_scenario(1, **options | CASES[name]), simulator=simulator)


def test_under_stress(tmp_path):
    for seed, (stall, decoder) in enumerate(((0.1, "bitmap"), (0.5, "esell"), (0.9, "bitmap"))):
        stress = Stress(stall, stall, stall, seed=seed, memory_latency=20 * seed)
        play(tmp_path, compressed_scenario(seed, SHORT, stress=stress, sizes=(16, 24), decoder=decoder))


def test_faults_of_the_memory(tmp_path):
    bench(tmp_path, compressed_scenario(2, SHORT, sizes=(12, 12)), "sim.bench_streaming_faults")


@pytest.mark.parametrize("decoder", ["bitmap", "esell"])
def test_malformed_segments(tmp_path, decoder):
    options = {"sizes": (12, 12), "decoder": decoder}
    _, plan = compressed_plan(2, **options)
    first = plan.image.plain_words * plan.config.beats_per_word
    segments = [(first + at, beats) for _, _, at, beats in plan.image.segments]
    scenario, size = compressed_scenario(2, SHORT, **options), plan.config.beat_bytes
    padded = [(at, beats) for at, beats in segments if not any(scenario.image[(at + beats - 1) * size :][:size])]
    chosen = [segments[0], segments[-1], padded[0]]
    bench(tmp_path, scenario, "sim.bench_malformed", LSTM_HW_SEGMENTS=json.dumps(chosen))


LEAST = {"some groups": 20_000, "none of small h": 65_535, "all of them": 0}


@pytest.mark.parametrize("name", LEAST)
def test_columns_of_small_h_are_left_out(tmp_path, name):
    options = {"sizes": (8, 20), "batch": 4, "sparse_h": True, "least": LEAST[name]}
    stress = Stress(0.3, 0.5, 0.3, seed=5, memory_latency=20) if LEAST[name] == 20_000 else None
    play(tmp_path, compressed_scenario(3, ((9, True), (1, False), (6, False)), stress=stress, **options))


STACK = {"sizes": (4, 16, 16), "every": True}
STACKS = {
    "all of h": {"stress": Stress(0.3, 0.5, 0.3, seed=6, memory_latency=20)},
    "some groups": {"least": 20_000, "decoder": "esell", "sparse_h": True, "stress": Stress(0.5, 0.3, 0.5, seed=7)},
}


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("planner", [CompressedPlanner, CompressedSaccPlanner])
def test_two_layers_and_a_head_at_every_step(tmp_path, planner, name):
    options = {"planner": planner, "batch": 3 if planner is CompressedPlanner else 2} | STACK | STACKS[name]
    play(tmp_path, compressed_scenario(4, ((4, True), (1, False)), **options), simulator=QUICK)


SACC = {
    "all of h": {"sizes": (5, 24), "batch": 4, "stress": Stress(0.3, 0.5, 0.3, seed=8, memory_latency=20)},
    "some groups": {"least": 20_000, "sparse_h": True, "stress": Stress(0.5, 0.3, 0.5, seed=9)},
    "20 rows, 8 bit": {"sizes": (4, 24), "memory": MemoryModel(30, 2), **OTHER},
}


@pytest.mark.parametrize("name", SACC)
def test_a_segment_serves_two_steps(tmp_path, name):
    """Runs of even and of odd steps that go on."""
    options = {"runs": ((3, True), (2, False), (1, False)), "planner": CompressedSaccPlanner, "sizes": (4, 24)}
    simulator = QUICK if name.startswith("20 rows") else "verilator"
    play(tmp_path, compressed_scenario(5, **options | SACC[name]), simulator=simulator)
