"""The choice among schedules: resident if it fits, else by the exact model, with a reason."""

import numpy as np
import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.machine.isa import REGISTERS, STEPS_REGISTER
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.plan.choose import choose
from lstm_hw.plan.schedules import SCHEDULES
from lstm_hw.plan.target import Target, shapes
from lstm_hw.proof.checker import check
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.cycles import long_steps
from lstm_hw.proof.load_timing import MemoryModel

NETWORK = Network((LayerShape("lstm", 24, 32, 15),))
LARGE = Network((LayerShape("lstm", 64, 1024, 15),))
STEPS = 8


def chosen(network=NETWORK, memory=None, **asked):
    given = {"rows": 16, "weight_words": 96, "axi_data_bits": 64} | asked.pop("given", {})
    given = {name: value for name, value in given.items() if value is not None}
    return choose(network, STEPS, given=given, memory=(lambda config: memory) if memory else None, **asked)


def test_the_best_has_the_fewest_cycles():
    choice = chosen()
    timed = [tried for tried in choice.tried if tried.counters]
    assert choice.outcome is timed[0] and {"sacc", "row_window", "fusion"} <= {o.name for o in choice.tried}
    assert choice.outcome.cycles <= 1.01 * min(o.cycles for o in timed)
    per_step = choice.outcome.cycles / STEPS
    assert choice.reason.startswith(f"{choice.outcome.label}: {per_step:.0f} cycles a step, most of them")
    assert "resident does not fit (engine.weight_words: 96; must be at least 464" in choice.reason
    assert check(choice.outcome.plan) > 0


def test_what_is_not_timed_could_not_have_won():
    choice = chosen()
    pruned = {tried.label: tried for tried in choice.tried if tried.plan and not tried.counters}
    assert pruned and all("cycles a step at the least" in tried.refused for tried in pruned.values())
    for tried in list(pruned.values())[:3]:
        alone = chosen(schedule=tried.name, options={o: v for o, v in tried.options.items()})
        assert alone.outcome.label == tried.label and alone.outcome.cycles > choice.outcome.cycles
        assert alone.outcome.cycles / STEPS >= float(tried.refused.split()[1]) - 1


def test_memory_bound_designs_reuse_and_one_that_holds_everything_does_not_stream():
    assert chosen(memory=MemoryModel(40, 4)).outcome.label.startswith("sacc, batch 8")
    resident = chosen(given={"weight_words": 1024})
    assert resident.outcome.name == "resident" and resident.outcome.read_bytes == 0
    assert [tried.name for tried in resident.tried] == ["resident"]
    compared = chosen(given={"weight_words": 1024}, compare=True)
    assert compared.outcome.name == "resident" and len(compared.tried) > 5
    assert {o.name for o in compared.tried if o.counters} == {o.name for o in compared.tried if o.plan}


@pytest.mark.parametrize("name", [name for name, kind in SCHEDULES.items() if not kind.planner.asks])
def test_every_schedule_by_name_on_an_engine_that_nobody_sized(name):
    sequences = {"rowblock": 4}.get(name)
    used = (np.arange(64) % 8 == 0) & np.ones((128, 1), bool) if name.startswith("gather") else None
    network = Network((LayerShape("lstm", 64, 32, 15, used=() if used is None else (used, used[:, :32])),))
    given = {"decoder": "bitmap", "axi_data_bits": 64} if name.startswith("compressed") else None
    choice = choose(network, STEPS, schedule=name, sequences=sequences, given=given)
    plan = choice.outcome.plan
    assert choice.outcome.name == name and check(plan) > 0
    assert plan.config.lanes <= 32 and plan.sequences == (sequences or 1)
    # What the planner asked for, and no deeper.
    assert plan.config.accumulators < 256 and plan.config.h_elements <= 2 * 4 * 32


