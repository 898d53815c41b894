"""The MAC unit against a model that counts in absolute numbers: columns issued, what they wait for, what they free."""

import random
from collections import deque
from dataclasses import dataclass

import pytest

from lstm_hw.gateware.mac_unit import MacUnit
from lstm_hw.machine.isa import COUNT_BITS, SPACE_CONSTANT, SPACE_H, SPACE_X
from lstm_hw.machine.latency import HAZARD_COLUMNS
from tests.builders import config_of
from tests.simulation import monitor, observe, simulate, source

STATES = ("o_busy", "o_stall_weights", "o_stall_h", "o_stall_x", "o_stall_output", "o_empty")
INPUTS = ("i_clear", "i_clear_h", "i_ring", "i_h", "i_x", "i_fresh", "i_ring_word", "i_finish_free")
OUTPUTS = (*STATES, "o_free_x", "o_release", "o_idle", "o_issued", "o_finished")
CONFIGS = {
    "K=1": {"weight_words": 64, "accumulators": 8, "finish_entries": 2},
    "K=3": {"weight_words": 61, "accumulators": 11, "finish_entries": 3, "contexts": 3, "x_per_beat": 4},
    "K=2": {"weight_words": 100, "accumulators": 3, "finish_entries": 5, "contexts": 2, "x_per_beat": 2},
    "more tokens than an offset can name": {
        "weight_words": 64,
        "accumulators": 4096,
        "finish_entries": 2,
        "x_elements": 1 << 16,
        "h_elements": 1 << 16,
    },
}


@dataclass
class Column:
    """One column of a command: what it needs, what it does, and the word that goes to the lanes for it."""

    command: dict
    slot: int
    index: int  # in the slot
    position: int  # in the command

    @property
    def first(self):
        return self.index == 0

    @property
    def last(self):
        return self.index == self.command["columns"] - 1

    @property
    def ends(self):
        return self.last and self.slot == self.command["slots"] - 1

    @property
    def source(self):
        return self.command["source"] + (0 if self.command["hold"] else self.slot)

    @property
    def target(self):
        return self.command["target"] + self.slot


