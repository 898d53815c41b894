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
from tests.sim.scenarios import plan_scenario
from tests.sim.test_engine import bench, play
from tests.simulators import QUICK

FIELDS = {
    "rows": 12,
    "decoder": "bitmap",
    "accumulators": 128,
    "finish_entries": 16,
    "x_elements": 128,
    "weight_words": 640,
    "program_length": 256,
}


def compressed_plan(
    seed,
    sizes=(28, 30),
    zeros=(0.3, 0.6),
    batch=2,
    least=None,
    head=0,
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


SHORT = ((3, True), (2, False))
"""Runs for benches that play them many times."""
CASES = {
    "12 rows": {},
    "memory of half the bandwidth": {"memory": MemoryModel(30, 2)},
    "eSELL": {"decoder": "esell", "sizes": (16, 28), "zeros": (0.3, 0.9)},
    "20 rows, 8 bit, batch of 3": {"rows": 20, "weight_bits": 8, "batch": 3, "sizes": (18, 40), "accumulators": 160},
}


@pytest.mark.parametrize("name", CASES)
def test_bits_and_counters(tmp_path, name):
    simulator = QUICK if name.startswith("20 rows") else "verilator"
    play(tmp_path, compressed_scenario(1, **CASES[name]), simulator=simulator)


def test_under_stress(tmp_path):
    for seed, (stall, decoder) in enumerate(((0.1, "bitmap"), (0.5, "esell"), (0.9, "bitmap"))):
        stress = Stress(stall, stall, stall, seed=seed, memory_latency=20 * seed)
        play(tmp_path, compressed_scenario(seed, stress=stress, sizes=(16, 28), decoder=decoder))


def test_faults_of_the_memory(tmp_path):
    bench(tmp_path, compressed_scenario(2, SHORT, sizes=(16, 16)), "sim.bench_streaming_faults")


@pytest.mark.parametrize("decoder", ["bitmap", "esell"])
def test_malformed_segments(tmp_path, decoder):
    options = {"sizes": (16, 28), "decoder": decoder}
    _, plan = compressed_plan(2, **options)
    first = plan.image.plain_words * plan.config.beats_per_word
    segments = [(first + at, beats) for _, _, at, beats in plan.image.segments]
    scenario, size = compressed_scenario(2, SHORT, **options), plan.config.beat_bytes
    padded = [(at, beats) for at, beats in segments if not any(scenario.image[(at + beats - 1) * size :][:size])]
    chosen = [segments[0], segments[-1], padded[0]]
    bench(tmp_path, scenario, "sim.bench_malformed", LSTM_HW_SEGMENTS=json.dumps(chosen))


LEAST = {"some groups": 45_000, "none of small h": 65_535, "all of them": 0}


@pytest.mark.parametrize("name", LEAST)
def test_columns_of_small_h_are_left_out(tmp_path, name):
    options = {"sizes": (16, 24), "batch": 4, "accumulators": 256, "sparse_h": True}
    stress = Stress(0.3, 0.5, 0.3, seed=5, memory_latency=20) if LEAST[name] == 45_000 else None
    play(
        tmp_path,
        compressed_scenario(3, ((9, True), (1, False), (6, False)), stress=stress, least=LEAST[name], **options),
        simulator=QUICK,
    )


STACK = {"sizes": (16, 24, 12), "head": 3, "every": True, "batch": 3, "accumulators": 256, "program_length": 512}
STACKS = {
    "all of h": {"stress": Stress(0.3, 0.5, 0.3, seed=6, memory_latency=20)},
    "some groups": {"least": 45_000, "decoder": "esell", "stress": Stress(0.5, 0.3, 0.5, seed=7)},
}


@pytest.mark.parametrize("name", STACKS)
def test_two_layers_and_a_head_at_every_step(tmp_path, name):
    options = {"runs": ((7, True), (1, False), (3, False))} | STACK | STACKS[name]
    play(tmp_path, compressed_scenario(4, sparse_h="least" in options, **options), simulator=QUICK)


SACC = {
    "all of h": {"sizes": (5, 24), "batch": 4, "stress": Stress(0.3, 0.5, 0.3, seed=8, memory_latency=20)},
    "some groups": {"least": 45_000, "head": 3, "stress": Stress(0.5, 0.3, 0.5, seed=9)},
    "eSELL": {"least": 45_000, "decoder": "esell", "sizes": (4, 24), "memory": MemoryModel(30, 2)},
    "a stack, a head at every step": {
        "sizes": (4, 16, 16),
        "head": 3,
        "every": True,
        "accumulators": 256,
        "runs": ((3, True), (1, False)),
        "stress": Stress(0.3, 0.3, 0.3, seed=9),
    },
    "a stack, a head at every step, some groups": {
        "least": 45_000,
        "sizes": (4, 16, 16),
        "head": 3,
        "every": True,
        "accumulators": 256,
        "runs": ((3, True), (1, False)),
        "stress": Stress(0.3, 0.3, 0.3, seed=4, memory_latency=20),
    },
}


@pytest.mark.parametrize("name", SACC)
def test_a_segment_serves_two_steps(tmp_path, name):
    """Runs of even and of odd steps that go on."""
    options = {"runs": ((3, True), (2, False), (1, False)), "planner": CompressedSaccPlanner, "program_length": 512}
    options |= {"sizes": (4, 24), "sparse_h": "least" in SACC[name]} | SACC[name]
    play(tmp_path, compressed_scenario(5, **options), simulator=QUICK)
