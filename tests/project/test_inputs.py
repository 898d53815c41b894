"""Inputs from an npz file: what a project file names and the file does not hold."""

import numpy as np
import pytest

from lstm_hw.errors import InputError
from lstm_hw.project.inputs import inputs_of
from lstm_hw.project.keys import DataSection


@pytest.mark.parametrize("key", ["calibration", "x", "labels", "input_scale"])
def test_an_array_that_is_not_there_is_told_with_its_key(tmp_path, key):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.ones((2, 3, 4)), y=np.ones(2))
    names = {"calibration": "x", "x": "x", "labels": "y", key: "z"}
    with pytest.raises(
        InputError, match=rf"^data.{key}: 'z', which .*a.npz does not hold; must be one of its arrays: x, y"
    ):
        inputs_of(DataSection(path="a.npz", **names), path, 4)