class Model:
    """Predicts every output of a cycle from the inputs of this cycle and of those before.

    Tokens and ring words are numbered from the start and never counted down; a ring word's address follows from
    its number.
    """

    def __init__(self, config, ring_base):
        self.config, self.ring_base = config, ring_base
        self.columns = deque()
        self.arrived = dict.fromkeys(("h", "x", "fresh", "ring"), 0)
        self.used = dict.fromkeys(self.arrived, 0)
        self.finishes = self.finishes_freed = self.finishes_started = 0
        self.stored = {}  # accumulator entry -> cycle of its last store
        self.issue = None  # what the registers show in this cycle
        self.log = []  # (cycle, column)

    def step(self, now, inputs, command):
        """The outputs of cycle ``now``; ``command`` is what is offered, taken if the model is ready."""
        state, column = self._state(now)
        expected = dict.fromkeys(OUTPUTS, 0) | {state: 1, "o_idle": int(not self.columns)}
        if self.issue:
            expected |= {"o_issued": 1, "o_finished": self.issue["finish"]}
        issue, ready = self.issue, not self.columns
        self.issue = None
        if state == "o_busy":
            ready = column.ends
            self._go(now, column, expected)
        taken = ready and command is not None
        if taken:
            self._take(command)
        self._arrive(inputs)
        return expected, issue, ready

    def _state(self, now):
        if not self.columns:
            return "o_empty", None
        column = self.columns[0]
        command = column.command
        awaited = command["offset"] + column.index + 1
        waits = command["wait"] and column.slot == 0
        if command["stream"] and self.arrived["ring"] <= self._ring_word(column):
            return "o_stall_weights", column
        if not command["stream"] and command["fresh"] and self.arrived["fresh"] == self.used["fresh"]:
            return "o_stall_weights", column
        if waits and command["space"] == SPACE_H and self.arrived["h"] - self.used["h"] < awaited:
            return "o_stall_h", column
        if command["load"] and column.first and now < self.stored.get(column.source, -HAZARD_COLUMNS) + HAZARD_COLUMNS:
            return "o_stall_h", column
        if waits and command["space"] == SPACE_X and self.arrived["x"] - self.used["x"] < awaited:
            return "o_stall_x", column
        if (
            command["finish"]
            and column.first
            and self.finishes_started - self.finishes_freed == self.config.finish_entries
        ):
            return "o_stall_output", column
        return "o_busy", column

    def _ring_word(self, column):
        return self.used["ring"] + column.command["weight"] + column.position

    def _go(self, now, column, expected):
        command, config = column.command, self.config
        weight = command["weight"] + column.position
        if command["stream"]:
            weight = self.ring_base + self._ring_word(column) % (config.weight_words - self.ring_base)
        operand = command["operand"] + (0 if command["space"] == SPACE_CONSTANT else column.index)
        self.issue = {name: command[name] for name in ("space", "rotate", "mask")} | {
            "weight": weight,
            "operand": operand,
            "first": int(command["load"] and column.first),
            "store": int(command["store"] and column.last),
            "finish": int(command["finish"] and column.last),
        }
        if self.issue["first"]:
            self.issue["source"] = column.source
        if self.issue["store"]:
            self.issue["target"] = column.target
            self.stored[column.target] = now
        if self.issue["finish"]:
            self.issue["target"] = self.finishes % config.finish_entries
            self.finishes += 1
        self.finishes_started += command["finish"] and column.first
        if command["wait"] and command["take"] and column.slot == 0 and column.last:
            self.used["x" if command["space"] == SPACE_X else "h"] += command["offset"] + column.index + 1
        self.used["fresh"] += command["fresh"] and not command["stream"]
        if column.ends:
            expected["o_free_x"] = command["free"]
            if command["release"]:
                expected["o_release"] = command["weight"] + column.position + 1
                self.used["ring"] += expected["o_release"]
        self.columns.popleft()
        self.log.append((now, column))

    def _take(self, command):
        for position in range(command["slots"] * command["columns"]):
            slot, index = divmod(position, command["columns"])
            self.columns.append(Column(command, slot, index, position))

    def _arrive(self, inputs):
        for name, port in (("h", "i_h"), ("x", "i_x"), ("fresh", "i_fresh"), ("ring", "i_ring_word")):
            self.arrived[name] += inputs[port]
        self.finishes_freed += inputs["i_finish_free"]
        for port, names in (("i_clear_h", ("h",)), ("i_clear", ("x", "fresh", "ring")), ("i_ring", ("ring",))):
            for name in names if inputs[port] else ():
                self.arrived[name] = self.used[name] = 0


def mac_command(columns, slots=1, **fields):
    return {
        "weight": 0,
        "operand": 0,
        "columns": columns,
        "slots": slots,
        "source": 0,
        "target": 0,
        "mask": 1,
        "rotate": 0,
        "space": SPACE_H,
        "load": 0,
        "hold": 0,
        "store": 0,
        "finish": 0,
        "stream": 0,
        "release": 0,
        "fresh": 0,
        "wait": 0,
        "take": 0,
        "free": 0,
        "offset": 0,
    } | fields


def random_command(rng, config, ring_words):
    """A command that the buffers can serve: it stays inside its memories and waits for nothing that cannot come."""
    slots, columns = rng.choice((0, 1, 1, 2, 3)), rng.choice((0, 1, 1, 2, 3, rng.randint(4, 12)))
    slots = min(slots, config.accumulators)
    stream = int(rng.random() < 0.5)
    room = ring_words if stream else config.weight_words
    while slots * columns > room:
        columns -= 1
    space = rng.choice((SPACE_H, SPACE_H, SPACE_X, SPACE_X, SPACE_CONSTANT))
    wait = int(space != SPACE_CONSTANT and rng.random() < 0.6)
    finish = int(rng.random() < 0.4)
    entries = config.accumulators - max(slots, 1) + 1
    return mac_command(
        columns,
        slots,
        weight=rng.randint(0, room - slots * columns) if rng.random() < 0.7 else 0,
        operand=rng.randrange(15) if space == SPACE_CONSTANT else rng.randrange(config.h_elements - 12),
        source=rng.randrange(entries),
        target=rng.randrange(entries),
        mask=rng.randrange(1 << config.contexts),
        rotate=rng.randrange(config.contexts),
        space=space,
        load=int(rng.random() < 0.6),
        hold=int(rng.random() < 0.3),
        store=int(not finish and rng.random() < 0.7),
        finish=finish,
        stream=stream,
        release=int(stream and rng.random() < 0.6),
        fresh=int(rng.random() < 0.4),
        wait=wait,
        take=int(wait and rng.random() < 0.7),
        free=int(rng.random() < 0.3),
        offset=rng.choice((0, 0, rng.randrange(6))),
    )


