"""The search finds what looking at everything finds, and its bounds hold for every plan."""

import json
import math
from dataclasses import replace

import pytest

from lstm_hw.explore.bounds import at_least
from lstm_hw.explore.evaluate import network_of_json, network_to_json, planned, timed
from lstm_hw.explore.objectives import OBJECTIVES, Limit, cost
from lstm_hw.explore.search import Question, Search
from lstm_hw.explore.space import Memory, Numbers, Place, Space, candidates
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.network import LayerShape, Network, Source, Start
from lstm_hw.machine.parts import PARTS

STEPS = 5
OBJECTIVE_SETS = (
    ("latency", "area", "energy", "accuracy"),
    ("latency", "bram"),
    ("energy", "lut", "throughput"),
    ("rate", "area"),
)


def numbers(weight_bits, operand_bits, accuracy, **more):
    network = Network((LayerShape("lstm", 8, 16, 15), LayerShape("lstm", 16, 12, 15), LayerShape("linear", 12, 3, 15)))
    fields = {"weight_bits": weight_bits, "operand_bits": operand_bits, **more}
    if operand_bits == 8:
        fields["hidden"] = QFormat(0, 7)
    return Numbers(f"w{weight_bits} x{operand_bits}", network, fields, {"accuracy": accuracy, "error": 1 - accuracy})


@pytest.fixture(scope="module")
def grid():
    """Two formats on two parts, streams of narrow and wide ports: what is asked, and all candidates."""
    formats = (numbers(16, 16, 0.9), numbers(8, 8, 0.8))
    places = (
        Place("xc7z010", PARTS["xc7z010"], 100.0, Memory(20)),
        Place("lfe5u-25f", PARTS["lfe5u-25f"], 50.0, Memory(20, 2)),
    )
    space = Space(rows=(4, 16), contexts=(1, 2), cells=(1, 5), weight_words=(160,), axi_data_bits=(64,))
    question = Question(formats, places, STEPS, 1, (*OBJECTIVE_SETS[0], "rate"))
    return question, list(candidates(formats, places, space, 1))


@pytest.fixture(scope="module")
def everything(grid):
    """A search that drops nothing, and the results of its tasks, by task."""
    question, tried = grid
    kept = {}

    def run(function, tasks, advance):
        results = [function(task) for task in tasks]
        kept.update({of(function, task): result for task, result in zip(tasks, results, strict=True)})
        return results

    return Search(question, tried, prune=False, run=run).go(), kept


def of(function, task):
    """By what a result is kept; the one with the rate serves those who did not ask for it."""
    return function, repr({**task, "goes_on": True})


def same(found):
    """A front, whatever the order in which its points came."""
    best = [found.points[n] for n in found.best]
    return sorted(
        repr((p["place"], p["numbers"], p["schedule"], p["options"], p["engine"], p["figures"])) for p in best
    )


@pytest.mark.parametrize("objectives", OBJECTIVE_SETS)
@pytest.mark.parametrize("limits", [(), (Limit("latency", 60.0), Limit("accuracy", 0.85))], ids=["free", "limited"])
def test_nothing_on_the_front_was_pruned(grid, everything, objectives, limits):
    question, tried = grid
    asked = Question(question.numbers, question.places, STEPS, 1, objectives, limits)
    kept = everything[1]

    def run(function, tasks, advance):
        return [kept[of(function, task)] if of(function, task) in kept else function(task) for task in tasks]

    full = Search(asked, tried, prune=False, run=run).go()
    pruned = Search(asked, tried, run=run).go()
    assert full.pruned == full.plans_pruned == 0
    assert pruned.pruned + pruned.plans_pruned > 0 and len(pruned.points) < len(full.points)
    assert same(pruned) == same(full) and pruned.best


def test_every_shape_and_plan_is_accounted_for(everything, grid):
    found = everything[0]
    refused = sum(found.refused.values())
    assert found.candidates == len(grid[1]) and found.left == found.beyond == 0
    assert len(found.points) == found.plans and refused + found.too_large < found.candidates
    schedules = {point["schedule"] for point in found.points}
    assert {"resident", "conventional", "sacc", "row_window", "fusion"} <= schedules


def test_networks_as_json():
    """A layer comes back with the state that it begins from, what it reads and its peepholes."""
    columns, start = {"peephole_columns": ((0, 1), (3, 2))}, Start(2, ((14, 1), (0, 1)), ((0, 3),))
    below = LayerShape("lstm", 3, 4, 15, start=start, **columns)
    above = LayerShape("lstm", 7, 4, 15, sources=(Source(-1, 3, 0), Source(0, 4, 2)), **columns)
    network = Network((below, above, LayerShape("linear", 4, 2, 15, activation="relu")), head_every_step=True)
    assert network_of_json(json.dumps(network_to_json(network))) == network