def test_auto_leaves_zeros_out_where_there_are_many():
    """With windows of its own, or of the size that is given; where nothing is pruned nobody asks."""
    used = (np.arange(32) % 8 == 0) & np.ones((128, 1), bool)
    network = Network((LayerShape("lstm", 32, 32, 15, used=(used, used)),))
    choice = choose(network, STEPS, given={"rows": 16, "cells": 5})
    assert choice.outcome.name == "gather" and choice.outcome.plan.config.window == 64
    assert [o.name for o in choice.tried] == ["gather", "resident"]
    assert 2 * choice.outcome.cycles < choice.tried[1].cycles
    narrow = choose(network, STEPS, given={"rows": 16, "window": 16})
    assert narrow.outcome.name == "gather" and narrow.outcome.plan.config.window == 16
    assert choose(network, STEPS, given={"rows": 16, "window": 0}).outcome.name == "resident"
    assert choose(network, STEPS, schedule="resident").outcome.plan.config.window == 0


def test_what_is_asked_for_is_taken():
    assert chosen(schedule="conventional").outcome.name == "conventional"
    assert chosen(options={"batch": 4}, schedule="sacc").outcome.options["batch"] == 4
    rowblock = chosen(sequences=4, schedule="rowblock").outcome.plan
    assert (rowblock.config.contexts, rowblock.groups) == (4, 1)
    assert chosen(sequences=4, schedule="rowblock", given={"contexts": 2}).outcome.plan.groups == 2


def test_lanes_are_shared_by_the_contexts_that_a_schedule_needs():
    for lanes, contexts, rows in ((32, 2, 16), (100, 2, 48), (24, 3, 8), (4, 1, 4)):
        found = next(shapes(Target(lanes), contexts, LARGE, True, {}))
        assert found == {"contexts": contexts, "rows": rows}
    with pytest.raises(ConfigError, match="target.lanes: 4 lanes for 2 contexts; must be at least 8 for this schedule"):
        next(shapes(Target(4), 2, LARGE, True, {}))
    sacc = chosen(schedule="sacc", target=Target(32), given={"rows": None}).outcome.plan.config
    assert (sacc.rows, sacc.contexts) == (16, 2)
    with pytest.raises(ConfigError, match="engine: 16 rows x 2 contexts = 32 lanes; must be at most target.lanes = 16"):
        chosen(schedule="sacc", target=Target(16), options={"batch": 1, "pinned": 0})


def test_refusals_name_what_the_user_wrote_or_what_to_change():
    with pytest.raises(ConfigError, match="plan.schedule: 'sac'; must be one of auto, resident, "):
        chosen(schedule="sac")
    with pytest.raises(ConfigError, match="plan.window: 2; must be for row_window, not sacc"):
        chosen(schedule="sacc", options={"window": 2})
    with pytest.raises(
        ConfigError, match="is for 1 sequence, and plan.sequences, or engine.contexts without it, asks for 3"
    ):
        chosen(schedule="row_window", sequences=3)
    with pytest.raises(ConfigError, match="is for 2 to 8 sequences and their multiples, .* engine.contexts .* for 1"):
        chosen(schedule="rowblock", given={"contexts": 1})
    with pytest.raises(ConfigError, match="needs 6 contexts, and engine.contexts is 2"):
        chosen(schedule="sacc", sequences=3, given={"contexts": 2})
    with pytest.raises(ConfigError, match="engine.weight_words: 8; must be at least"):
        chosen(given={"weight_words": 8})
    with pytest.raises(ConfigError, match="plan.batch: 0; must be at least 1"):
        chosen(schedule="sacc", options={"batch": 0})
    with pytest.raises(ConfigError, match="engine.nothing: unknown key; must be one of [^;]*$"):
        chosen(given={"nothing": 1})
    refused = {o.label: o.refused for o in chosen(given={"accumulators": 24}).tried if not o.plan}
    assert "engine.accumulators: 24; must be at least" in refused["sacc, batch 8"]


