import os
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from lstm_hw.errors import ConfigError, ModelError
from lstm_hw.model import store
from lstm_hw.model.load import load
from lstm_hw.model.readers.options import ReadOptions
from lstm_hw.model.reference import float_reference
from lstm_hw.model.store import write_tensors

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "model.safetensors"
INPUTS, HIDDEN, OUTPUTS = 3, 5, 2


def tensors(layers=2, prefix="lstm.", head="head.", dtype=np.float32):
    rng = np.random.default_rng(7)
    shapes, inputs = {}, INPUTS
    for n in range(layers):
        shapes[f"{prefix}weight_ih_l{n}"] = (4 * HIDDEN, inputs)
        shapes[f"{prefix}weight_hh_l{n}"] = (4 * HIDDEN, HIDDEN)
        shapes[f"{prefix}bias_ih_l{n}"] = shapes[f"{prefix}bias_hh_l{n}"] = (4 * HIDDEN,)
        inputs = HIDDEN
    if head:
        shapes |= {f"{head}weight": (OUTPUTS, HIDDEN), f"{head}bias": (OUTPUTS,)}
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


@pytest.fixture
def saved(tmp_path):
    """Function that saves tensors and returns the path."""

    def save(values, metadata=None, name="m.safetensors"):
        save_file(values, tmp_path / name, metadata)
        return tmp_path / name

    return save


def refused(path, *parts):
    """Loading must fail, and the message must hold the parts in this order."""
    with pytest.raises(ModelError) as caught:
        load(path)
    text, at = str(caught.value), 0
    for part in parts:
        assert part in text[at:], text
        at = text.index(part, at) + len(part)
    return text


@pytest.mark.parametrize("prefix", ["", "lstm.", "model.rnn."])
@pytest.mark.parametrize("head", ["head.", "fc.", "linear.", "model.classifier.", None])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_state_dict(saved, prefix, head, dtype):
    given = tensors(2, prefix, head, dtype)
    model = load(saved(given))
    assert (model.input_size, model.hidden_sizes) == (INPUTS, (HIDDEN, HIDDEN))
    for n, layer in enumerate(model.layers):
        assert np.array_equal(layer.w_x, given[f"{prefix}weight_ih_l{n}"])
        assert np.array_equal(layer.w_h, given[f"{prefix}weight_hh_l{n}"])
        both = [given[f"{prefix}bias_{part}_l{n}"].astype(np.float64) for part in ("ih", "hh")]
        assert np.array_equal(layer.bias, both[0] + both[1])
        assert layer.w_x.dtype == np.float64
    if head:
        assert np.array_equal(model.head.weight, given[f"{head}weight"])
        assert np.array_equal(model.head.bias, given[f"{head}bias"])
    else:
        assert model.head is None


@pytest.mark.torch
def test_torch_state_dict(saved):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = torch.nn.ModuleDict({"encoder": torch.nn.LSTM(3, 5, 3, batch_first=True), "fc": torch.nn.Linear(5, 2)})
    model = load(saved({name: value.numpy() for name, value in network.state_dict().items()}))
    x = torch.randn(2, 7, 3)
    with torch.no_grad():
        expected = network["fc"](network["encoder"](x)[0][:, -1])
    np.testing.assert_allclose(float_reference(model, x.numpy())[0], expected, atol=1e-5)


