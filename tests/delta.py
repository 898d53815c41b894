"""Small delta networks with plans and inputs, for the tests of lists."""

import numpy as np

from lstm_hw.model.delta import activity, with_thresholds
from lstm_hw.model.float_model import DenseWeights, FloatModel, GruWeights, LstmWeights
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.plan.sizing import engine_and_plan, engine_formats, network_of, stored_weight_bits

STEPS = 9


def float_model(rng, sizes, head=0, every=False, kind="lstm"):
    """Normally distributed weights; ``sizes`` is (Lx, H of each layer)."""

    def layer(inputs, units):
        if kind == "gru":
            matrices = (rng.normal(size=(3 * units, *rest)) for rest in ((inputs,), (units,), (), ()))
            return GruWeights.of_gates(*matrices, "layer")
        return LstmWeights(
            *(rng.normal(size=shape) for shape in ((4 * units, inputs), (4 * units, units), (4 * units,)))
        )

    layers = [layer(inputs, units) for inputs, units in zip(sizes, sizes[1:], strict=False)]
    dense = DenseWeights(rng.normal(size=(head, sizes[-1])), rng.normal(size=head)) if head else None
    return FloatModel(tuple(layers), dense, every)


def inputs(rng, sequences, width, steps=STEPS):
    """Sequences that wander, and stand still in the middle."""
    x = np.cumsum(0.1 * rng.normal(size=(sequences, steps, width)), axis=1)
    x[:, 3:6] = x[:, 3:4]
    return x


def delta_model(seed=0, sizes=(3, 10), head=0, every=False, threshold=0.05, sequences=4, kind="lstm"):
    """(Quantised model without thresholds, the one with them, stored x)."""
    rng = np.random.default_rng(seed)
    model, x = float_model(rng, sizes, head, every, kind), inputs(rng, sequences, sizes[0])
    dense = quantize(model, x, QuantConfig())
    return dense, with_thresholds(dense, threshold, [threshold] * len(model.layers)), dense.quantize_input(x)


def plan_of(qmodel, x=None, planner=None, **given):
    """The plan on the smallest engine, which has 8 rows unless it is said; with the activity of x."""
    network = network_of(qmodel, activity=() if x is None else activity(qmodel, x))
    fields = {"rows": 8, "weight_bits": stored_weight_bits(qmodel), **engine_formats(qmodel), **given}
    return engine_and_plan(network, planner, **fields)[1]