@pytest.mark.parametrize("hidden, rows, resident", [(1016, 32, False), (1024, 32, False), (1024, 64, True)])
def test_a_large_layer_is_no_error_about_a_depth_that_nobody_gave(hidden, rows, resident):
    network = Network((LayerShape("lstm", 8, hidden, 15),))
    choice = choose(network, 1, given={"rows": rows, "contexts": 1})
    assert (choice.outcome.name == "resident") == resident or hidden == 1016
    if choice.outcome.name != "resident":
        with pytest.raises(ConfigError, match="plan.schedule: .*; must be another schedule.* engine.rows more"):
            choose(network, 1, schedule="resident", given={"rows": rows})


@pytest.mark.parametrize("steps, bits", [(32_765, 16), (32_766, 32), (100_000, 32)])
def test_registers_count_the_steps_and_the_longer_run_of_a_simulation(steps, bits):
    network = Network((LayerShape("lstm", 8, 64, 15),))
    plan = choose(network, steps, given={"rows": 32}).outcome.plan
    assert plan.schedule == "resident" and plan.config.register_bits == bits
    assert count_cycles(plan, long_steps(steps)).cycles > 0
    with pytest.raises(ConfigError, match=f"engine.register_bits: 15; must be at least .. for runs of {steps:,} steps"):
        choose(network, steps, given={"rows": 32, "register_bits": 15})


@pytest.mark.parametrize("inputs, hidden", [(1, 2), (3, 4), (12, 20)])
def test_what_takes_turns_does_not_grow_with_the_steps(inputs, hidden):
    """Many vectors of x fit, so a short run ends before their turns begin again."""
    network = Network((LayerShape("lstm", inputs, hidden, 15), LayerShape("linear", hidden, 2, 15)))
    assert choose(network, STEPS, schedule="resident", given={"rows": 16}).outcome.plan.config.register_bits == 16
    plan = choose(network, STEPS, schedule="resident", given={"rows": 16, "register_bits": 8}).outcome.plan
    registers, largest = [0] * REGISTERS, 0
    for _ in plan.program.run("run", 300, True, registers):
        largest = max(largest, *(value for n, value in enumerate(registers) if n != STEPS_REGISTER))
    assert 1 < largest < 1 << plan.config.register_bits == 256


def test_sbe_needs_more_inputs_than_a_tile_has():
    network = Network((LayerShape("lstm", 8, 16, 15),))
    with pytest.raises(ConfigError, match="model: 8 inputs for the schedule sbe; must be more than the 8 of a tile"):
        choose(network, STEPS, schedule="sbe", given={"rows": 8, "cells": 5, "axi_data_bits": 64})
    for inputs, way_out in ((8, "fewer rows have smaller tiles"), (2, "too few for any number of rows")):
        with pytest.raises(ConfigError, match=way_out):
            choose(Network((LayerShape("lstm", inputs, 16, 15),)), STEPS, schedule="sbe", given={"rows": 16})
    with pytest.raises(ConfigError, match="model: 8 inputs, those of both directions, for the schedule sbe"):
        choose(Network((LayerShape("lstm", 8, 16, 15, directions=2),)), STEPS, schedule="sbe", given={"rows": 16})


def test_a_model_that_no_schedule_takes():
    """The message says what is too much of it, and never that something must fit without saying what."""
    lstm, linear = LayerShape("lstm", 3, 4, 15), LayerShape("linear", 4, 2, 15, steps=STEPS)
    network = Network((lstm, linear), thresholds=(1, 1))
    told = (
        "with thresholds and with a linear layer that reads all steps; no schedule takes all of it: "
        "resident is not for one with thresholds; delta, delta_columns are not for one with a linear "
        "layer that reads all steps"
    )
    for schedule in ("auto", "resident", "delta"):
        with pytest.raises(ConfigError, match=f"plan.schedule: '{schedule}' for a model {told}$"):
            choose(network, STEPS, schedule=schedule)