@pytest.mark.parametrize("order", [*map("".join, permutations("ifgo")), "icfo", "ifco"])
def test_gate_order(saved, order):
    plain = tensors()
    letters = order.replace("c", "g")

    def reorder(values):
        blocks = dict(zip("ifgo", np.split(values, 4), strict=True))
        return np.concatenate([blocks[gate] for gate in letters])

    given = {name: values if name.startswith("head") else reorder(values) for name, values in plain.items()}
    model, expected = load(saved(given, {"gate_order": order})), load(saved(plain, name="plain.safetensors"))
    for ours, theirs in zip(model.layers, expected.layers, strict=True):
        for name in ("w_x", "w_h", "bias"):
            assert np.array_equal(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize("order", ["", "ifg", "ifgg", "ifgoo", "ifgc", "IFGO", "zrh"])
def test_unknown_gate_order(saved, order):
    refused(saved(tensors(), {"gate_order": order}), "m.safetensors: metadata gate_order", repr(order), "permutation")


def test_head_mode(saved):
    assert load(saved(tensors())).head_every_step is False
    assert load(saved(tensors(), {"head": "last_step"})).head_every_step is False
    assert load(saved(tensors(), {"head": "every_step"})).head_every_step is True
    assert load(saved(tensors(head=None), {"head": "none"})).head is None
    assert load(saved(tensors()), ReadOptions(head="every_step")).head_every_step is True
    assert load(saved(tensors(), {"head": "every_step"}), ReadOptions(head="every_step")).head_every_step is True
    refused(
        saved(tensors(), {"head": "first"}),
        "metadata head",
        "'first'",
        "must be one of last_step, every_step, all_steps, none",
    )
    refused(saved(tensors(), {"head": "none"}), "metadata head", "'none'", "must agree")
    refused(saved(tensors(head=None), {"head": "last_step"}), "metadata head", "'last_step'", "no head")


def test_what_is_said_nowhere_is_assumed_and_told(saved):
    (assumed,) = load(saved(tensors())).assumptions
    assert assumed.startswith("model.head: m.safetensors does not say it; taken as 'last_step'")
    for metadata, head in (({"head": "last_step"}, None), ({}, "last_step"), ({}, "every_step")):
        assert load(saved(tensors(), metadata), ReadOptions(head=head)).assumptions == ()
    assert load(saved(tensors(head=None))).assumptions == ()
    with pytest.raises(ModelError, match="metadata head: 'last_step'; must be 'every_step', as model.head says"):
        load(saved(tensors(), {"head": "last_step"}), ReadOptions(head="every_step"))
    with pytest.raises(ConfigError, match="model.head: 'every_step'; must not be given: .* has no linear head"):
        load(saved(tensors(head=None)), ReadOptions(head="every_step"))
    with pytest.raises(ConfigError, match="model.head: 'first'; must be one of last_step, every_step"):
        load(saved(tensors()), ReadOptions(head="first"))


@pytest.mark.parametrize("name", sorted(tensors()))
class TestEveryTensor:
    def test_missing(self, saved, name):
        given = tensors()
        del given[name]
        if name == "head.bias":
            assert "has no head.bias" in load(saved(given, {"head": "last_step"})).assumptions[0]
            return
        if name == "lstm.weight_ih_l1":
            given["lstm.weight_ih_l2"] = np.zeros((4 * HIDDEN, HIDDEN), np.float32)
        refused(saved(given), f"m.safetensors: {name}", "missing", "must be present")

    def test_misshapen(self, saved, name):
        for change in (lambda v: v[:-1], lambda v: v[None], lambda v: v[:0], lambda v: np.concatenate([v, v])):
            given = tensors()
            given[name] = np.ascontiguousarray(change(given[name]))
            refused(saved(given), "m.safetensors: ", "shape", "must be (")
        if given[name].ndim == 2:
            given = tensors()
            given[name] = np.ascontiguousarray(given[name].T)
            text = refused(saved(given), "m.safetensors: ", "shape", "must be (")
            assert name in text

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, saved, name, bad):
        given = tensors()
        given[name].flat[-1] = bad
        refused(saved(given), f"m.safetensors: {name}", "1 values NaN or infinite", "must be finite")

    @pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8, np.bool_])
    def test_integer_dtype(self, saved, name, dtype):
        given = tensors()
        given[name] = given[name].astype(dtype)
        refused(saved(given), f"m.safetensors: {name}", "dtype", "must be one of F16, BF16, F32, F64")


@pytest.mark.torch
def test_bfloat16(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    save_torch({name: torch.from_numpy(v).bfloat16() for name, v in tensors().items()}, tmp_path / "m.safetensors")
    weights = load(tmp_path / "m.safetensors").layers[0].w_x
    assert np.array_equal(weights, torch.from_numpy(tensors()["lstm.weight_ih_l0"]).bfloat16().double())


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ("lstm.weight_ih_l0_reverse", "lstm.weight_hh_l0_reverse: missing"),
        ("lstm.bias_hh_l1_reverse", "lstm.weight_ih_l0_reverse: missing"),
        ("lstm.weight_hr_l0", "lstm.weight_hr_l1: missing"),
        ("lstm.weight_ih_l7", "missing"),
        ("other.weight_ih_l0", "LSTMs under the prefixes ['lstm.', 'other.']"),
        ("fc.weight", "linear layers under ['fc.', 'head.']"),
        ("embedding.weight", "unexpected tensor"),
        ("lstm.weight_ih_l00", "unexpected tensor"),
        ("lstm.weight_ih_l0\n", "unexpected tensor"),
        ("", "unexpected tensor"),
    ],
)
def test_extra_tensor(saved, extra, found):
    refused(saved(tensors() | {extra: np.zeros((4 * HIDDEN, HIDDEN), np.float32)}), "m.safetensors", found, "must")


def test_nothing_of_an_lstm(saved):
    refused(saved({}), "m.safetensors: weight_ih_l0", "missing", "must hold the weights of an LSTM")
    refused(saved({"head.weight": np.zeros((2, 2), np.float32)}), "weight_ih_l0: missing")


def test_not_a_file(tmp_path):
    refused(tmp_path / "none.safetensors", "none.safetensors", "No such file")
    refused(tmp_path / "none.safetensors" / "x.safetensors", "No such file")
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    refused(folder, "folder.safetensors", "a directory", "must be a file")
    refused("a\0b.safetensors", "null", "must be a file name")
    refused(tmp_path / ("n" * 300 + ".safetensors"), "too long", "must be a readable file")
    os.mkfifo(tmp_path / "pipe.safetensors")
    refused(tmp_path / "pipe.safetensors", "not a regular file", "must be a file")
    (tmp_path / "empty.safetensors").touch()
    refused(tmp_path / "empty.safetensors", "an empty file", "must have content")


