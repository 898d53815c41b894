import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from lstm_hw.errors import ModelError
from lstm_hw.machine.formats import QFormat
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quant_model import BLOCK_KEY, QuantModel
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import integer_reference
from lstm_hw.model.store import DIGEST_KEY, write_tensors


@pytest.fixture
def qmodel(random_model):
    return quantised(random_model, fractions="shared")


def quantised(random_model, **options):
    model = random_model(0, 4, (3, 2), outputs=2, every_step=True)
    config = QuantConfig(hidden=QFormat(0, 15, rounding="half_even"), weight_bits=8, **options)
    return quantize(model, np.random.default_rng(0).standard_normal((2, 3, 4)), config)


@pytest.fixture
def path(qmodel, tmp_path):
    qmodel.save(tmp_path / "q.safetensors")
    return tmp_path / "q.safetensors"


def parts(path):
    """Tensors and JSON block of a file."""
    with safe_open(path, framework="numpy") as file:
        return load_file(path), json.loads(file.metadata()[BLOCK_KEY])


def test_round_trip(qmodel, path):
    loaded = QuantModel.load(path)
    assert loaded.digest() == qmodel.digest()
    chains = [(*model.layers, model.head) for model in (loaded, qmodel)]
    for ours, theirs in zip(*chains, strict=True):
        for f in fields(ours):
            if f.name != "source":
                assert np.array_equal(getattr(ours, f.name), getattr(theirs, f.name)), f.name
    assert (loaded.activation, loaded.head_every_step) == (qmodel.activation, True)
    x = loaded.quantize_input(np.random.default_rng(1).standard_normal((2, 5, 4)))
    assert np.array_equal(integer_reference(loaded, x)[0], integer_reference(qmodel, x)[0])
    first = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == first


def test_shifts_of_rows(random_model, tmp_path):
    qmodel, path = quantised(random_model, fractions="row"), tmp_path / "rows.safetensors"
    qmodel.save(path)
    loaded = QuantModel.load(path)
    assert loaded.digest() == qmodel.digest() and qmodel.layers[0].row_shift.any()
    for ours, theirs in zip((*loaded.layers, loaded.head), (*qmodel.layers, qmodel.head), strict=True):
        assert np.array_equal(ours.row_shift, theirs.row_shift) and ours.lifts == theirs.lifts
    tensors, block = parts(path)
    write_tensors(path, tensors | {"layers.0.row_shift": np.full(12, 9, np.int8)}, {BLOCK_KEY: json.dumps(block)})
    with pytest.raises(ModelError, match="layers.0: row_shift: 9 to 9; must be between 0 and 7"):
        QuantModel.load(path)


def test_file_names_every_rounding_place(qmodel, path):
    tensors, block = parts(path)
    assert block["version"] == 2 and block["activation"] == "quadratic64" and block["head_every_step"] is True
    layer = block["layers"][0]
    assert layer["hidden"] == "Q0.15/half_even/saturate" and layer["preact"] == "Q3.12/half_up/saturate"
    assert set(layer) == {
        "x_format",
        "h_format",
        "w_x_format",
        "w_h_format",
        "bias_format",
        "acc_fraction",
        "preact",
        "activation_format",
        "cell",
        "hidden",
    }
    assert set(block["head"]) == {"x_format", "w_format", "bias_format", "acc_fraction", "output"}
    assert tensors["layers.0.w_x"].dtype == np.int8 and tensors["head.bias"].dtype == np.int32
    with safe_open(path, framework="numpy") as file:
        assert file.metadata()[DIGEST_KEY] == qmodel.digest()


def test_without_head(random_model, tmp_path):
    model = quantize(random_model(0, 4, (3,)), np.ones((1, 1, 4)))
    model.save(tmp_path / "q.safetensors")
    loaded = QuantModel.load(tmp_path / "q.safetensors")
    assert loaded.head is None and loaded.output_size == 3 and loaded.output_format == model.layers[0].hidden


def test_damaged_bytes_are_noticed(path):
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little") + 8
    used = [*range(0, len(content[:header].rstrip(b" ")), 3), *range(header, len(content))]
    for at in used:
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(ModelError, match="q.safetensors"):
            QuantModel.load(path)
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises(ModelError, match="q.safetensors"):
            QuantModel.load(path)
    path.write_bytes(content)
    QuantModel.load(path)


def test_not_a_quantised_model(path, tmp_path):
    tensors, block = parts(path)
    for metadata, missing in [({}, BLOCK_KEY), ({BLOCK_KEY: json.dumps(block)}, DIGEST_KEY)]:
        save_file(tensors, tmp_path / "m.safetensors", metadata)
        with pytest.raises(ModelError, match=rf"m.safetensors: metadata {missing}: missing; must be a file"):
            QuantModel.load(tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="none.safetensors: No such file"):
        QuantModel.load(tmp_path / "none.safetensors")


