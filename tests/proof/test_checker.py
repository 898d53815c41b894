"""The checker accepts what the planners emit and refuses every broken variant of it."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from lstm_hw.errors import ConfigError, ProgramError
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.isa import instruction
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.proof.checker import check

RUN = "run"


def network(sizes, head=0, every=False):
    layers = [LayerShape("lstm", a, b, 15) for a, b in zip(sizes, sizes[1:], strict=False)]
    if head:
        layers.append(LayerShape("linear", sizes[-1], head, 14))
    return Network(tuple(layers), every)


def resident(sizes=(3, 10), head=0, every=False, **config):
    net = network(sizes, head, every)
    values = {"rows": 8, "axi_data_bits": 64, "weight_words": 4096, "states": 128, "shifts": (15,) * len(net.layers)}
    return ResidentPlanner(net, EngineConfig(**values | config)).plan()


def where(plan, op, number=0, **fields):
    """Address of the number-th instruction behind the run entry with this opcode and these field values."""
    found = [
        a
        for a, i in enumerate(plan.program.instructions)
        if a >= plan.program.entries[RUN] and i.op == op and all(i.fields[k] == v for k, v in fields.items())
    ]
    return found[number]


def changed(plan, address, **fields):
    """The plan with some fields of one instruction changed."""
    instructions = list(plan.program.instructions)
    old = instructions[address]
    instructions[address] = instruction(old.op, **(dict(old.fields) | fields))
    return replace(plan, program=replace(plan.program, instructions=tuple(instructions)))


def rebuilt(plan, edit):
    """The plan with its instruction list edited; entries and loop exits follow."""
    tagged = list(enumerate(plan.program.instructions))
    edit(tagged)
    position = {}
    for new, (old, _) in enumerate(tagged):
        position.setdefault(old, new)

    def moved(old):
        return next((position[a] for a in range(old, len(plan.program.instructions)) if a in position), len(tagged))

    instructions = tuple(
        instruction("LOOP", **(dict(i.fields) | {"exit": moved(i.exit)})) if i.op == "LOOP" else i for _, i in tagged
    )
    entries = MappingProxyType({name: moved(a) for name, a in plan.program.entries.items()})
    return replace(plan, program=replace(plan.program, instructions=instructions, entries=entries))


@pytest.mark.parametrize(
    "sizes, head, every, config",
    [
        ((3, 10), 0, False, {}),
        ((8, 64), 10, False, {"rows": 32}),
        ((5, 13, 9), 6, True, {"rows": 16, "contexts": 3, "x_per_beat": 4}),
        ((5, 13, 9, 7), 6, False, {"rows": 16}),
        ((1, 1), 1, True, {"rows": 4}),
        ((2, 7, 1), 0, False, {"rows": 64}),
    ],
)
def test_accepts_resident_plans(sizes, head, every, config):
    plan = resident(sizes, head, every, **config)
    assert check(plan) > 0


def test_counts_every_product():
    plan = resident((3, 10))
    biases = sum(columns for _, columns in plan.network.layers[0].bias_columns)
    blocks, columns, steps = 5, 13, 3 + 1 + 4 + 1 + 2
    assert check(plan) == blocks * (columns * steps + biases)


def test_refuses_missing_products():
    plan = resident((3, 40), head=4, rows=16)
    middle = where(plan, "MAC", space=0, load=0, store=0, finish=0)
    with pytest.raises(ProgramError, match="counted 0 times"):
        check(rebuilt(plan, lambda i: i.pop(middle)))


def test_refuses_products_counted_twice():
    plan = resident((3, 40), head=4, rows=16)
    address = where(plan, "MAC", space=0, load=0, store=0, finish=0)
    twice = rebuilt(
        plan, lambda i: i.insert(address, (address, instruction("MAC", **(dict(i[address][1].fields) | {"take": 0}))))
    )
    with pytest.raises(ProgramError, match="counted 2 times"):
        check(twice)


@pytest.mark.parametrize("space", [0, 1])
def test_refuses_reads_before_the_write(space):
    plan = resident()
    address = where(plan, "MAC", space=space)
    with pytest.raises(ProgramError, match="may not exist yet"):
        check(changed(plan, address, wait=0))


def test_refuses_weights_that_may_not_have_arrived():
    plan = resident()
    address = next(a for a, i in enumerate(plan.program.instructions) if i.op == "MAC")
    with pytest.raises(ProgramError, match="may not have arrived"):
        check(changed(plan, address, fresh=0))


def test_refuses_h_written_under_its_reader():
    """One h buffer instead of two: row block 4 would overwrite units that row block 5 still reads."""

    def one_buffer(plan):
        plan = changed(
            plan, next(a for a, i in enumerate(plan.program.instructions) if i.op == "SET" and i.register == 2), value=0
        )
        for register in (1, 2):
            plan = changed(plan, where(plan, "ADD", register=register), value=0)
        return plan

    with pytest.raises(ProgramError, match="may still be read"):
        check(one_buffer(resident((3, 12), rows=8)))
    # With the last tile holding just the last row block's units there is no such reader, where row blocks do not walk
    # h in turn.
    assert check(one_buffer(resident((15, 10), rows=8)))
    with pytest.raises(ProgramError, match="may still be read"):
        check(one_buffer(resident((3, 10), rows=8)))


def test_refuses_x_written_under_its_reader():
    plan = resident(x_elements=3)
    with pytest.raises(ProgramError, match="may still be read"):
        check(changed(plan, where(plan, "INPUT"), wait=0))


def test_refuses_a_full_finish_buffer():
    plan = resident((3, 40), rows=16)
    with pytest.raises(ProgramError, match="must fit 8 entries"):
        check(replace(plan, config=replace(plan.config, finish_entries=8)))
    with pytest.raises(ConfigError, match="finish_entries"):
        resident((3, 40), rows=16, finish_entries=8)


def test_refuses_waiting_forever():
    plan = resident()
    address = where(plan, "MAC", space=0)
    with pytest.raises(ProgramError, match="must not wait for what no earlier command produces"):
        check(changed(plan, address, offset=1000))


def test_refuses_a_missing_cell_and_a_second_one():
    plan = resident()
    address = where(plan, "CELL", mode=0)
    with pytest.raises(ProgramError, match="must not wait for what no earlier command produces"):
        check(rebuilt(plan, lambda i: i.pop(address)))
    with pytest.raises(ProgramError, match="no finished row block"):
        check(rebuilt(plan, lambda i: i.insert(address, i[address])))


def test_refuses_wrong_operands_outputs_and_accumulators():
    plan = resident((3, 10), head=4)
    with pytest.raises(ProgramError, match="must be the elements that the columns multiply"):
        check(changed(plan, where(plan, "MAC", space=1), operand=1))
    with pytest.raises(ProgramError, match="must send the"):
        check(changed(plan, where(plan, "CELL", mode=1), emit=0))
    with pytest.raises(ProgramError, match="entry 0 stays zero"):
        check(changed(plan, where(plan, "MAC"), target=0))
    with pytest.raises(ProgramError, match="must be written before it is read"):
        check(changed(plan, where(plan, "MAC", space=1), source=31))


def test_refuses_a_lift_that_is_not_that_of_the_weights():
    net = Network(tuple(replace(shape, lifts=(0, 3)) for shape in network((3, 10)).layers))
    plan = ResidentPlanner(net, replace(resident((3, 10)).config, lifts=(0, 3))).plan()
    check(plan)
    for space, lift in ((1, 1), (0, 0), (0, 2)):
        with pytest.raises(ProgramError, match=rf"lift {lift} of \(0, 3\); must be the one of {3 - 3 * space} places"):
            check(changed(plan, where(plan, "MAC", space=space, wait=1), lift=lift))


def streamed(name):
    """Plans whose runs set registers for many things."""
    net = network((9, 14))
    values = {"rows": 16, "contexts": 2, "x_per_beat": 2, "h_elements": 128, "x_elements": 128, "states": 128}
    config = EngineConfig(**values, weight_words=256, program_length=256, axi_data_bits=64, shifts=(15,))
    planners = {
        "sacc": lambda: SaccPlanner(net, config),
        "sacc, batch": lambda: SaccPlanner(net, config, batch=4, pinned=1),
        "row blocks": lambda: RowBlockPlanner(net, config, 2),
        "pinned": lambda: ConventionalPlanner(net, config, 4),
    }
    return planners[name]().plan()


@pytest.mark.parametrize("name", ["sacc", "sacc, batch", "row blocks", "pinned"])
def test_refuses_a_register_that_the_program_does_not_set(name):
    """Registers hold garbage in front of a run from zero state, so no register can do without all of its SETs."""
    plan = streamed(name)
    check(plan)
    registers = {i.register for i in plan.program.instructions if i.op == "SET"}
    assert len(registers) > 3
    for register in registers:
        instructions = (
            instruction("ADD", register=register) if i.op == "SET" and i.register == register else i
            for i in plan.program.instructions
        )
        without = replace(plan, program=replace(plan.program, instructions=tuple(instructions)))
        with pytest.raises(ProgramError):
            check(without)