class TB:
    """A MAC unit with units around it that produce and consume at random.

    Parameters
    ----------
    config : EngineConfig
    runs : list of lists of commands
        Before each the unit is cleared and the ring set up.
    rates : dict
        Probability in each cycle of a token of ``h``, ``x``, ``fresh``, ``ring`` and of a freed row block (``room``).
    """

    def __init__(self, config, runs, rates, ring_base, rng, idle=0.0):
        self.config, self.runs, self.rates, self.rng, self.idle = config, runs, rates, rng, idle
        self.unit = MacUnit(config)
        self.ring_base = ring_base
        self.model = Model(config, ring_base)
        self.states, self.finished = [], 0
        self.quiet = True

    def run(self):
        unit = self.unit

        async def ends(context):
            for number, commands in enumerate(self.runs):
                context.set(unit.i_clear, 1)
                context.set(unit.i_clear_h, self.rng.random() < 0.5 if number else 1)
                context.set(unit.i_ring, 1)
                context.set(unit.i_ring_base, self.ring_base)
                await context.tick()
                for port in ("i_clear", "i_clear_h", "i_ring"):
                    context.set(getattr(unit, port), 0)
                self.quiet = False
                await source(unit.i, commands, self.rng, self.idle)(context)
                await context.tick().until(unit.o_idle)
                await context.tick().repeat(3)
                self.quiet = True
                await context.tick()

        simulate(unit, ends, background=(self.around, self.watch(), monitor(unit.i, "commands")))
        total = sum(c["slots"] * c["columns"] for commands in self.runs for c in commands)
        assert len(self.model.log) == total
        return self.model

    async def around(self, context):
        unit, config, rng = self.unit, self.config, self.rng
        in_ring = finished = 0
        while True:

            def happens(name):
                return not self.quiet and rng.random() < self.rates[name]

            ring_word = happens("ring") and in_ring < config.weight_words - self.ring_base
            frees = finished > 0 and happens("room")
            waiting = self.model.arrived["fresh"] - self.model.used["fresh"]
            fresh = happens("fresh") and waiting < config.weight_words - 1
            context.set(unit.i_ring_word, ring_word)
            context.set(unit.i_finish_free, frees)
            context.set(unit.i_fresh, fresh)
            context.set(unit.i_h, happens("h"))
            context.set(unit.i_x, rng.randint(1, config.x_per_beat) if happens("x") else 0)
            _, _, ring, release, done = await context.tick().sample(unit.i_ring, unit.o_release, unit.o_finished)
            in_ring = 0 if ring else in_ring + ring_word - release
            finished += done - frees

    def watch(self):
        unit = self.unit

        def check(now, valid, ready, command, issue, *values):
            values = dict(zip((*INPUTS, *OUTPUTS), values, strict=True))
            offered = {name: command[name] for name in command.shape().members} if valid else None
            expected, issued, model_ready = self.model.step(now, values, offered)
            assert {name: values[name] for name in OUTPUTS} == expected, f"cycle {now}"
            assert ready == model_ready, f"cycle {now}"
            for name, value in (issued or dict.fromkeys(("first", "store", "finish"), 0)).items():
                assert issue[name] == value, f"cycle {now}: {name}"
            self.states.append(next(name for name in STATES if values[name]))

        return observe(
            check,
            unit.i.valid,
            unit.i.ready,
            unit.i.payload,
            unit.o_issue,
            *(getattr(unit, name) for name in (*INPUTS, *OUTPUTS)),
        )


FAST = dict.fromkeys(("h", "x", "fresh", "ring", "room"), 1.0)


