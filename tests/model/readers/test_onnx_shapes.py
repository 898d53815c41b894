"""Reshapes of ONNX files whose shapes other nodes compute, as torch's exporter writes them around an LSTM."""

import warnings

import numpy as np
import onnx
import pytest

from lstm_hw.errors import ModelError
from lstm_hw.machine.arrangement import Arrangement
from lstm_hw.model.load import load
from lstm_hw.model.readers.options import ReadOptions
from lstm_hw.model.reference import float_reference

torch = pytest.importorskip("torch")
INPUTS, HIDDEN, STEPS = 3, 4, 5
WAYS = {
    "all": lambda self, x: self.all(self.rnn(x)[0].reshape(x.shape[0], -1)),
    "all_sizes": lambda self, x: self.all(self.rnn(x)[0].reshape(len(x), STEPS * HIDDEN)),
    "rows": lambda self, x: self.fc(self.rnn(x)[0].reshape(-1, HIDDEN)),
    "rows_and_back": lambda self, x: self.fc(torch.relu(self.mid(self.rnn(x)[0].reshape(-1, HIDDEN)))).view(
        x.shape[0], x.shape[1], 2
    ),
    "hidden": lambda self, x: self.fc(self.rnn(x)[1][0].permute(1, 0, 2).reshape(x.shape[0], -1)),
    "hidden_of_both": lambda self, x: self.both(
        self.two(x)[1][0].view(1, 2, x.shape[0], HIDDEN)[-1].permute(1, 0, 2).reshape(x.shape[0], -1)
    ),
    "same": lambda self, x: self.fc(self.rnn(x.view(x.shape[0], -1, INPUTS))[0][:, -1]),
    "last_of_known": lambda self, x: self.fc(self.rnn(x)[0][:, x.shape[1] - 1]),
    "last_of_linear": lambda self, x: torch.relu(self.fc(self.rnn(x)[0]))[:, -1],
    "last_of_linear_of_both": lambda self, x: self.both(self.two(x)[0])[:, -1],
    "scaled": lambda self, x: self.above(2 * self.rnn(x)[0])[0],
    "both_of_all": lambda self, x: self.both(self.stack(x)[0]),
    "one_input": lambda self, x: self.fc(self.single(x.unsqueeze(-1))[0][:, -1]),
    "one_input_viewed": lambda self, x: self.fc(self.single(x.view(x.shape[0], -1, 1))[0].reshape(-1, HIDDEN)),
    "one_sequence": lambda self, x: self.fc(self.rnn(x.unsqueeze(0))[0][:, -1]),
    "one_output": lambda self, x: self.one(self.rnn(x)[0][:, -1]).squeeze(-1),
    "one_output_of_rows": lambda self, x: self.one(self.rnn(x)[0]).view(-1),
}
"""What stands around the LSTM."""


class Network(torch.nn.Module):
    def __init__(self, way):
        super().__init__()
        self.rnn, self.single = (torch.nn.LSTM(size, HIDDEN, batch_first=True) for size in (INPUTS, 1))
        self.two = torch.nn.LSTM(INPUTS, HIDDEN, batch_first=True, bidirectional=True)
        self.stack = torch.nn.LSTM(INPUTS, HIDDEN, 2, batch_first=True, bidirectional=True)
        self.fc, self.mid, self.one = (torch.nn.Linear(HIDDEN, size) for size in (2, HIDDEN, 1))
        self.all, self.both = torch.nn.Linear(STEPS * HIDDEN, 2), torch.nn.Linear(2 * HIDDEN, 2)
        self.above, self.way = torch.nn.LSTM(HIDDEN, HIDDEN, batch_first=True), way

    def forward(self, x):
        return WAYS[self.way](self, x)


def exported(way, path, fixed, sequences=2, steps=STEPS):
    """Inputs of the network, and its outputs."""
    torch.manual_seed(3)
    made = Network(way).eval()
    shape = {"one_input": (2, STEPS), "one_input_viewed": (2, STEPS), "one_sequence": (STEPS, INPUTS)}
    x = torch.randn(shape.get(way, (sequences, steps, INPUTS)))
    axes = None if fixed else {"x": {0: "first", 1: "second"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(made, (x,), str(path), dynamo=False, input_names=["x"], dynamic_axes=axes)
        return x.numpy(), made(x).detach().numpy()


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_what_torch_exports(tmp_path, way, fixed):
    x, expected = exported(way, tmp_path / "m.onnx", fixed)
    if way in ("all_sizes", "last_of_known") and not fixed:
        with pytest.raises(ModelError, match=r"m.onnx: /\w+: .*(must take away axes of size one|not constant)"):
            load(tmp_path / "m.onnx")
        return
    if way == "scaled":  # no head_prefix takes away what is between two layers
        with pytest.raises(ModelError, match="Mul behind 1 recurrent .*; what is in front of it and what is behind"):
            load(tmp_path / "m.onnx", ReadOptions(head_prefix="none"))
        return
    model = load(tmp_path / "m.onnx")
    x = x[None] if way == "one_sequence" else x.reshape(2, STEPS, -1)
    np.testing.assert_allclose(float_reference(model, x)[0].ravel(), expected.ravel(), atol=1e-5)
    plain = not way.startswith("all") and way not in ("hidden_of_both", "last_of_linear_of_both", "both_of_all")
    assert model.arrangement.is_plain == plain
    assert not way.startswith("all") or model.arrangement == Arrangement(steps=STEPS)


@pytest.mark.parametrize("sequences, steps", [(1, STEPS), (2, 1), (1, 1)])
@pytest.mark.parametrize("way", ["all", "rows", "rows_and_back", "hidden_of_both", "both_of_all"])
def test_axes_of_size_one(tmp_path, way, sequences, steps):
    """What an export without dynamic axes makes of one sequence, or of one step: all sizes are numbers."""
    steps = STEPS if way == "all" else steps
    x, expected = exported(way, tmp_path / "m.onnx", True, sequences, steps)
    model = load(tmp_path / "m.onnx")
    np.testing.assert_allclose(float_reference(model, x)[0].reshape(expected.shape), expected, atol=1e-5)
    assert model.arrangement.steps == (STEPS if way == "all" else 0)


def test_shapes_that_lead_nowhere(tmp_path):
    """A shape of itself, one of a tensor that nobody reads, and sizes that would mix sequences."""
    exported("rows", tmp_path / "m.onnx", False)
    whole = onnx.load(tmp_path / "m.onnx")
    (reshape,) = (node for node in whole.graph.node if node.op_type == "Reshape")
    make = onnx.helper.make_node
    for nodes, message in (
        ([make("Concat", ["b", "a"], ["a"], axis=0), make("Concat", ["a", "a"], ["b"], axis=0)], "a node that cannot"),
        ([make("Shape", ["unknown"], ["a"])], "unknown: not constant; must be stored in the file"),
        ([make("Shape", ["x"], ["s"]), make("Concat", ["s", "s"], ["a"], axis=0)], "must take away axes of size one"),
        ([make("Shape", ["x"], ["s"]), make("Mul", ["s", "s"], ["a"])], "must take away axes of size one only, or add"),
    ):
        changed = onnx.ModelProto()
        changed.CopyFrom(whole)
        at = list(whole.graph.node).index(reshape)
        changed.graph.node[at].input[1] = "a"
        changed.graph.node.extend(nodes)
        onnx.save(changed, tmp_path / "n.onnx")
        with pytest.raises(ModelError, match=message):
            load(tmp_path / "n.onnx")
