"""Every depth and delay of the machine, measured in a simulation of the component that has it."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lstm_hw.gateware.burst_splitter import BurstSplitter
from lstm_hw.gateware.cell import Cell
from lstm_hw.gateware.cell_unit import CellUnit
from lstm_hw.gateware.delta_encoder import DeltaEncoder
from lstm_hw.gateware.engine import LanePath
from lstm_hw.gateware.group_judge import GroupJudge
from lstm_hw.gateware.input_unit import InputUnit
from lstm_hw.gateware.instruction import command_layout
from lstm_hw.gateware.lane_group import LaneArray
from lstm_hw.gateware.load_path import LoadPath
from lstm_hw.gateware.mac_unit import MacUnit
from lstm_hw.gateware.parallel_cell import ParallelCell
from lstm_hw.gateware.peephole_cell import PeepholeCell
from lstm_hw.gateware.queue import Queue
from lstm_hw.gateware.requantize import Requantize
from lstm_hw.gateware.sequencer import Sequencer
from lstm_hw.gateware.unpack_unit import DECODERS
from lstm_hw.gateware.vector_memory import VectorMemory
from lstm_hw.machine import latency
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.isa import MODE_CELL, SPACE_CONSTANT, SPACE_X, encode, instruction
from lstm_hw.machine.latency import QUEUE_DEPTH, CellLatency
from lstm_hw.machine.limits import GATES, H_GROUP
from tests.builders import config_of, lstm_cell
from tests.simulation import simulate

DOCS = Path(__file__).parents[2] / "docs"
T = 5
"""Cycle in which a component gets what is followed through it."""


def follow(component, inputs, outputs, cycles=60):
    """Drive inputs cycle by cycle and sample outputs.

    ``inputs`` is a list of (signal, first cycle, value) or (signal, first cycle, value, cycles): the value is held for
    that long, 1 by default, and is 0 otherwise. Returns a list of what each output was in each cycle.
    """
    seen = [[] for _ in outputs]

    async def bench(context):
        for now in range(cycles):
            for signal, first, value, *held in inputs:
                if now == first:
                    context.set(signal, value)
                elif now == first + (held[0] if held else 1):
                    context.set(signal, 0 if isinstance(value, int) else {})
            _, _, *values = await context.tick().sample(*outputs)
            for found, value in zip(seen, values, strict=True):
                found.append(value)

    simulate(component, bench)
    return seen


def only(values):
    """The one cycle in which a signal is high."""
    (cycle,) = (n for n, value in enumerate(values) if value)
    return cycle


def first(values):
    return next(n for n, value in enumerate(values) if value)


def sequencer():
    unit = Sequencer(config_of(program_length=16))
    ring, mac = instruction("RING"), instruction("MAC", columns=1, slots=1)
    program = [ring, ring, mac, ring, instruction("HALT")]
    writes = [
        drive
        for address, word in enumerate(map(encode, program))
        for drive in (
            (unit.i_write, address, 1),
            (unit.i_write_address, address, address),
            (unit.i_write_data, address, word),
        )
    ]
    start = len(program)
    rings, running, offered = follow(
        unit,
        [*sorted(writes, key=lambda d: d[1]), (unit.i_start, start, 1), (unit.o_mac.ready, 0, 1, 60)],
        [unit.o_ring, unit.o_running, unit.o_mac.valid],
    )
    one, two, three = (n for n, high in enumerate(rings) if high)
    begun, scalar, dispatch = first(running), two - one, only(offered)
    fetch = one - begun
    execute = dispatch - (two + scalar)
    return {
        "START": begun - start,
        "FETCH": fetch,
        "EXECUTE": execute,
        "SCALAR": scalar,
        "DISPATCH": three - dispatch - fetch,
    }


def queue():
    unit = Queue(command_layout("MAC", config_of()), QUEUE_DEPTH)
    full, valid = follow(unit, [(unit.i.valid, T, 1, 50)], [unit.i.ready, unit.o.valid])
    return {"QUEUE_DEPTH": sum(full[T:]), "QUEUE": first(valid) - T}


def mac_unit():
    """A command, the tokens of every kind, and a sum that is needed at once."""
    config = config_of(finish_entries=2)
    command = {"columns": 1, "slots": 1, "mask": 1, "space": SPACE_CONSTANT}
    later = 20

    def went(token=None, before=(), **fields):
        unit = MacUnit(config)
        inputs = [(unit.i.payload, 0, command | fields, 60), (unit.i.valid, T, 1)]
        for signal, cycle in [(token, later), *before] if token else before:
            inputs.append((getattr(unit, signal), cycle, 1))
        return follow(unit, inputs, [unit.o_busy, unit.o_issued])

    busy, issued = went()
    tokens = {
        only(went("i_h", space=0, wait=1)[0]) - later,
        only(went("i_x", space=SPACE_X, wait=1)[0]) - later,
        only(went("i_fresh", fresh=1)[0]) - later,
        only(went("i_ring_word", stream=1)[0]) - later,
        [n for n, high in enumerate(went("i_finish_free", slots=3, finish=1)[0]) if high][-1] - later,
    }
    (token,) = tokens
    hazard, _ = went(slots=2, store=1, load=1, hold=1, source=1, target=1)
    one, two = (n for n, high in enumerate(hazard) if high)
    return {
        "TAKE": only(busy) - T,
        "ISSUE": only(issued) - only(busy),
        "TOKEN": token,
        "FREE_DELAY": token,
        "H_TOKEN_DELAY": token,
        "HAZARD_COLUMNS": two - one,
    }


def input_unit():
    unit = InputUnit(config_of())
    ready, writes, elements = follow(
        unit,
        [(unit.i.payload, 0, {"elements": 1}, 60), (unit.i.valid, T, 1), (unit.i_x.valid, 0, 1, 60)],
        [unit.i_x.ready, unit.o_write, unit.o_elements],
    )
    write = only(writes) - only(ready)
    assert only(elements) == only(writes) and only(ready) - T == latency.TAKE
    return {"INPUT_WRITE": write, "X_TOKEN_DELAY": write + latency.TOKEN}


def lists():
    """The encoder, and a MAC whose list has been complete for long."""
    config = config_of(lists=True)
    unit = DeltaEncoder(config, 4, 16)
    (token,) = follow(unit, [(unit.i.token, T, 1), (unit.i_valid, T, 1)], [unit.o_token])
    mac = MacUnit(config)
    command = {"columns": 3, "slots": 1, "mask": 1, "space": SPACE_X}
    inputs = [(mac.i.payload, 0, command, 60), (mac.i.valid, T, 1), (mac.i_x_length, 0, 1, 60)]
    (busy,) = follow(mac, inputs, [mac.o_busy])
    return {"ENCODE": only(token) - T, "OPEN_LIST": only(busy) - T - latency.TAKE}


def groups_of_h():
    unit = GroupJudge(config_of(sparse_h=True))
    vector = [(unit.i_new["comes"], 0, 1), (unit.i_new["elements"], 0, H_GROUP)]
    (known,) = follow(unit, [*vector, (unit.i["last"], T, 1), (unit.i_valid, T, 1)], [unit.o_known])
    return {"JUDGE": known.index(1, known.index(0)) - latency.TOKEN - T}


def vector_memory():
    unit = VectorMemory(config_of())
    inputs = [(unit.i_space, 0, SPACE_CONSTANT, 60), (unit.i_valid, T, 1)]
    (operands,) = follow(unit, inputs, [unit.o_operands.as_value()])

    def forwarded(cycle):
        unit = VectorMemory(config_of(cells=5, parallel=True))
        inputs = [(unit.i_valid, T, 1), (unit.i_h_write, cycle, 1), (unit.i_h_data, cycle, 1)]
        return any(follow(unit, inputs, [unit.o_operands.as_value()])[0])

    latest = max(delay for delay in range(5) if forwarded(T + delay))
    return {"OPERANDS": only(operands) - T, "H_AHEAD": latency.ISSUE + latest}


PULSE_WEIGHT, PULSE_OPERANDS = 1 << 14, [2]
"""Their product is one that no rounding drops: lower bits of finished sums are not kept."""


def lanes():
    """What pulses of the fields do to the sum, seen by a ``finish`` in every cycle."""
    config = config_of(rows=4, weight_words=2, accumulators=16, finish_entries=16)
    columns = range(config.finish_entries)

    def sums(**fields):
        """The sums; word 1 holds a weight, word 0 zeros, and a field is a list of its values."""
        unit, answers = LaneArray(config), []

        async def bench(context):
            context.set(unit.i_fill[0], {"valid": 1, "address": 1, "chunk": 0, "data": PULSE_WEIGHT})
            await context.tick()
            context.set(unit.i_fill[0], {})
            await context.tick().repeat(4)
            for now in columns:
                control = {"operands": PULSE_OPERANDS, "finish": 1, "target": now}
                context.set(unit.i_control, control | {name: values[now] for name, values in fields.items()})
                await context.tick()
            context.set(unit.i_control, {})
            await context.tick().repeat(8)
            for entry in columns:
                context.set(unit.i_drain, {"valid": 1, "entry": entry})
                await context.tick()
                context.set(unit.i_drain, {})
                await context.tick().repeat(latency.drain_latency(config.groups) - 1)
                answers.append(context.get(unit.o_drained[0]))

        simulate(unit, bench)
        return answers

    def pulse(cycle, value=1, low=0):
        return [value if n == cycle else low for n in columns]

    always = [1] * len(columns)
    weight = first(sums(weight=pulse(T))) - T
    operands = first(sums(weight=always, operands=pulse(T, PULSE_OPERANDS, [0]))) - T
    grown = sums(weight=always, first=pulse(T))
    begins = next(n for n in columns if n and grown[n] < grown[n - 1]) - T
    # The sum of a pulse goes to the entry of its number in the cycle of its finish, and is asked for again.
    entry = stores = T + weight
    stored = {"weight": pulse(T), "store": pulse(stores), "first": always}
    asked = first(sums(**stored, source=pulse(stores + 3, entry))[stores + 1 :]) + stores + 1
    source = asked - (stores + 3)
    soonest = first(sums(**stored, source=pulse(0, 0, entry))[stores + 1 :]) + stores + 1
    return {
        "WEIGHT_READ": weight - operands,
        "OPERAND_REGISTER": operands - source,
        "PRODUCT": source - begins,
        "SUM": begins,
        "STORED": soonest - source - stores,
    }


def lane_path():
    """The fields of a column reach the first group as far apart as its operands, which take longest, allow."""
    mac = MacUnit(config_of())
    unit = LanePath(mac.config, mac.o_issue.shape())
    inputs = [(unit.i_issue, T, {"weight": 1, "space": SPACE_CONSTANT}), (unit.i_issued, T, 1)]
    weight, operands = follow(unit, inputs, [unit.o_control.weight, unit.o_control.operands.as_value()])
    assert only(operands) - T == latency.OPERANDS
    return {"CONTROL_LEAD": only(weight) - T}


def drain_chain():
    """A request through one group and through three."""

    def delays(rows):
        unit = LaneArray(config_of(rows=rows, axi_data_bits=64))
        last = {"store": 0, "finish": 1}
        fill = [
            (unit.i_fill[0], n, {"valid": 1, "chunk": n, "data": PULSE_WEIGHT})
            for n in range(unit.config.beats_per_word)
        ]
        finish = 24
        asked, data = follow(
            unit,
            [
                *fill,
                (unit.i_control, 20, {"operands": PULSE_OPERANDS}, 4),
                (unit.i_control, finish, {"operands": PULSE_OPERANDS} | last),
                (unit.i_drain, 40, {"valid": 1}),
            ],
            [unit.o_drain.valid, unit.o_drained[0]],
        )
        return only(asked) - 40, only(data) - 40

    (one, data), (three, _) = delays(16), delays(48)
    hop = (three - one) // 2
    assert one == hop
    return {"HOP": hop, "DRAINED": data - one}


def requantize():
    def stages(output, fractions=(0,), **stages):
        unit = Requantize(8, fractions, QFormat(7, 0), **stages)
        (values,) = follow(unit, [(unit.i, T, 5)], [getattr(unit, output)])
        assert unit.latency == only(values) - T
        return unit.latency

    whole, bound = stages("o"), stages("o") - stages("o_next", registered=False)
    rounding = whole - stages("o", (0, 1), direct=True)
    align = whole - stages("o", direct=True) - rounding
    return {"REQUANTIZE": whole, "ALIGN": align, "BOUND": bound, "ROUND": rounding}


def cell():
    """Data, not its valid bits: the cycles in which c and h are those of the unit, which nothing else looks like."""
    config = config_of()
    unit, delays = Cell(config), CellLatency(config)
    preact, c = [9000, -3000, 5000, 2000], 7000
    h, new_c = lstm_cell(config, np.array(preact), c)
    seen_c, seen_h = follow(
        unit, [(unit.i_preact, T, preact), (unit.i_start, T, 1), (unit.i_c, 0, c, 60)], [unit.o_c, unit.o_h]
    )
    update, latest = seen_c.index(int(new_c)) - T, seen_h.index(int(h)) - T
    activation = unit.activation.latency
    multiply = latest - delays.tanh - latency.REQUANTIZE
    config, weights = config_of(peepholes=QFormat(1, 14)), [9000, -8000, 7000]
    _, new_c = lstm_cell(config, np.array(preact), c, peepholes=weights)

    def takes(cycle):
        unit = PeepholeCell(config)
        given = [(unit.i_preact, T, preact), (unit.i_start, T, 1)]
        given += [(unit.i_c, cycle, c), (unit.i_peepholes, cycle, weights)]
        return int(new_c) in follow(unit, given, [unit.o_c])[0]

    (read,) = (delay for delay in range(4) if takes(T + delay))  # its address is due as it starts
    return {
        "READ_C": read,
        "MULTIPLY": multiply,
        "SLOT": update - latency.REQUANTIZE - latency.CELL_SUM - multiply - 2 - activation,
        "CELL_SUM": update - delays.products - latency.REQUANTIZE,
    }


def parallel_cell():
    """The cycle in which c is taken, of which h follows."""
    config = config_of(cells=5, parallel=True)
    delays, preact, c = CellLatency(config), [9000, -3000, 5000, 2000], 7000
    h, _ = lstm_cell(config, np.array(preact), c)

    def found(cycle):
        unit = ParallelCell(config)
        seen = follow(unit, [(unit.i_preact, T, preact), (unit.i_c, cycle, c)], [unit.o_h])[0]
        return [at for at, value in enumerate(seen) if value == int(h)]

    taken = {T + delay: at for delay in range(delays.products) if (at := found(T + delay))}
    ((read, (latest,)),) = taken.items()
    return {
        "CELL_OPERANDS": T + delays.gates["f"] - read,
        "CELL_PRODUCT": latest - T - delays.tanh,
    }


def cell_unit():
    """One unit from its finished row block to the output stream."""
    config = config_of(rows=4, cells=5)
    command = {"units": 1, "mask": 1, "mode": MODE_CELL, "write": 1, "emit": 1}

    def run(arrives=()):
        unit = CellUnit(config)
        return follow(
            unit,
            [
                (unit.i.payload, 0, command, 1),
                (unit.i.valid, 0, 1),
                (unit.i_finished, T, 1),
                (unit.o.ready, 0, 1, 60),
                *((unit.i_arrived, cycle, 1) for cycle in arrives),
            ],
            [unit.o_finish_free, unit.o_drain.valid, unit.o_h_write, unit.o.valid, unit.o_idle],
        )

    starts, requests, *_ = run()
    start, request = only(starts), only(requests)
    *_, writes, beats, idle = run([request + latency.drain_latency(config.groups)])
    written, sent = only(writes), only(beats)
    assert written - start == CellLatency(config).total
    assert first(idle[sent:]) == latency.TOKEN
    told = start - T - latency.TOKEN
    return {
        "DRAIN_REQUEST": request - start,
        "DRAIN_TOLD": told,
        "READABLE": told - latency.CONTROL_LEAD + latency.TOKEN + request - start,
        "FINISH_DELAY": latency.ISSUE + told + latency.TOKEN,
        "OUTPUT_QUEUE": sent - written,
    }


def burst_splitter():
    """One descriptor of one burst, and as many as fit while nobody takes a burst."""
    valid, ready = [], []
    for cycles, seen in ((1, valid), (50, ready)):
        unit = BurstSplitter(32, 64, 4)
        inputs = [(unit.i.payload, 0, {"beats": 1}, 60), (unit.i.valid, T, 1, cycles)]
        seen += follow(unit, inputs, [unit.o.valid, unit.i.ready])
    return {
        "SPLIT_ADD": first(valid[0]) - T - latency.SPLIT_CUT - latency.SPLIT_OUT,
        "SPLIT_CUT": first(valid[0]) - T - latency.SPLIT_ADD - latency.SPLIT_OUT,
        "SPLIT_DELAY": first(valid[0]) - T - latency.SPLIT_OUT,
        "SPLIT_OUT": first(valid[0]) - T - latency.SPLIT_DELAY,
        "SPLIT_BURSTS": sum(ready[1][T:]) - latency.SPLIT_ADD - latency.SPLIT_CUT,
    }


def load_path():
    """A LOAD of one word; then as many as the port takes while the memory is silent; then one that waits for credit."""
    config = config_of(rows=4, outstanding=4)
    answer, later = 20, 30

    def run(loads=1, stream=0):
        unit = LoadPath(config)
        bus = unit.bus[0]
        inputs = [
            (unit.i_start, 1, 1),
            (unit.i_ring, 2, 1),
            (unit.i_ring_base, 2, config.weight_words),
            (unit.i.payload, 0, {"beats": 1, "stream": stream}, 60),
            (unit.i.valid, T, 1, loads),
            (bus.arready, 0, 1, 60),
            (bus.rvalid, answer, 1 if loads == 1 and not stream else 0),
            (bus.rlast, 0, 1, 60),
            (unit.i_release, later, 1),
        ]
        outputs = [unit.i.ready, bus.arvalid, unit.o_beats, unit.o_fill[0].valid, unit.o_fresh, unit.o_idle]
        return follow(unit, inputs, outputs)

    _, asks, beats, fills, words, idle = run()
    taken, requests, *_ = run(50)
    _, credited, *_ = run(stream=1)
    assert sum(requests) == latency.in_flight(config.outstanding)
    return {
        "REQUEST": only(asks) - T - latency.SPLIT_DELAY - latency.SPLIT_OUT,
        "BEAT": only(beats) - answer,
        "FILL": only(fills) - only(beats),
        "WORD_TOKEN_DELAY": only(words) - answer + latency.TOKEN,
        "LOADED": first(idle[answer:]),
        "PENDING_LOADS": sum(taken[T:]),
        "CREDIT": only(credited) - later - latency.TOKEN - latency.REQUEST,
    }


def decoder(kind="bitmap"):
    """A word of two beats, as it is."""
    unit = DECODERS[kind](config_of(rows=8, decoder=kind))
    words, _ = follow(unit, [(unit.i_valid, T, 1, 2), (unit.i_first, T, 1)], [unit.o_valid, unit.o_busy])
    return {"DECODE": only(words) - (T + 1)}


def esell_decoder():
    return decoder("esell")


MEASURED = (
    decoder,
    esell_decoder,
    sequencer,
    queue,
    mac_unit,
    input_unit,
    lists,
    groups_of_h,
    vector_memory,
    lanes,
    lane_path,
    drain_chain,
    requantize,
    cell,
    parallel_cell,
    cell_unit,
    burst_splitter,
    load_path,
)


@cache
def measured(component):
    return component()


@pytest.mark.parametrize("component", MEASURED, ids=lambda function: function.__name__)
def test_components(component):
    found = measured(component)
    assert found == {name: getattr(latency, name) for name in found}


@pytest.mark.parametrize("fields, serial, parallel", [({}, 44, 28), ({"activation": "table"}, 42, 24)], ids=str)
def test_from_a_last_column_to_the_first_that_uses_its_h(fields, serial, parallel):
    """On 64 lanes, as docs/decisions/0034-a-parallel-cell.md says."""
    cells = (CellLatency(config_of(rows=64, cells=5, parallel=parallel, **fields)) for parallel in (False, True))
    assert [latency.FINISH_DELAY + cell.total + cell.token for cell in cells] == [serial, parallel]


@pytest.mark.parametrize("activation", ["table", "plan", "pwl", "nonuniform", "quadratic64", "cubic"])
@pytest.mark.parametrize("elu", [False, True])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_h_of_a_parallel_cell_comes_behind_plain_outputs(activation, elu, kind):
    """Four of them are written one a cycle; the first hidden unit behind them starts ``1 + TAKE`` cycles later."""
    cell = CellLatency(config_of(cells=5, parallel=True, chains=True, activation=activation, elu=elu, kind=kind))
    assert cell.plain + GATES - 1 < 1 + latency.TAKE + cell.cell


def test_no_number_is_left_out():
    numbers = {name for name, value in vars(latency).items() if name.isupper() and isinstance(value, int)}
    numbers -= {"GATES", "SERIAL_SLOTS", "DEADLOCK_CYCLES", "SETTLE_CYCLES"}
    assert set().union(*map(measured, MEASURED)) == numbers
    assert f"nothing has moved for {latency.DEADLOCK_CYCLES} cycles" in (DOCS / "architecture.md").read_text()
