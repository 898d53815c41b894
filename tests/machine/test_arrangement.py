"""What software does around a run."""

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, InputError
from lstm_hw.machine.arrangement import PLAIN, READS, SENDS, Arrangement


def test_x():
    x = np.arange(6).reshape(1, 3, 2)
    assert PLAIN.x(x) is x and PLAIN.x(x[0, 0]) is not None
    assert Arrangement("backward").x(x).tolist() == [[[4, 5], [2, 3], [0, 1]]]
    assert Arrangement("both").x(x).tolist() == [[[0, 1, 4, 5], [2, 3, 2, 3], [4, 5, 0, 1]]]
    with pytest.raises(InputError, match=r"shape \(2,\); must be whole sequences"):
        Arrangement("both").x(x[0, 0])


@pytest.mark.parametrize(
    "sends, expected",
    [
        ("sent", [[1, 10], [2, 20], [3, 30]]),
        ("backward", [[3, 30], [2, 20], [1, 10]]),
        ("apart", [[1, 30], [2, 20], [3, 10]]),
        ("added", [[31], [22], [13]]),
        ("added_last", [13]),
    ],
)
def test_outputs(sends, expected):
    """What one half computes in step t and the other in step T - 1 - t belongs together."""
    raw = np.array([[1, 10], [2, 20], [3, 30]])
    arrangement = Arrangement("both", sends)
    assert arrangement.outputs(raw).tolist() == expected
    assert arrangement.outputs(raw[None]).tolist() == [expected]
    assert arrangement.gives_one == (np.ndim(expected) == 1)
    assert raw.shape[1] // arrangement.output_halves == np.shape(expected)[-1]


def test_what_cannot_be():
    with pytest.raises(ConfigError, match="reads: 'up'; must be one of forward, backward, both"):
        Arrangement("up")
    with pytest.raises(ConfigError, match="sends: 'up'; must be one of sent, backward, apart, added, added_last"):
        Arrangement("both", "up")
    for reads in READS:
        for sends in SENDS:
            arrangement = Arrangement(reads, sends)
            assert arrangement.is_plain == (arrangement == PLAIN) == ((reads, sends) == (READS[0], SENDS[0]))
            if not arrangement.is_plain:
                with pytest.raises(InputError, match="carry: true .* must begin from zero state"):
                    arrangement.check_whole("carry")
    PLAIN.check_whole("carry")
