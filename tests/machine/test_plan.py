"""How the streams of a plan are ordered: vectors to beats, outputs to packets and back."""

import numpy as np
import pytest

from lstm_hw.errors import InputError
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.machine.plan import Plan
from tests.builders import config_of


def plan_of(inputs=3, outputs=5, head=0, every_step=False, contexts=1, sequences=1, **fields):
    """A plan without a program."""
    layers = [LayerShape("lstm", inputs, outputs, 15), *([LayerShape("linear", outputs, head, 14)] if head else [])]
    network = Network(tuple(layers), every_step)
    config = config_of(contexts=contexts, x_per_beat=fields.pop("x_per_beat", 4))
    return Plan(config, network, "none", None, None, sequences, **fields)


@pytest.mark.parametrize("contexts", [1, 2])
@pytest.mark.parametrize("per_beat, length", [(1, 1), (1, 5), (4, 1), (4, 3), (4, 4), (4, 5), (4, 9)])
def test_beats_of_one_sequence(contexts, per_beat, length):
    """Consecutive elements, each vector padded with zeros to whole beats, tlast on its last."""
    x = np.random.default_rng(length).integers(1, 1 << 15, (1, 3, length))
    beats, lasts = plan_of(length, contexts=contexts, x_per_beat=per_beat).beats(x)
    count = -(-length // per_beat)
    assert beats.shape == (3 * count, per_beat) and lasts.tolist() == 3 * ([0] * (count - 1) + [1])
    for step in range(3):
        flat = beats[step * count : (step + 1) * count].reshape(-1)
        assert flat[:length].tolist() == x[0, step].tolist() and not flat[length:].any()


@pytest.mark.parametrize("contexts, per_beat", [(2, 2), (3, 4), (8, 8)])
def test_beats_of_several_sequences(contexts, per_beat):
    """Beat j of a step holds element j of every context."""
    x = np.random.default_rng(contexts).integers(1, 1 << 15, (contexts, 2, 5))
    beats, lasts = plan_of(5, contexts=contexts, sequences=contexts, x_per_beat=per_beat).beats(x)
    assert beats.shape == (10, per_beat) and lasts.tolist() == 2 * [0, 0, 0, 0, 1]
    for step in range(2):
        for element in range(5):
            beat = beats[5 * step + element].tolist()
            assert beat == x[:, step, element].tolist() + [0] * (per_beat - contexts)


def test_beats_of_groups_and_of_fewer_sequences_than_contexts():
    x = np.arange(4 * 2 * 3).reshape(4, 2, 3) + 1
    beats, _ = plan_of(3, contexts=2, sequences=4, x_per_beat=2).beats(x)
    assert beats[:6].tolist() == [*x[:2, 0].T.tolist(), *x[2:, 0].T.tolist()]
    beats, lasts = plan_of(3, contexts=4, sequences=2).beats(x[:2])
    assert beats[:, :3].tolist() == [x[q, step].tolist() for step in (0, 1) for q in (0, 1)] and lasts.all()


def test_beats_in_an_order_of_the_planner():
    """Pieces of vectors; tlast stands where a vector's last columns do."""
    order = lambda steps: [(step, 0, 2) for step in range(steps)] + [(step, 2, 3) for step in range(steps)]  # noqa: E731
    x = np.arange(2 * 5).reshape(1, 2, 5) + 1
    beats, lasts = plan_of(5, x_order=order).beats(x)
    assert beats.tolist() == [[1, 2, 0, 0], [6, 7, 0, 0], [3, 4, 5, 0], [8, 9, 10, 0]]
    assert lasts.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("shape", [(2, 3, 3), (1, 3, 4), (1, 0, 3)])
def test_refuses_what_a_run_cannot_take(shape):
    with pytest.raises(InputError, match="x: "):
        plan_of().beats(np.zeros(shape, dtype=int))


@pytest.mark.parametrize("fields", [{}, {"head": 6}, {"head": 6, "every_step": True}])
@pytest.mark.parametrize("contexts, groups", [(1, 1), (3, 1), (2, 2)])
def test_packets_round_trip(fields, contexts, groups):
    plan = plan_of(contexts=contexts, sequences=contexts * groups, groups=groups, **fields)
    network, steps = plan.network, 4
    outputs = np.random.default_rng(1).integers(
        -1 << 15, 1 << 15, (plan.sequences, network.output_vectors(steps), network.output_size)
    )
    packets = plan.packets(outputs)
    assert [len(packet) for packet in packets] == outputs.shape[1] * groups * [network.output_size * contexts]
    np.testing.assert_array_equal(plan.outputs(packets, steps), outputs)
    with pytest.raises(InputError, match="packets: "):
        plan.outputs(packets[1:], steps)


def test_order_in_a_packet():
    """Elements of h take turns one by one, those of a head four by four."""
    plan = plan_of(outputs=3, contexts=2, sequences=2)
    assert plan.packets(np.arange(6).reshape(2, 1, 3)) == [[0, 3, 1, 4, 2, 5]]
    plan = plan_of(head=6, contexts=2, sequences=2)
    assert plan.packets(np.arange(12).reshape(2, 1, 6)) == [[0, 1, 2, 3, 6, 7, 8, 9, 4, 5, 10, 11]]


def test_packets_of_row_blocks():
    """Pieces of a vector in an order that depends on the steps behind the run; groups take turns."""

    def order(vectors, first_step):
        rows = [(0, 2), (2, 1)]
        return [(step, *row) for step in range(vectors) for row in rows[:: -1 if first_step + step & 1 else 1]]

    plan = plan_of(outputs=3, sequences=2, groups=2, y_order=order)
    outputs = np.arange(12).reshape(2, 2, 3)
    first, second = [[0, 1], [6, 7], [2], [8], [5], [11], [3, 4], [9, 10]], plan.packets(outputs, 1)
    assert plan.packets(outputs) == first and second == [[2], [8], [0, 1], [6, 7], [3, 4], [9, 10], [5], [11]]
    np.testing.assert_array_equal(plan.outputs(second, 2, 1), outputs)
