"""Energy is the sum of what each event takes."""

import pytest

from lstm_hw.proof.energy import Events, energy


def test_published_energies():
    assert energy(Events(dram=16)) == 320
    assert energy(Events(reads=64)) == energy(Events(writes=64)) == 10
    assert energy(Events(products=8 * 8)) == pytest.approx(0.2)
    assert energy(Events(products=16 * 16)) == pytest.approx(0.8)


def test_events_add_up():
    assert energy(Events(16, 32, 64, 256)) == pytest.approx(320 + 5 + 10 + 0.8)
