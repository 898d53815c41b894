"""Random programs that run to their end, with loops, conditions and registers that count."""

from lstm_hw.machine.isa import (
    MODE_LINEAR,
    MODE_ZERO,
    REGISTER_BITS,
    SPACE_CONSTANT,
    SPACE_H,
    SPACE_X,
    STEPS_REGISTER,
)
from lstm_hw.machine.program import ProgramBuilder
from tests.builders import config_of


def random_engine(rng):
    """A small engine for :func:`random_program`."""
    return config_of(
        rows=rng.choice((8, 16)),
        contexts=rng.choice((1, 2, 3)),
        x_per_beat=4,
        weight_words=rng.choice((48, 96, 400)),
        cells=rng.choice((1, 2, 5)),
        finish_entries=rng.choice((4, 8)),
        outstanding=rng.choice((1, 2, 8)),
        states=512,
    )


def random_program(rng, config):
    """A program with an entry ``run`` whose outer loop is that of the steps.

    Registers: 1 counts down from the steps, 2 goes round, 3 goes up and is only used where cycles do not depend on it.
    """
    builder = ProgramBuilder()
    emit = builder.emit
    builder.entry("run")
    emit("RING", base=rng.randint(0, 8))
    emit("BUFFERS", count=rng.randint(1, 3))
    emit("CELL", units=20, mask=1, mode=MODE_ZERO, write=1, signal=1)
    emit("MAC", columns=20, slots=1, space=SPACE_H, mask=1, wait=1, take=1)
    emit("SET", register=2, value=0)
    emit("SET", register=1, value=rng.choice((3, 7, 12, 1000)))
    turns = rng.randint(1, 4)
    with builder.loop(count_reg=STEPS_REGISTER):
        emit("ADD", register=1, value=(1 << REGISTER_BITS) - 1)
        emit("ADD", register=2, value=1, limit=turns)
        emit("ADD", register=3, value=rng.randint(0, 3))
        for _ in range(rng.randint(1, 4)):
            _piece(rng, builder, config, rng.randint(0, 2))
    emit("HALT")
    return builder.build(256)


def _piece(rng, builder, config, depth):
    if depth == 0:
        return _work(rng, builder, config)
    kind = rng.randrange(4)
    if kind == 0:
        body = builder.when(rng.choice((1, 2)))
    elif kind == 1:
        body = builder.unless(2)
    else:
        body = builder.loop(count=rng.randint(1, 9), count_reg=rng.choice((0, 0, 0, 2)))
    with body:
        for _ in range(rng.randint(1, 2)):
            _piece(rng, builder, config, depth - 1)


def _work(rng, builder, config):
    """Commands of which each waits only for what was asked for before it."""
    emit, columns, slots = builder.emit, rng.randint(1, 6), rng.randint(1, 4)
    fields = {"columns": columns, "slots": slots, "mask": 1, "space": SPACE_CONSTANT, "operand_reg": 3}
    if rng.random() < 0.6:
        fields |= {"load": 1, "source": rng.randint(1, 4), "hold": rng.randint(0, 1), "source_reg": rng.choice((0, 2))}
    if rng.random() < 0.6:
        fields |= {"store": 1, "target": rng.randint(1, 4), "target_reg": rng.choice((0, 2))}
    load = {"beats": columns * slots * config.beats_per_word, "offset": rng.randint(0, 2000), "base_reg": 3}
    kind = rng.choice(("plain", "stream", "keep", "resident", "x", "h", "linear", "long"))
    if kind == "stream":
        emit("LOAD", stream=1, offset_reg=rng.choice((0, 0, 0, 0, 2, 2, 2, 3)), **load)
        emit("MAC", stream=1, release=1, **fields)
    elif kind == "long":
        rounds = rng.choice((1, 30, 60))
        emit("LOAD", stream=1, offset=rng.randint(0, 2000), beats=rounds * load["beats"])
        with builder.loop(count=rounds):
            emit("MAC", stream=1, release=1, **fields)
    elif kind == "keep":
        emit("LOAD", stream=1, **load)
        emit("MAC", stream=1, **fields)
        emit("MAC", stream=1, release=1, **fields)
    elif kind == "resident":
        emit("LOAD", **load)
        emit("MAC", fresh=1, **fields)
    elif kind == "x":
        emit("INPUT", elements=columns, wait=1, spread=rng.randint(0, 1), target_reg=3)
        emit("MAC", **fields | {"space": SPACE_X, "wait": 1, "take": 1, "free": 1})
    elif kind == "h":
        mask = (1 << config.contexts) - 1
        emit("MAC", **fields | {"finish": 1})
        units = slots * config.units_per_block
        emit("CELL", units=units, mask=mask, write=1, signal=1, emit=rng.randint(0, 1))
        ahead = rng.randint(0, 1)
        wait = {"space": SPACE_H, "wait": 1, "slots": 1, "columns": units - ahead, "offset": ahead}
        emit("MAC", **fields | wait | {"take": 0})
        emit("MAC", **fields | wait | {"take": 1})
    elif kind == "linear":
        emit("MAC", **fields | {"finish": 1, "slots": 1})
        emit("CELL", units=config.rows, mask=1, mode=MODE_LINEAR, emit=1)
    else:
        emit("MAC", **fields)
