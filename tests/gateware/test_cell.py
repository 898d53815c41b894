"""The cell against plain integers: bits, latencies to the cycle, and units as close as they may be."""

import itertools
import random

import numpy as np
import pytest

from lstm_hw.gateware.peephole_cell import cell_of
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.latency import CellLatency
from lstm_hw.machine.limits import GATES, SERIAL_SLOTS
from lstm_hw.machine.parts import Usage
from lstm_hw.verilog.emit import write_verilog
from lstm_hw.verilog.tools import yosys_stat
from tests.builders import CELLS, PAIRS, config_of
from tests.simulation import observe, simulate

LOWEST, HIGHEST = -1 << 15, (1 << 15) - 1
FORMATS = {
    "default": {},
    "wide c": {"preact": QFormat(5, 10)},
    "narrow c": {"preact": QFormat(1, 14), "activated": QFormat(1, 14)},
    "wide h": {"activated": QFormat(1, 14), "hidden": QFormat(2, 13)},
    "8-bit h": PAIRS,
    "24-bit c": {"cell": QFormat(11, 12)},
    "c finer than pre-activations": {"cell": QFormat(3, 18, rounding="half_even"), "preact": QFormat(2, 13)},
    "c coarser than activations": {"cell": QFormat(9, 9), "activated": QFormat(0, 15)},
    "20-bit pre-activations": {"preact": QFormat(3, 16), "cell": QFormat(7, 16)},
    "18-bit everything": {"preact": QFormat(4, 13), "cell": QFormat(5, 12), "activated": QFormat(0, 17)},
    "24-bit c, 8-bit h": {**PAIRS, "cell": QFormat(7, 16)},
}


def element(rng, bits=16):
    """Full scale, around zero, and anything; small numbers as often as large ones."""
    low, high = -1 << bits - 1, (1 << bits - 1) - 1
    anything = rng.randint(low, high)
    return rng.choice((low, high, rng.randint(-3, 3), anything, anything >> rng.randint(0, bits - 4)))