def test_a_parallel_cell_is_tried_beside_five(grid):
    """Where five are, and where it has what the model needs."""
    place, rows = grid[0].places[0], {"rows": (4,), "contexts": (1,)}
    for cells, more, parallel in (((), {}, 1), ((1, 5), {}, 1), ((2,), {}, 0), ((), {"peepholes": QFormat(3, 12)}, 0)):
        one = numbers(16, 16, 0.9, **more)
        space = Space(("resident",), cells=cells, **rows)
        shapes = [tried.shape for tried in candidates([one], [place], space, 1)]
        assert [shape["cells"] for shape in shapes] == [*(cells or (1, 2, 5)), *[5] * parallel]
        assert [shape for shape in shapes if shape.get("parallel")] == shapes[len(shapes) - parallel :]


def test_columns_are_split_where_they_can_be(grid):
    """Of operands of 16 bits over the most parts; bounds hold for such engines, which take fewer cycles."""
    place, network = grid[0].places[0], Network((LayerShape("lstm", 5, 18, 15),))
    space = Space(("resident",), rows=(24, 64), contexts=(1,), cells=(5,))
    found = {}
    for operand_bits in (16, 8):
        one = replace(numbers(8, operand_bits, 0.9), network=network)
        tried = list(candidates([one], [place], space, 1))
        splits = [tried.shape.get("split", 1) for tried in tried if tried.shape["rows"] == 64]
        assert splits == ([1, 4, 1, 4] if operand_bits == 16 else [1, 1])
        assert all(tried.shape.get("split", 1) == 1 for tried in tried if tried.shape["rows"] == 24)  # 18 = 3 * 6 units
        question = Question((one,), (place,), STEPS, 1, OBJECTIVE_SETS[0])
        for candidate in tried:
            usage, least = at_least(candidate, one, place, STEPS, 1)
            [plan] = planned(question.task(candidate))
            task = question.task(candidate) | {"options": plan["options"], "engine": plan["engine"]}
            figures = timed(task)["figures"]
            assert least["latency"] <= figures["latency"] and usage.lut <= plan["resources"]["lut"]
            found[operand_bits, candidate.shape["rows"], str(candidate.shape)] = figures["latency"]
    of_64 = [latency for (bits, rows, _), latency in found.items() if (bits, rows) == (16, 64)]
    assert of_64[1] < of_64[0] and of_64[3] < of_64[2]


def test_bounds_hold_for_every_plan(grid, everything):
    """What a shape, and a plan, takes at the least is never more than what it takes."""
    question, tried = grid
    kept, compared, rates = everything[1], 0, 0
    for candidate in tried:
        numbers, place = question.numbers[candidate.numbers], question.places[candidate.place]
        usage, least = at_least(candidate, numbers, place, STEPS, 1)
        for plan in kept.get(of(planned, question.task(candidate)), []):
            if "refused" in plan:
                continue
            task = question.task(candidate) | {"options": plan["options"], "engine": plan["engine"]}
            figures = kept[of(timed, task)]["figures"] | numbers.figures
            for name in OBJECTIVES:
                if name in figures:
                    found = cost(name, figures[name])
                    assert least[name] <= found * (1 + math.copysign(1e-12, found)), (name, candidate, plan["options"])
                    if name in plan["least"]:
                        assert cost(name, plan["least"][name]) <= found * (1 + math.copysign(1e-12, found))
                        compared += 1
            rates += "rate" in plan["least"]
            within = replace(question, limits=(Limit("latency", figures["latency"]),))
            assert 0.5 * figures["power"] < within.known(plan["least"])["power"] <= (1 + 1e-12) * figures["power"]
            assert usage.lut <= plan["resources"]["lut"] and usage.dsp == plan["resources"]["dsp"]
            # Energy and traffic need no timing.
            assert plan["least"]["bytes"] == figures["bytes"]
            assert plan["least"]["energy"] == pytest.approx(figures["energy"], rel=1e-12)
    assert compared > 500 and rates > 100


def test_budgets(grid, everything):
    (question, tried), kept = grid, everything[1]
    few = Search(question, tried, run=lambda f, tasks, advance: [kept[of(f, t)] for t in tasks]).go(most_points=1)
    assert few.points and few.left > 0
    none = Search(question, tried).go(most_seconds=0)
    assert not none.points and none.left == none.candidates - none.too_large


def test_progress_reaches_its_end(grid, everything):
    question, tried = grid
    kept, seen = everything[1], []
    Search(question, tried, prune=False, run=lambda f, tasks, advance: [kept[of(f, t)] for t in tasks]).go(
        progress=lambda done, total: seen.append((done, total))
    )
    assert seen == sorted(seen) and seen[-1] == (len(tried), len(tried))
