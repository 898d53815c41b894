"""The planner of docs/planners.md does what the page says."""

import re
from pathlib import Path

import numpy as np
import pytest

from lstm_hw.machine.pack import pack
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from tests.builders import IntegerNetwork, config_of, random_network, random_x
from tests.sim.scenarios import plan_scenario

PAGE = Path(__file__).parents[2] / "docs" / "planners.md"


@pytest.fixture(scope="module")
def page():
    """What the Python of the page defines."""
    names = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(code, names)
    return names


@pytest.mark.parametrize("inputs, hidden", [(5, 11), (9, 8), (3, 2)])
def test_the_worked_example(page, inputs, hidden):
    model = random_network(np.random.default_rng(1), (inputs, hidden))
    config = config_of(contexts=2, shifts=model.shifts, weight_words=64)
    memory, steps = MemoryModel(20), 3
    x = random_x(np.random.default_rng(2), 1, steps, inputs)
    planner = page["SimplePlanner"](model.network, config)
    packets, counters, (words,) = page["try_out"](
        planner, lambda image: pack(image, model.layers, config), memory, x, steps
    )
    outputs = np.array([IntegerNetwork(model, config).run(x[0])])
    blocks = -(-hidden // 2)
    assert words == {"x": steps * blocks * inputs, "h": steps * blocks * hidden, "bias": 0}
    assert counters.read_beats == sum(words.values()) * config.beats_per_word
    plan = page["SimplePlanner"](model.network, config).plan()
    assert packets == plan.packets(outputs)
    plan_scenario(model, plan, ((2, True), (1, False), (3, False)), memory)


@pytest.mark.parametrize("planner", ["two_layers", "SimplePlanner"])
@pytest.mark.parametrize("head, every_step", [(0, False), (3, False), (3, True)])
def test_the_stacked_layers(page, planner, head, every_step):
    model = random_network(np.random.default_rng(1), (5, 11, 6), head, every_step)
    config = config_of(rows=16, contexts=2, shifts=model.shifts, weight_words=256, program_length=256)
    planned = page[planner](model.network, config)
    plan = planned.plan() if planner == "SimplePlanner" else planned
    check(plan)
    plan_scenario(model, plan, ((2, True), (1, False), (3, False)), MemoryModel(20))


def test_every_planner_is_on_the_page():
    folder = PAGE.parents[1] / "lstm_hw" / "plan"
    planners = [
        path.name
        for path in folder.glob("*.py")
        if re.search(r"^class (?!Streaming|ResidentBias|Stack)\w+Planner\b", path.read_text(), re.MULTILINE)
    ]
    assert len(planners) >= 7
    assert all(f"`{name}`" in PAGE.read_text() for name in planners)
