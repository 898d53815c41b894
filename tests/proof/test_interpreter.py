"""The interpreter against an integer LSTM of its own, over random networks and engines."""

from types import MappingProxyType

import numpy as np
import pytest

from lstm_hw.errors import InputError, ProgramError
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.isa import instruction
from lstm_hw.machine.pack import pack
from lstm_hw.machine.program import Program
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.proof.interpreter import Interpreter
from lstm_hw.verify.runs import Piece
from tests.builders import IntegerNetwork, IntegerReference, config_of, random_network, random_x


def random_engine(rng, model, contexts):
    """A random engine on which the network fits."""
    return config_of(
        rows=int(rng.choice([4, 8, 16, 48])),
        contexts=contexts,
        **model.widths,
        shifts=model.shifts,
        x_per_beat={1: int(rng.choice([1, 2, 4])), 2: 2, 3: 4}[contexts],
        cells=int(rng.choice([1, 2, 5])),
        weight_words=4096,
        h_elements=256,
        states=512,
        accumulators=256,
        finish_entries=64,
    )


def planned(model, config):
    return ResidentPlanner(model.network, config).plan()


def loaded(model, config):
    """An interpreter of a network whose weights are on chip."""
    plan = planned(model, config)
    interpreter = Interpreter(config, plan.program, pack(plan.image, model.layers, config))
    assert interpreter.run("load") == []
    return interpreter


def random_sizes(rng):
    return [int(n) for n in rng.integers(1, 18, int(rng.integers(2, 5)))]


@pytest.mark.parametrize("weight_bits, operand_bits", [(8, 16), (16, 16), (8, 8)])
@pytest.mark.parametrize("head", ["none", "last", "every"])
@pytest.mark.parametrize("contexts", [1, 2, 3])
def test_random_networks(contexts, head, weight_bits, operand_bits):
    """Bits of each packet over several runs, from zero state and on from the run before."""
    for seed in range(2):
        rng = np.random.default_rng([contexts, weight_bits, seed, len(head)])
        sizes, outputs = random_sizes(rng), 0 if head == "none" else int(rng.integers(1, 11))
        model = random_network(rng, sizes, outputs, head == "every", weight_bits, operand_bits)
        config = random_engine(rng, model, contexts)
        interpreter, plan = loaded(model, config), planned(model, config)
        reference = IntegerReference(model, plan)
        values = []
        for clear in (True, False, True, False):
            x = random_x(rng, contexts, int(rng.integers(1, 6)), sizes[0], operand_bits)
            expected = plan.packets(reference(Piece(x, clear)))
            found = interpreter.run("run", x.shape[1], clear, plan.beats(x)[0])
            assert found == expected, f"sizes {sizes}, head {outputs}, {config}"
            values += sum(found, [])
        assert any(values)


@pytest.mark.parametrize(
    "formats",
    [
        {"activation": "pwl"},
        {"activation": "quadratic128", "preact": QFormat(4, 11)},
        {"activated": QFormat(1, 14), "hidden": QFormat(2, 13)},
        {"cell": QFormat(11, 12)},
        {"cell": QFormat(3, 18), "preact": QFormat(2, 13)},
        {"preact": QFormat(3, 16), "activated": QFormat(0, 17)},
    ],
    ids=["pwl", "quadratic128, wide c", "wide h", "24-bit c", "fine c", "fine pre-activations"],
)
def test_activations_and_formats(formats):
    rng = np.random.default_rng(7)
    model = random_network(rng, (4, 6))
    config = config_of(shifts=model.shifts, **formats)
    x = random_x(rng, 1, 2, 4)
    beats = planned(model, config).beats(x)[0]
    found = loaded(model, config).run("run", 2, True, beats)
    assert found == IntegerNetwork(model, config).run(x[0])


