"""The driver on the simulated engine: the digits example, and small ones, with faults on every side."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

import lstm_hw
from boards import flash_image, host_design
from boards.host_design import FLASH, memory_bytes_of
from lstm_hw.host.image import Vectors
from lstm_hw.model.reference import integer_reference
from lstm_hw.verify.simulate import expect
from sim.runner import run_bench

from ..projects import tensors, write_project

CLOCK_HZ, BAUD = 1_000_000, 125_000
PORTS = {"clock": "clk", "reset": "rst", "rx": "i_rx", "tx": "o_tx", "restart": "i_restart"}
DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.toml"


def vectors_of(folder, project, x, cut):
    """Write image and vectors for some inputs (N, T, Lx); the environment of a bench."""
    stored, group = project.qmodel.quantize_input(x), project.plan.sequences
    whole, _ = integer_reference(project.qmodel, stored)
    vectors = Vectors(stored, whole.reshape(len(x), project.plan.streams.vectors(x.shape[1]), -1))
    replace(project.firmware, vectors=vectors).write(folder / "model.lstmfw")
    first, state = integer_reference(project.qmodel, stored[:group, :cut])
    rest, _ = integer_reference(project.qmodel, stored[:group, cut:], state)
    np.savez(folder / "vectors.npz", x=x, whole=whole, first=first, rest=rest, cut=cut)
    return {"LSTM_HW_IMAGE": folder / "model.lstmfw", "LSTM_HW_VECTORS": folder / "vectors.npz"}


def bench(folder, project, x, cut, testcase=None):
    """Run the bench of the driver with some inputs (N, T, Lx)."""
    environment = vectors_of(folder, project, x, cut)
    options = {"extra_env": environment, "testcase": testcase, "short": True, "timeout": 600}
    return run_bench([project.verilog], "lstm_engine", "sim.bench_host", **options)


def test_digits(tmp_path):
    """Weights that stay on the chip: everything that may go wrong."""
    project = lstm_hw.load(DIGITS, output=tmp_path / "digits")
    bench(tmp_path, project, project.x[:2], 5)


def test_streamed(tmp_path):
    """Weights that stream while it runs, of two layers and a head."""
    model = tensors(np.random.default_rng(2), inputs=12, hidden=(6, 5))
    engine = {"rows": 8, "weight_words": 60}
    config = write_project(tmp_path, model=model, sequences=2, engine=engine, plan={"schedule": "conventional"})
    project = lstm_hw.load(config)
    right = [
        "predicts_and_carries_state",
        "masters_that_take_turns",
        "over_a_byte_stream",
        "bus_errors",
        "aborts_in_the_middle",
    ]
    bench(tmp_path, project, project.x, 2, right)


def test_through_the_uart_of_a_board(tmp_path):
    """The bridge in gateware, its self-test, and a model that it has never seen: from its flash, and by a host."""
    model = tensors(np.random.default_rng(1))
    project = lstm_hw.load(write_project(tmp_path, model=model))
    x = project.x[:2]
    stored = project.qmodel.quantize_input(x)
    tests = expect(project.plan, project.words, project.qmodel, stored[:1]).scenario
    sources = []
    for name, text in host_design.emit(tests, CLOCK_HZ, BAUD, flash=flash_image.ADDRESS).items():
        sources.append(tmp_path / name)
        sources[-1].write_text(text)
    ports = PORTS | {name[2:]: name for name in FLASH}
    settings = {"ports": ports, "cycle_ns": 10, "clock_hz": CLOCK_HZ, "divisor": CLOCK_HZ // BAUD}
    turned = model | {name: np.ascontiguousarray(model[name][::-1]) for name in ("head.weight", "head.bias")}
    other = lstm_hw.load(write_project(tmp_path, model=turned))
    assert other.engine == project.engine and other.firmware.identity != project.firmware.identity
    memory_bytes = memory_bytes_of(other.engine, len(other.firmware.images[0]))
    (tmp_path / "flash").write_bytes(flash_image.flash_image(other.firmware, memory_bytes))
    settings |= {"flash": str(tmp_path / "flash"), "flash_base": flash_image.ADDRESS}
    environment = vectors_of(tmp_path, other, x, 1) | {"LSTM_HW_UART": json.dumps(settings)}
    run_bench(sources, host_design.NAME, "sim.bench_host_uart", extra_env=environment, short=True, timeout=600)


def test_sequences_side_by_side_over_two_ports(tmp_path):
    """Streams in another order than the vectors', two sequences a run, an image a port."""
    model = tensors(np.random.default_rng(3), inputs=41, hidden=(12,), outputs=0)
    engine = {"rows": 32, "contexts": 2, "x_per_beat": 4, "axi_ports": 2, "axi_data_bits": 64}
    plan = {"schedule": "sbe", "batch": 2, "pinned": 9}
    config = write_project(tmp_path, model=model, sequences=3, steps=4, engine=engine, plan=plan, data={"labels": None})
    project = lstm_hw.load(config)
    assert project.firmware.streams.side_by_side == 2 and project.firmware.streams.x_order.batch > 1
    bench(tmp_path, project, project.x, 2, ["predicts_and_carries_state", "over_a_byte_stream"])