def serial_delays(config, cell):
    """From the start of a unit to its c, and to the new one."""
    # g is the third gate; its product, the sum and one rounding follow. tanh(c') takes the next slot of five.
    settle, holes = config.unit.latency, bool(config.peepholes)
    # With peepholes c is read first; a product, a sum and a rounding stand in front of i, and behind c' in front of o.
    before = 1 + 2 + 1 + 3
    assert cell.update_latency == (before if holes else 1) + 2 + settle + 2 + 1 + 3
    tanh, gru = -(-cell.update_latency // 5) * 5 + settle, config.kind == "gru"
    last = cell.delays.gates["o"] if holes else tanh + gru
    assert not holes or cell.update_latency + 2 + 1 + 3 <= last - settle < cell.update_latency + 2 + 1 + 3 + 10
    assert cell.latency == last + 2 + 3 == CellLatency(config).cell
    # A GRU multiplies its c in the slot before that of tanh, and has the new one with h.
    reads, writes = (tanh - 1, cell.latency) if gru else (cell.delays.gates["f"], cell.update_latency)
    return (1 if holes else reads), writes


def parallel_delays(config, cell):
    """As :func:`serial_delays`: all gates at once, and no stage that aligns what is alike; what is rounded is so on its
    way, to a register for c, and what is multiplied is in registers, c a cycle behind its memory."""
    settle, gru = 1 + config.unit.latency, config.kind == "gru"
    alike = [len(set(rounding.fractions)) == 1 for rounding in (cell.widths.tanh, cell.widths.h)]
    tanh = settle + 1 + 1 + 1 - alike[0] + settle
    assert cell.latency == tanh + 1 + gru + 1 - alike[1] == CellLatency(config).cell
    return (tanh - 1, tanh + 1 + 1) if gru else (settle - 1, settle + 1 + 1 + 1)


def play(config, units, gaps, rng):
    """Start ``units`` (four pre-activations and c each) ``gaps`` cycles apart; returns (cycle, c or h) lists."""
    cell, holes = cell_of(config), bool(config.peepholes)
    reads, writes = (parallel_delays if config.parallel else serial_delays)(config, cell)
    starts, due, bits = [], {}, config.preact.width
    seen = {"c": [], "h": [], "read": []}

    async def bench(context):
        now = next_start = 0
        waiting = list(units)
        while waiting or now < starts[-1] + cell.latency + 5:
            begins = bool(waiting) and now == next_start
            context.set(cell.i_start, begins)
            # Inputs are noise in all other cycles.
            context.set(cell.i_preact, waiting[0][:GATES] if begins else [element(rng, bits) for _ in range(GATES)])
            c, *peepholes = due.get(now) or [element(rng, n) for n in (config.cell.width, *[bits] * 3 * holes)]
            context.set(cell.i_c, c)
            if holes:
                context.set(cell.i_peepholes, peepholes)
            if begins:
                starts.append(now)
                due[now + reads] = waiting.pop(0)[GATES:]
                next_start = now + gaps[(len(starts) - 1) % len(gaps)]
            await context.tick()
            now += 1

    def note(now, read, c_valid, c, h_valid, h):
        for name, valid, value in (("read", read, None), ("c", c_valid, c), ("h", h_valid, h)):
            if valid:
                seen[name].append((now, value))

    simulate(cell, bench, background=[observe(note, cell.o_read, cell.o_c_valid, cell.o_c, cell.o_h_valid, cell.o_h)])
    assert [now + 1 for now, _ in seen["read"]] == sorted(due), "c is due in the cycle after the read"
    assert [now for now, _ in seen["c"]] == [start + writes for start in starts]
    assert [now for now, _ in seen["h"]] == [start + cell.latency for start in starts]
    preact = np.array([unit[:GATES] for unit in units]).T
    peepholes = {"peepholes": np.array([unit[GATES + 1 :] for unit in units]).T} if holes else {}
    h, c = CELLS[config.kind](config, preact, np.array([unit[GATES] for unit in units]), **peepholes)
    assert [value for _, value in seen["c"]] == c.tolist()
    assert [value for _, value in seen["h"]] == h.tolist()
    return h, c


@pytest.mark.parametrize("activation", ["quadratic64", "quadratic128", "pwl"])
@pytest.mark.parametrize("gaps", [(5,), (5, 20, 10, 5, 15, 50)], ids=["closest", "apart"])
@pytest.mark.parametrize("formats", FORMATS)
def test_random_units(formats, gaps, activation):
    rng = random.Random(f"{formats} {gaps} {activation}")
    config = config_of(activation=activation, **FORMATS[formats])
    widths = [config.preact.width] * GATES + [config.cell.width]
    units = [[element(rng, bits) for bits in widths] for _ in range(60)]
    h, c = play(config, units, gaps, rng)
    assert len(set(h.tolist())) > 10 and len(set(c.tolist())) > 10


LAYERS = {
    "shifts": (15, 15),
    "activation": "table",
    "preact_shifts": (0, 2),
    "c_shifts": (0, 4),
    "h_shifts": (1, 3),
}


PARALLEL = {**FORMATS, "formats of layers": LAYERS}


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("formats", [name for name in PARALLEL if name != "c finer than pre-activations"])
def test_random_units_of_a_parallel_cell(formats, kind):
    """A unit in every cycle, and now and then none."""
    rng = random.Random(f"{formats} {kind}")
    config = config_of(cells=5, parallel=True, kind=kind, **PARALLEL[formats])
    widths = [config.preact.width] * GATES + [config.cell.width]
    h, c = play(config, [[element(rng, bits) for bits in widths] for _ in range(80)], (1, 1, 1, 1, 3, 1, 2), rng)
    assert len(set(h.tolist())) > 10 and len(set(c.tolist())) > 10


@pytest.mark.parametrize("formats", [
    {"cell": QFormat(0, 15)},
    {"cell": QFormat(0, 19)},
    {"cell": QFormat(0, 23), "preact": QFormat(5, 14), "activated": QFormat(0, 17)},
    {"cell": QFormat(3, 12), "preact": QFormat(1, 18), "activated": QFormat(1, 14), "hidden": QFormat(1, 14)},
    {"cell": QFormat(0, 15), "activation": "pwl", "preact_shifts": (0, 2), "c_shifts": (0, 4), "h_shifts": (1, 3)},
    {**PAIRS, "cell": QFormat(0, 17, rounding="half_up"), "activation": "cubic"},
], ids=str)  # fmt: skip
def test_random_units_of_a_gru(formats):
    rng = random.Random(str(formats))
    config = config_of(kind="gru", shifts=(15, 15), **formats)
    widths = [config.preact.width] * GATES + [config.cell.width]
    h, c = play(config, [[element(rng, bits) for bits in widths] for _ in range(60)], (5, 20, 10, 5, 15, 5), rng)
    assert len(set(h.tolist())) > 10 and len(set(c.tolist())) > 10


@pytest.mark.parametrize("formats", [
    {"peepholes": QFormat(0, 15)},
    {"peepholes": QFormat(2, 13), "activation": "pwl", "cell": QFormat(5, 12), "h_shifts": (1, 3)},
    {"peepholes": QFormat(-2, 17), "activation": "quadratic128", "cell": QFormat(7, 16)},
    {"peepholes": QFormat(8, 7), "activation": "plan", "cell": QFormat(11, 4)},
    {"peepholes": QFormat(1, 16), "activation": "hard5/quadratic", "preact": QFormat(5, 12), **PAIRS},
    {"peepholes": QFormat(1, 14), "activation": "taylor(segments=64, order=3)"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("gaps", [(5,), (5, 20, 10, 5, 15, 5)], ids=["closest", "apart"])
def test_random_units_with_peepholes(formats, gaps):
    rng = random.Random(str(formats))
    config = config_of(shifts=(15, 15), **formats)
    widths = [config.preact.width] * GATES + [config.cell.width] + [config.preact.width] * 3
    h, c = play(config, [[element(rng, bits) for bits in widths] for _ in range(60)], gaps, rng)
    assert len(set(h.tolist())) > 10 and len(set(c.tolist())) > 10


@pytest.mark.parametrize(
    "activation", ["table(segments=16)", "plan", "nonuniform", "taylor(segments=64, order=3)", "hard5/quadratic"]
)
def test_the_cell_follows_the_latency_of_its_activation_unit(activation):
    rng = random.Random(activation)
    config = config_of(activation=activation)
    widths = [config.preact.width] * GATES + [config.cell.width]
    play(config, [[element(rng, bits) for bits in widths] for _ in range(20)], (5, 20, 5, 10), rng)


def test_full_scale_corners():
    """Every combination of full-scale and zero inputs."""
    rng = random.Random(1)
    corners = itertools.product((LOWEST, 0, HIGHEST), repeat=GATES + 1)
    _, c = play(config_of(), [list(corner) for corner in corners], (SERIAL_SLOTS,), rng)
    assert {LOWEST, HIGHEST} <= set(c.tolist()), "c never saturates"


@pytest.mark.parametrize("family, blocks", [("xc7", 3), ("ecp5", 4)])
def test_a_24_bit_c_is_one_product_of_25_by_18_bits(family, blocks, tmp_path):
    """Beside the two multipliers of the activation unit; blocks of 18 x 18 bits take two."""
    config = config_of(cell=QFormat(7, 16), preact=QFormat(3, 16), activated=QFormat(0, 17))
    verilog = write_verilog(tmp_path / "cell.v", cell_of(config), "lstm_cell")
    assert Usage.of_stat(yosys_stat(verilog, "lstm_cell", family, tmp_path)).dsp == blocks