@pytest.mark.parametrize("contexts", [1, 3])
def test_one_long_run_equals_its_pieces(contexts):
    rng = np.random.default_rng(contexts)
    model = random_network(rng, (5, 9, 7), head=3, head_every_step=True)
    config = random_engine(rng, model, contexts)
    x = random_x(rng, contexts, 12, 5)

    def beats(x):
        return planned(model, config).beats(x)[0]

    whole = loaded(model, config).run("run", 12, True, beats(x))
    pieces, interpreter, first = [], loaded(model, config), 0
    for steps in (1, 4, 2, 5):
        pieces += interpreter.run("run", steps, first == 0, beats(x[:, first : first + steps]))
        first += steps
    assert pieces == whole
    # The same again on the engine that has just run something else.
    assert interpreter.run("run", 12, True, beats(x)) == whole


def test_no_steps():
    """A run of no steps sends what the head makes of the state, and nothing without a head."""
    rng = np.random.default_rng(5)
    for head in (0, 3):
        model = random_network(rng, (2, 3), head)
        config = random_engine(rng, model, 1)
        nothing = np.zeros((0, config.x_per_beat))
        reference = IntegerNetwork(model, config)
        assert loaded(model, config).run("run", 0, True, nothing) == (reference.run([]) if head else [])


def test_too_few_and_too_many_beats():
    rng = np.random.default_rng(3)
    model = random_network(rng, (3, 4))
    config = config_of(rows=8, shifts=model.shifts)
    for beats, found in ((5, "5 beats; must have at least 6"), (7, "7 beats given, 6 taken; must be equal")):
        with pytest.raises(InputError, match=f"x stream: {found}"):
            loaded(model, config).run("run", 2, True, np.zeros((beats, 1)))


@pytest.mark.parametrize(
    "broken, message",
    [
        (instruction("LOAD", beats=9), "beats 0 \\+ 9; must be whole words inside the image"),
        (instruction("LOAD", beats=3), "beats 0 \\+ 3; must be whole words"),
        (instruction("LOAD", beats=4, offset=1), "beats 1 \\+ 4; must be whole words"),
        (instruction("LOAD", beats=8, base=13), "weight words 13..16; must stay below 16"),
        (instruction("INPUT", elements=3, target=6), "x elements 6..8; must stay below 8"),
        (instruction("MAC", weight=15, columns=2, slots=1), "weight words 15..16; must stay below 16"),
        (instruction("MAC", columns=2, slots=1, operand=9), "operands 9..10; must stay below 10"),
        (instruction("MAC", columns=2, slots=1, operand=7, space=1), "operands 7..8; must stay below 8"),
        (instruction("MAC", columns=2, slots=1, stream=1), "ring words 0..1; must stay below 0"),
        (instruction("CELL", units=2, mask=1), "0 finished row blocks; must be at least 1"),
        (instruction("CELL", units=2, mask=1, mode=2, target=9, write=1), "h elements 9..10; must stay below 10"),
        (instruction("CELL", units=2, mask=1, mode=2, state=3), "state 4; must stay below 4"),
    ],
)
def test_programs_that_leave_a_memory(broken, message):
    config = config_of(rows=8, weight_words=16, h_elements=10, x_elements=8, states=4)
    program = Program((broken, instruction("HALT")), MappingProxyType({"run": 0}))
    with pytest.raises(ProgramError, match=f"program address 0: {message}"):
        Interpreter(config, program, np.zeros((4, 8))).run("run", x=np.zeros((3, 1)))


def test_a_sum_that_is_too_large():
    config = config_of(rows=8, accumulator_bits=32, weight_words=16)
    program = Program(
        (
            instruction("LOAD", beats=10),
            instruction("MAC", columns=5, slots=1, space=2, operand=14, fresh=1, mask=1),
            instruction("HALT"),
        ),
        MappingProxyType({"run": 0}),
    )
    with pytest.raises(ProgramError, match="program address 1: sum .*; must fit 32 bits"):
        Interpreter(config, program, np.full((5, 8), 32767)).run("run")
    Interpreter(config, program, np.full((5, 8), 32767 // 2)).run("run")
