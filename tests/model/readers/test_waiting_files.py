"""Stacks of bidirectional layers, linear layers behind them on every step, and a last step that is repeated."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, InputError, ModelError
from lstm_hw.machine.arrangement import Arrangement
from lstm_hw.model.load import load
from lstm_hw.model.readers.options import ReadOptions
from lstm_hw.model.reference import float_reference
from lstm_hw.project.start import init

torch = pytest.importorskip("torch")
INPUTS, HIDDEN, STEPS = 3, 4, 6


class Network(torch.nn.Module):
    """Two layers of two directions, one of one behind or in front of them, or a decoder behind an encoder."""

    def __init__(self, way):
        super().__init__()
        lstm = {"batch_first": True}
        self.way, self.stack = way, torch.nn.LSTM(INPUTS, HIDDEN, 2, bidirectional=True, **lstm)
        self.behind, self.front = torch.nn.LSTM(2 * HIDDEN, 5, **lstm), torch.nn.LSTM(INPUTS, 5, **lstm)
        self.above, self.decoder = torch.nn.LSTM(5, HIDDEN, bidirectional=True, **lstm), torch.nn.LSTM(5, 5, **lstm)
        self.both, self.one = torch.nn.Linear(2 * HIDDEN, 5), torch.nn.Linear(5, 2)

    def forward(self, x):
        if self.way in ("fewer", "unlike", "as_x"):
            h = self.decoder(self.front(x)[0][:, -1:].repeat(1, 4, 1))[0]
            if self.way == "fewer":
                return self.one(h)
            return self.one(self.decoder(h[:, -1:].repeat(1, 5 if self.way == "unlike" else x.shape[1], 1))[0])
        if self.way == "more":
            return self.one(self.decoder(torch.cat([self.front(x)[0][:, -1:]] * 9, 1))[0])
        if self.way == "more_of_both":
            (state, _), behind = self.stack(x)[1], (-1, 9, -1)
            h = torch.relu(self.both(torch.cat((state[-2], state[-1]), 1)))[:, None].expand(behind)
            return self.one(torch.relu(self.both(self.above(h)[0])))
        if self.way == "decoder_of_both":
            return self.both(self.above(self.front(x)[1][0][-1][:, None].repeat(1, x.shape[1], 1))[0])
        if self.way.startswith("decoder"):
            last = self.front(x)[0][:, -1:]
            last = last.repeat(1, x.shape[1], 1) if self.way == "decoder" else last.expand(-1, x.shape[1], -1)
            return self.one(self.decoder(last)[0])
        if self.way == "above":
            return self.both(self.above(self.front(x)[0])[0])
        h, (state, _) = self.stack(x)
        if self.way == "behind":
            return self.one(self.behind(h)[0][:, -1])
        h = {"last": h[:, -1], "final": torch.cat((state[-2], state[-1]), 1)}.get(self.way, h)
        h = self.both(h)
        return h if self.way in ("every", "last", "final") else self.one(torch.relu(h))


ARRANGED = {
    "every": ("both", "added"),
    "last": ("both", "added_last"),
    "final": ("both", "sent"),
    "chain": ("both", "sent"),
    "behind": ("both", "sent"),
    "above": ("forward", "added"),
    "decoder": ("forward", "sent"),
    "decoder_expanded": ("forward", "sent"),
    "decoder_of_both": ("forward", "added"),
    "fewer": ("forward", "sent"),
    "more": ("forward", "sent"),
    "more_of_both": ("both", "sent"),
}
REPEATS = {"fewer": 4, "more": 9, "more_of_both": 9}
OF_LAST = ("fewer", "more")


def exported(folder, x, way, fixed):
    """Outputs of a network, which is written to m.onnx."""
    torch.manual_seed(2)
    made, given = Network(way).eval(), torch.as_tensor(x)
    axes = None if fixed else {"x": {0: "batch", 1: "time"}}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(made, (given,), folder / "m.onnx", dynamo=False, input_names=["x"], dynamic_axes=axes)
        return made(given).numpy()


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).standard_normal((2, STEPS, INPUTS)).astype(np.float32)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("way", ARRANGED)
def test_what_torch_exports(tmp_path, x, way, fixed):
    expected = exported(tmp_path, x, way, fixed)
    model = load(tmp_path / "m.onnx")
    np.testing.assert_allclose(float_reference(model, x)[0], expected, atol=1e-5)
    exact = fixed and way.startswith("decoder")
    arrangement = Arrangement(*ARRANGED[way], least=STEPS * exact, most=STEPS if fixed else 64)
    arrangement = replace(arrangement, repeats=REPEATS.get(way, 0), most=arrangement.most * (way not in OF_LAST))
    assert model.arrangement == arrangement
    told = [line for line in model.assumptions if line.startswith("model.most_steps")]
    assert bool(told) != (fixed or way in OF_LAST)
    if way in REPEATS:
        assert expected.shape[1] == REPEATS[way] and any(f"in {REPEATS[way]} steps" in one for one in model.assumptions)
    if way in OF_LAST:
        arrays = {"calibration": x, "labels": np.zeros(expected.shape[:2], int)}
        np.savez(tmp_path / "d.npz", **arrays, other=np.zeros(x.shape[:2], int))
        path, _ = init(tmp_path / "m.onnx", tmp_path / "d.npz", output=tmp_path / "m.toml")
        assert 'labels = "labels"' in path.read_text()
        assert float_reference(model, x[:, :1])[0].shape == expected.shape
        with pytest.raises(ConfigError, match="model.most_steps: 9; must not be given"):
            load(tmp_path / "m.onnx", ReadOptions(most_steps=9))
    elif not fixed:
        assert load(tmp_path / "m.onnx", ReadOptions(most_steps=9)).arrangement.most == 9
        with pytest.raises(
            InputError, match="must have at most 64 steps, of which h is kept on chip; model.most_steps"
        ):
            float_reference(model, np.zeros((1, 65, INPUTS)))


@pytest.mark.parametrize("way, fixed, steps", [("unlike", True, "5"), ("unlike", False, "5"), ("as_x", False, "time")])
def test_a_last_step_that_is_repeated_twice(tmp_path, x, way, fixed, steps):
    """In as many steps each time: x has others."""
    exported(tmp_path, x, way, fixed)
    rule = f"the last step in {steps} steps, behind one in 4; must be in as many; run the parts"
    with pytest.raises(ModelError, match=rule):
        load(tmp_path / "m.onnx")


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_state_dict(tmp_path, x, kind):
    torch.manual_seed(2)
    made, head = getattr(torch.nn, kind)(INPUTS, HIDDEN, 3, bidirectional=True, batch_first=True), torch.nn.Linear(8, 2)
    torch.save(torch.nn.ModuleDict({"rnn": made, "fc": head}).state_dict(), tmp_path / "m.pt")
    h, state = made(torch.as_tensor(x))
    state = state[0] if kind == "LSTM" else state
    final = torch.cat((state[-2], state[-1]), 1)
    for mode, read in (("every_step", h), ("last_step", h[:, -1]), ("final_state", final)):
        model = load(tmp_path / "m.pt", ReadOptions(head=mode))
        np.testing.assert_allclose(float_reference(model, x)[0], head(read).detach().numpy(), atol=1e-5)
        assert model.head_mode == mode and [layer.waits for layer in model.layers] == ["", "both", "both"]
    tensors = torch.load(tmp_path / "m.pt")
    tensors["rnn.weight_ih_l1_reverse"] = tensors["rnn.weight_ih_l1_reverse"][:, :HIDDEN]
    torch.save(tensors, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"rnn.weight_ih_l1_reverse: shape \(\d+, 4\); must be"):
        load(tmp_path / "m.pt", ReadOptions(head="every_step"))


def test_steps_that_nobody_waits_for(tmp_path):
    torch.save(torch.nn.LSTM(INPUTS, HIDDEN).state_dict(), tmp_path / "m.pt")
    with pytest.raises(ConfigError, match="model.most_steps: 9; must not be given: no layer of .*m.pt waits"):
        load(tmp_path / "m.pt", ReadOptions(most_steps=9))
    with pytest.raises(ConfigError, match="model.most_steps: 1; must be 2 to 16384"):
        ReadOptions(most_steps=1)
