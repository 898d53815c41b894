"""Data sets: shapes that must agree, and files that are not trusted."""

import io
import zipfile

import numpy as np
import pytest

from lstm_hw.errors import InputError
from lstm_hw.project.dataset import Dataset
from lstm_hw.reading import MAX_ARRAY_BYTES, NpzFile

X = np.zeros((4, 3, 2))


def member(header, data=b""):
    """Bytes of an npy file with any header."""
    text = (str(header) + " " * 64 + "\n").encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return NpzFile(path)


def test_values_become_real_numbers():
    data = Dataset(X.astype(np.uint8), X.astype(np.int16), np.arange(4, dtype=np.uint8))
    assert data.calibration.dtype == data.x.dtype == np.float64 and data.labels.dtype == np.int64


@pytest.mark.parametrize(
    "arguments, rule",
    [
        ((X[0],), "calibration: shape .*must be real numbers"),
        ((X > 1,), "calibration: .*bool; must be real numbers"),
        ((X[:0],), "calibration: "),
        ((X + np.nan,), "calibration: NaN or infinity"),
        ((X, X[:, :, :1]), "x: 1 inputs"),
        ((X, X, np.arange(3)), "labels: "),
        ((X, X, np.array(["a"] * 4)), "labels: .*must be numbers"),
        ((X, X, [0, 1, 2, np.nan]), "labels: NaN"),
        ((X, X, np.full(4, 2**64 - 1, np.uint64)), "labels: .*beyond"),
        ((X, None, np.arange(4)), "labels: "),
    ],
)
def test_what_does_not_fit(arguments, rule):
    with pytest.raises(InputError, match=rule):
        Dataset(*arguments)


def test_reads_what_numpy_writes(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=X + 1, scale=np.float64(0.5))
    file = NpzFile(tmp_path / "a.npz")
    assert set(file.names) == {"x", "scale"}
    np.testing.assert_array_equal(file.read("x"), X + 1)
    assert file.read("scale") == 0.5


def test_missing_array_names_the_others(tmp_path):
    np.savez(tmp_path / "a.npz", x=X)
    with pytest.raises(InputError, match="a.npz: y: missing; must be one of the arrays in the file: x"):
        NpzFile(tmp_path / "a.npz").read("y")


@pytest.mark.parametrize("content", [b"no zip archive", b"PK\x03\x04" + bytes(40), b"PK\x05\x06" + b"\xff" * 18])
def test_not_an_archive(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match="a.npz: .*; must "):
        NpzFile(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "content, rule",
    [
        (b"", "not readable"),
        (b"\x93NUMPY\x09\x00", "npy version"),
        (b"\x93NUMPY\x01\x00\xff\xff", "a header of 65535 bytes; must have at most"),
        (member({"descr": "<f8", "fortran_order": False, "shape": (MAX_ARRAY_BYTES,)}), "must not exceed"),
        (member({"descr": "<f8", "fortran_order": False, "shape": (-1, 5)}), "must not exceed"),
        (member({"descr": "<f8", "fortran_order": False, "shape": (5,)}, b"short"), "not readable"),
        (member({"descr": "|O", "fortran_order": False, "shape": (5,)}), "must be numbers"),
        (member({"descr": "nonsense", "fortran_order": False, "shape": (5,)}), "not readable"),
        (member("__import__('os').abort()"), "not readable"),
    ],
)
def test_damaged_arrays(tmp_path, content, rule):
    with pytest.raises(InputError, match=f"a.npz: x: .*{rule}"):
        archive(tmp_path / "a.npz", x=content).read("x")


def test_no_pickle_is_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="must be numbers"):
        NpzFile(tmp_path / "a.npz").read("x")


def test_any_changed_byte_is_an_error_or_harmless(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=X + 1)
    original, rng = buffer.getvalue(), np.random.default_rng(1)
    for position in rng.integers(0, len(original), 300):
        damaged = bytearray(original)
        damaged[position] ^= 1 << int(rng.integers(8))
        (tmp_path / "a.npz").write_bytes(damaged)
        try:
            np.testing.assert_array_equal(NpzFile(tmp_path / "a.npz").read("x"), X + 1)
        except InputError:
            pass
