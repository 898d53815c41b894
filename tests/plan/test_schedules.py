"""The choice among schedules: by the exact model, among those that fit, with a reason."""

import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.plan.schedules import choose
from lstm_hw.plan.sizing import streaming_engine
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel

NETWORK = Network((LayerShape("lstm", 24, 32, 15),))
STEPS = 8


def chosen(contexts=2, words=96, sequences=1, batch=None, schedule="auto", memory=None, **fields):
    groups = max(1, sequences // contexts)
    engine = streaming_engine(NETWORK, 16, contexts, words, groups, STEPS, axi_data_bits=64, **fields)
    return choose(NETWORK, engine, STEPS, sequences, batch, memory, schedule)


def test_the_best_has_the_fewest_cycles():
    choice = chosen()
    fitting = [tried for tried in choice.tried if tried.plan]
    assert choice.outcome is fitting[0] and {"conventional", "sacc", "sacc, batch 8"} <= {o.name for o in fitting}
    assert choice.outcome.cycles <= 1.01 * min(o.cycles for o in fitting)
    per_step = choice.outcome.cycles / STEPS
    assert choice.reason.startswith(f"{choice.outcome.name}: {per_step:.0f} cycles a step, limited by")
    assert check(choice.outcome.plan) > 0


def test_memory_bound_designs_reuse_and_one_that_holds_everything_does_not_stream():
    assert chosen(memory=MemoryModel(40, 2)).outcome.name.startswith("sacc, batch 8")
    resident = chosen(contexts=1, words=1024)
    assert resident.outcome.name == "resident" and resident.outcome.read_bytes == 0


def test_what_is_asked_for_is_taken():
    assert chosen(schedule="conventional").outcome.name == "conventional"
    assert chosen(batch=4, schedule="sacc, batch").outcome.name.startswith("sacc, batch 4")
    assert chosen(sequences=4).outcome.name == "row blocks, 2 groups"


def test_refusals_are_told():
    with pytest.raises(ConfigError, match="must begin the name of one for 3 sequences on 2 contexts"):
        chosen(sequences=3)
    with pytest.raises(ConfigError, match="does not fit: engine.weight_words"):
        chosen(words=8)
    small = chosen(accumulators=24)
    refused = {tried.name: tried.refused for tried in small.tried if tried.plan is None}
    assert "engine.accumulators" in refused["sacc, batch 8"]