def change_block(*keys, value):
    def change(tensors, block):
        for key in keys[:-1]:
            block = block[key]
        block[keys[-1]] = value

    return change


def change_tensor(name, value):
    def change(tensors, block):
        tensors[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_block("version", value=1), "metadata lstm_hw: version: 1; must be 2"),
        (change_block("version", value=None), "version: None; must be 2"),
        (change_block("extra", value=1), r"metadata lstm_hw: keys \[.*'extra'"),
        (lambda tensors, block: block.pop("head"), "metadata lstm_hw: keys"),
        (change_block("layers", value={}), "layers: dict; must be list"),
        (change_block("layers", value=[]), "q.safetensors: layers.0.bias: unexpected tensor"),
        (lambda tensors, block: (tensors.clear(), block.update(layers=[], head=None)), "no recurrent layer"),
        (change_block("head", value=3), "head: int; must be an object or null"),
        (change_block("head_every_step", value=0), "head_every_step: int; must be bool"),
        (change_block("activation", value="spline"), "q.safetensors: activation: 'spline'; must be one of"),
        (change_block("layers", 0, value="x"), "q.safetensors: layers.0: 'x'; must describe"),
        (change_block("layers", 0, "more", value="x"), "q.safetensors: layers.0: .*; must describe x_format"),
        (change_block("layers", 0, "preact", value=3), "layers.0: preact: 3; must be a number format"),
        (change_block("layers", 0, "preact", value="Q" + "1" * 5000 + ".1"), "preact: 'Q1.*; must be a number format"),
        (change_block("layers", 0, "preact", value="Q3,12"), "layers.0: preact: 'Q3,12'"),
        (change_block("layers", 0, "x_format", value="Q-9999999.10000010"), "x_format: .*; must look like Q3.12"),
        (change_block("layers", 0, "preact", value="Q40.40"), "layers.0: preact: 'Q40.40': width 81"),
        (change_block("layers", 0, "x_format", value="Q-99.114"), "x_format: .*; must be a signed format"),
        (change_block("layers", 0, "acc_fraction", value="25"), "layers.0: acc_fraction: '25'; must be an integer"),
        (change_block("layers", 0, "acc_fraction", value=10**18), "layers.0: acc_fraction"),
        (change_block("layers", 1, "x_format", value="Q1.14"), "layers.1: x_format"),
        (lambda tensors, block: tensors.pop("layers.1.w_h"), "q.safetensors: layers.1.w_h: missing; must be present"),
        (change_tensor("more", np.zeros(2, np.int8)), "q.safetensors: more: unexpected tensor"),
        (change_tensor("head.bias", np.zeros(2, np.float32)), "q.safetensors: head.bias: dtype F32; must be one of I8"),
        (change_tensor("head.bias", np.zeros(3, np.int8)), r"q.safetensors: head: bias: shape \(3,\); must be \(2\)"),
        (change_tensor("layers.0.w_h", np.zeros((0, 0), np.int8)), "q.safetensors: layers.0: w_h: shape"),
        (change_tensor("layers.0.w_x", np.full((12, 4), 128, np.int16)), "layers.0: w_x: 128 to 128; must fit"),
    ],
)
def test_rules_hold_for_files_with_a_right_digest(path, change, message):
    tensors, block = parts(path)
    change(tensors, block)
    write_tensors(path, tensors, {BLOCK_KEY: json.dumps(block)})
    with pytest.raises(ModelError, match=message):
        QuantModel.load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "nul", "[" * 100_000, "9" * 5000, '{"version":NaN}'])
def test_block_is_not_an_object(path, text):
    write_tensors(path, parts(path)[0], {BLOCK_KEY: text})
    with pytest.raises(ModelError, match="q.safetensors: metadata lstm_hw"):
        QuantModel.load(path)


JSON_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.builds("Q{}.{}".format, st.integers(-70, 70), st.integers(-70, 70)),
    st.dictionaries(st.text(max_size=3), st.none()),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_value_in_the_block_raises_nothing_else(path, tmp_path, data):
    tensors, block = parts(path)
    holder = data.draw(st.sampled_from([block, block["head"], *block["layers"]]))
    holder[data.draw(st.sampled_from(sorted(holder)))] = data.draw(JSON_VALUES)
    write_tensors(tmp_path / "changed.safetensors", tensors, {BLOCK_KEY: json.dumps(block)})
    try:
        QuantModel.load(tmp_path / "changed.safetensors")
    except ModelError as error:
        assert "changed.safetensors" in str(error)
