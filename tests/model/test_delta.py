"""Delta networks in integers: threshold 0 is the dense LSTM, others against a scalar definition."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, InputError
from lstm_hw.model.delta import activity, passed_on, with_thresholds
from lstm_hw.model.quant_model import QuantModel
from lstm_hw.model.reference import integer_reference
from tests.delta import delta_model


@pytest.mark.parametrize("sizes, head, every", [((3, 10), 0, False), ((2, 7, 5), 3, True), ((1, 4, 4), 2, False)])
def test_threshold_zero_gives_the_bits_of_the_dense_model(sizes, head, every):
    dense, delta, x = delta_model(1, sizes, head, every, threshold=0)
    wanted, state = integer_reference(dense, x)
    found, after = integer_reference(delta, x)
    np.testing.assert_array_equal(found, wanted)
    for (h, c), (h_found, c_found, _, h_reference) in zip(state, after, strict=True):
        np.testing.assert_array_equal(h_found, h)
        np.testing.assert_array_equal(c_found, c)
        np.testing.assert_array_equal(h_reference, h)


def test_what_is_passed_on():
    values, reference = np.array([5, 5, 4, 3, -1, -32768]), np.array([5, 4, 5, 5, 1, 32767])
    assert passed_on(values, reference, 0).tolist() == [False, True, True, True, True, True]
    assert passed_on(values, reference, 1).tolist() == [False, True, True, True, True, True]
    assert passed_on(values, reference, 2).tolist() == [False, False, False, True, True, True]
    assert passed_on(values, reference, 65535).tolist() == [False] * 5 + [True]


def test_sums_of_deltas_are_those_of_the_references():
    """Sums that begin as the bias and get what changed, modulo 2**48 and never cleared, give the reference's h and c.

    The layer above sees what the one below passes on, and the output is h itself.
    """
    _, delta, x = delta_model(2, (3, 6, 5), threshold=0.1)
    wanted, _ = integer_reference(delta, x)
    for sequence, outputs in zip(x, wanted, strict=True):
        sums, references, states = [], [], []
        for layer in delta.layers:
            sums.append(layer.acc_bias << 0)
            references.append(np.zeros(layer.input_size + layer.hidden_size, dtype=np.int64))
            states.append((np.zeros(layer.hidden_size, np.int64), np.zeros(layer.hidden_size, np.int64)))
        for step, vector in enumerate(sequence):
            for number, layer in enumerate(delta.layers):
                h, c = states[number]
                x_threshold = delta.thresholds[number]
                for column, value in enumerate(np.concatenate([vector, h])):
                    change = int(value) - int(references[number][column])
                    threshold = x_threshold if column < layer.input_size else delta.thresholds[number + 1]
                    if change and abs(change) >= threshold:
                        references[number][column] = value
                        sums[number] = sums[number] + layer.factors[:, column] * change
                modular = (sums[number] + (1 << 47)) % (1 << 48) - (1 << 47)
                states[number] = _cell(delta, layer, modular, c)
                vector = states[number][0]
            np.testing.assert_array_equal(vector, outputs[step])


def _cell(qmodel, layer, sums, c):
    """The cell of one unit after the other, by the reference with these sums as its bias and nothing else."""
    alone = replace(
        qmodel,
        layers=(
            replace(
                layer,
                w_x=np.zeros_like(layer.w_x),
                w_h=np.zeros_like(layer.w_h),
                bias=sums,
                bias_format=replace(layer.bias_format, integer=47 - layer.acc_fraction, fraction=layer.acc_fraction),
            ),
        ),
        head=None,
        head_every_step=False,
        thresholds=(),
    )
    zero = np.zeros((1, layer.hidden_size), np.int64)
    outputs, state = integer_reference(alone, np.zeros((1, 1, layer.input_size), np.int64), [(zero, c[None])])
    return outputs[0, 0], state[0][1][0]


def test_state_goes_from_call_to_call():
    _, delta, x = delta_model(3, (3, 8, 5), 2, True)
    whole, state = integer_reference(delta, x)
    first, between = integer_reference(delta, x[:, :4])
    second, after = integer_reference(delta, x[:, 4:], between)
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), whole)
    assert all(np.array_equal(a, b) for pair in zip(state, after, strict=True) for a, b in zip(*pair, strict=True))
    with pytest.raises(InputError, match="must be 2 tuples .h, c, reference of x, reference of h., one a layer"):
        integer_reference(delta, x, [entry[:2] for entry in state])


def test_activity_is_of_each_vector():
    dense, delta, x = delta_model(4, (3, 8, 5), threshold=0)
    everything = activity(delta, x)
    assert len(everything) == 3 and all(0 < share <= 1 for share in everything)
    fewer = activity(with_thresholds(dense, 0.2, (0.1, 0.3)), x)
    assert all(a < b for a, b in zip(fewer, everything, strict=True))
    still = np.repeat(x[:, :1], 5, axis=1)
    assert activity(delta, still)[0] == pytest.approx(1 / 5), "x changes in the first of five steps alone"
    assert activity(with_thresholds(dense, 1.0, (1.9, 1.9)), x)[1:] == (0, 0)


def test_thresholds_are_rounded_up_and_kept_in_the_file(tmp_path):
    dense, _, x = delta_model(5)
    unit = 2.0 ** -dense.layers[0].hidden.fraction
    delta = with_thresholds(dense, 0, [2.1 * unit])
    assert delta.thresholds == (0, 3) and dense.digest() != delta.digest()
    delta.save(tmp_path / "model.safetensors")
    loaded = QuantModel.load(tmp_path / "model.safetensors")
    assert loaded.thresholds == delta.thresholds and loaded.digest() == delta.digest()


@pytest.mark.parametrize(
    "x, h, message",
    [
        (-0.1, [0], "delta.x: -0.1; must be between 0 and"),
        (0, [3.0], "delta.h: 3; must be between 0 and 1.99997, the largest change in Q0.15"),
        (0, [float("nan")], "delta.h: nan; must be between"),
        (0, [0, 0], "delta.h: 2 thresholds; must be one, or one for each of 1"),
    ],
)
def test_thresholds_that_cannot_be(x, h, message):
    with pytest.raises(ConfigError, match=message):
        with_thresholds(delta_model(6)[0], x, h)


def test_a_threshold_of_x_is_for_inputs_of_one_scale():
    dense = replace(delta_model(6)[0], input_exponents=(0, 2, 0))
    assert with_thresholds(dense, 0, [0.1]).thresholds[0] == 0
    with pytest.raises(ConfigError, match="delta.x: 0.1; must be 0 where quantize.scale_inputs"):
        with_thresholds(dense, 0.1, [0.1])


@pytest.mark.parametrize("thresholds", [(0,), (0, 1, 2), (0, -1), (0, 1 << 16), (0, 0.5)])
def test_stored_thresholds_that_cannot_be(thresholds):
    with pytest.raises(ConfigError, match="thresholds: .*; must be"):
        replace(delta_model(6)[0], thresholds=thresholds)