@pytest.mark.parametrize("slow", ["h", "x", "fresh", "ring", "room", None])
@pytest.mark.parametrize("name", CONFIGS)
def test_random_commands(name, slow):
    config = config_of(**CONFIGS[name])
    rng = random.Random(f"{name} {slow}")
    base = rng.randint(config.weight_words // 3, config.weight_words - 20)
    runs = [[random_command(rng, config, config.weight_words - base) for _ in range(20)] for _ in range(2)]
    for commands in runs:
        for space in (SPACE_H, SPACE_X):
            commands.append(mac_command(30, space=space, wait=1, take=1, offset=20))
    rates = FAST
    if slow is not None:
        rare = {"x": 0.1 / config.x_per_beat, "room": 0.03}.get(slow, 0.1)
        rates = {n: rng.choice((0.5, 0.9)) for n in FAST} | {slow: rare}
    bench = TB(config, runs, rates, base, rng, idle=rng.choice((0.0, 0.7)))
    model = bench.run()
    if slow is not None:
        stall = {
            "h": "o_stall_h",
            "x": "o_stall_x",
            "fresh": "o_stall_weights",
            "ring": "o_stall_weights",
            "room": "o_stall_output",
        }[slow]
        assert stall in bench.states, "the test never waits for what it makes rare"
    loads = [(n, c.source) for n, c in model.log if c.first and c.command["load"]]
    stores = [(n, c.target) for n, c in model.log if c.last and c.command["store"]]
    assert all(not 0 < n - s < HAZARD_COLUMNS for n, e in loads for s, entry in stores if e == entry)


@pytest.mark.parametrize("space, name", [(SPACE_H, "h"), (SPACE_X, "x")])
def test_of_more_tokens_than_an_offset_can_name_none_is_taken_to_be_there(space, name):
    """As soon as tokens are counted in more bits than offsets; with fewer elements, in fewer."""
    for elements in (1 << COUNT_BITS - 3, 1 << COUNT_BITS - 2, 1 << 16):
        config = config_of(weight_words=64, x_elements=elements, h_elements=elements)
        commands = [mac_command(1, space=space, wait=1, offset=offset) for offset in (0, 20, 99)]
        bench = TB(config, [commands], FAST | {"x": 0.0, "h": 0.0, name: 1.0}, 32, random.Random(1))
        cycles = [now for now, _ in bench.run().log]
        # A token comes in each cycle, from the first in which the unit is not cleared.
        assert [now - cycles[0] for now in cycles] == [0, 20, 99]


def test_no_bubble_between_commands():
    """One column a cycle from the first to the last, one-column commands included."""
    rng, config = random.Random(1), config_of(**CONFIGS["K=1"])
    commands = [mac_command(rng.choice((1, 1, 2, 5)), rng.choice((1, 1, 3))) for _ in range(30)]
    bench = TB(config, [commands], FAST, 32, rng)
    cycles = [now for now, _ in bench.run().log]
    assert cycles == list(range(cycles[0], cycles[0] + len(cycles)))
    assert cycles[0] == 2, "cleared in cycle 0, taken in 1"


@pytest.mark.parametrize("columns", [1, 2, 5])
@pytest.mark.parametrize("between, bubbles", [(0, 2), (1, 1), (2, 0), (3, 0)])
def test_sums_that_were_just_stored(between, bubbles, columns):
    """A slot starts from the entry of the slot before it, with ``between`` other columns in between."""
    config = config_of(**CONFIGS["K=1"])
    commands = [mac_command(columns, load=1, store=1, source=2, target=2), mac_command(between)] * 5
    bench = TB(config, [commands], FAST, 32, random.Random(1))
    cycles = [now for now, column in bench.run().log if column.first and column.command["load"]]
    # A command without columns is held for no cycle, but taken in one of its own.
    empty = 1 if between == 0 else 0
    assert [b - a for a, b in zip(cycles, cycles[1:], strict=False)] == [columns + between + bubbles] * 4
    assert bench.states.count("o_stall_h") == 4 * (bubbles - empty)


def test_ring_of_exactly_one_command():
    """Commands that need the whole ring: the window wraps anywhere, and each waits for all its words."""
    config = config_of(**CONFIGS["K=1"])
    commands = [
        mac_command(columns, stream=1, release=1, weight=weight)
        for columns, weight in ((10, 0), (7, 3), (1, 9), (10, 0), (9, 1), (3, 0), (10, 0))
    ]
    model = TB(config, [commands], FAST | {"ring": 0.5}, 54, random.Random(2)).run()
    assert len({n for n, _ in model.log}) == sum(c["columns"] for c in commands)