def test_unreadable(saved, monkeypatch):
    path = saved(tensors())

    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store, "safe_open", deny)
    refused(path, "m.safetensors", "Permission denied", "must be a readable file")


@pytest.mark.parametrize("name", ["m.txt", "m.SAFETENSORS.zip", "m"])
def test_wrong_suffix(tmp_path, name):
    (tmp_path / name).write_bytes(b"anything")
    refused(tmp_path / name, name, "suffix", "must be one of .safetensors")


def test_limits_come_before_reading(saved, monkeypatch, tmp_path):
    path = saved(tensors())
    monkeypatch.setattr(store, "MAX_FILE_BYTES", path.stat().st_size - 1)
    monkeypatch.setattr(store, "safe_open", None)
    refused(path, "m.safetensors", "bytes", "must not exceed")
    monkeypatch.undo()
    monkeypatch.setattr(store, "MAX_TENSORS", len(tensors()) - 1)
    refused(path, f"{len(tensors())} tensors", "must not exceed")
    monkeypatch.undo()
    with open(tmp_path / "sparse.safetensors", "wb") as file:
        file.truncate(store.MAX_FILE_BYTES + 1)
    refused(tmp_path / "sparse.safetensors", f"{store.MAX_FILE_BYTES + 1} bytes", "must not exceed")


def raw(header, data=b""):
    return len(header).to_bytes(8, "little") + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"\0",
        b"\xff" * 8,
        b"\xff" * 64,
        bytes(8),
        bytes(4096),
        b"PK\x03\x04" + bytes(100),
        raw(b"{}")[:-1],
        raw(b"[]"),
        raw(b"null"),
        raw(b"{" * 50_000),
        raw(b'{"__metadata__":{"a":1}}'),
        raw(b'{"a":{"dtype":"F32","shape":[4,1],"data_offsets":[0,16]}}'),
        raw(b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}'),
        raw(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', bytes(4)),
        raw(b'{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
        raw(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', bytes(4)),
        raw(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(5)),
        raw(b'{"weight_ih_l0":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    ],
)
def test_not_safetensors(tmp_path, content):
    (tmp_path / "m.safetensors").write_bytes(content)
    refused(tmp_path / "m.safetensors", "m.safetensors")


def test_every_truncation(saved, tmp_path):
    content = saved(tensors(layers=1), name="whole.safetensors").read_bytes()
    path = tmp_path / "m.safetensors"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        refused(path, "m.safetensors")
    path.write_bytes(content)
    load(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_raises_nothing_else(tmp_path, data):
    path = tmp_path / "m.safetensors"
    save_file(tensors(layers=1), path, {"gate_order": "ifgo", "head": "last_step"})
    content = bytearray(path.read_bytes())
    header = int.from_bytes(content[:8], "little") + 8
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, header - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        load(path)
    except ModelError as error:
        assert "m.safetensors" in str(error)


def test_digest_notices_every_byte(tmp_path):
    path = tmp_path / "m.safetensors"
    write_tensors(path, tensors(layers=1), {"head": "last_step"})
    content = path.read_bytes()
    whole = load(path)
    header = int.from_bytes(content[:8], "little") + 8
    name = content.index(b"sha256")
    padding = content[:header].rstrip(b" ")
    # Header, then a sample of the data. The digest's own name is free: without it the file is unsigned.
    for at in [*range(len(padding)), *range(header, len(content), 37), len(content) - 1]:
        if name <= at < name + len(b"sha256"):
            continue
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        refused(path, "m.safetensors")
    path.write_bytes(content)
    assert np.array_equal(load(path).layers[0].w_x, whole.layers[0].w_x)


def test_writing_is_reproducible_and_atomic(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    metadata = {"gate_order": "ifgo", "head": "last_step", "framework": "torch", "z": "1"}
    write_tensors(path, tensors(), metadata)
    first = path.read_bytes()
    for _ in range(5):
        write_tensors(path, dict(reversed(tensors().items())), dict(reversed(metadata.items())))
        assert path.read_bytes() == first
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ModelError, match="m.safetensors: No space left on device; must be a writable place"):
        write_tensors(path, tensors(layers=1), {})
    assert path.read_bytes() == first
    assert [item.name for item in tmp_path.iterdir()] == ["m.safetensors"]
    with pytest.raises(ModelError, match="No such file"):
        write_tensors(tmp_path / "none" / "m.safetensors", tensors(), {})


def test_writing_keeps_strided_tensors(tmp_path):
    given = tensors()
    strided = {name: np.asfortranarray(values) for name, values in given.items()}
    write_tensors(tmp_path / "m.safetensors", strided, {})
    assert np.array_equal(load(tmp_path / "m.safetensors").layers[0].w_x, given["lstm.weight_ih_l0"])


def test_digits_example():
    model = load(DIGITS)
    assert (model.input_size, model.hidden_sizes, model.output_size, model.head_every_step) == (8, (64,), 10, False)
