"""Verification on the user's own data."""

import re

import numpy as np
import pytest
from verify_models import SIGNED, X, graph, pair, saved

import depool
from depool.errors import FileError, UsageError


def test_given_data_are_run_besides_the_drawn(converted, tmp_path):
    verdict = depool.verify(*converted, data=saved(tmp_path, x=X, more=np.zeros(3)))
    assert verdict.equal
    assert verdict.outputs[0].kind == "given data"
    assert depool.verify(*converted, data=saved(tmp_path, x=X.astype(np.float64))).equal


@pytest.mark.parametrize(
    ("arrays", "error", "words"),
    [
        ({"z": X}, UsageError, "has no array 'x'; it has z"),
        ({}, UsageError, "has no array 'x'; it has none"),
        ({"x": X[:, :1]}, UsageError, "'x' has shape [1, 1, 6, 6]; the model takes [1, 2, 6, 6]"),
        ({"x": X[0]}, UsageError, "'x' has shape [2, 6, 6]"),
        ({"x": np.full(X.shape, "a")}, UsageError, "'x' has elements"),
        ({"x": np.full(X.shape, {}, object)}, FileError, "cannot be read as .npz"),
    ],
)
def test_given_data_that_do_not_fit(arrays, error, words, converted, tmp_path):
    with pytest.raises(error, match=re.escape(words)) as caught:
        depool.verify(*converted, data=saved(tmp_path, **arrays))
    assert "\n" not in str(caught.value)


def npz(folder):
    return saved(folder, x=X).read_bytes()


BROKEN_FILES = {
    "empty": lambda folder: b"",  # noqa: ARG005
    "text": lambda folder: b"x = 1\n",  # noqa: ARG005
    "half": lambda folder: npz(folder)[:300],
    "flipped": lambda folder: npz(folder)[:200] + b"\xff" + npz(folder)[201:],
    "npy": lambda folder: np.save(folder / "x.npy", X) or (folder / "x.npy").read_bytes(),
    "zip": lambda folder: b"PK\5\6" + bytes(18),  # noqa: ARG005
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_given_data_that_are_no_npz(name, converted, tmp_path):
    data = BROKEN_FILES[name](tmp_path)
    (tmp_path / "data.npz").write_bytes(data)
    with pytest.raises((FileError, UsageError), match=r"data\.npz") as caught:
        depool.verify(*converted, data=tmp_path / "data.npz")
    assert "\n" not in str(caught.value)


def test_given_data_that_are_missing(converted, tmp_path):
    with pytest.raises(FileError, match=r"data\.npz: cannot be read"):
        depool.verify(*converted, data=tmp_path / "data.npz")
    (tmp_path / "o.onnx").unlink()
    with pytest.raises(FileError, match=r"data\.npz: cannot be read"):
        depool.convert(*converted, data=tmp_path / "data.npz")
    assert not (tmp_path / "o.onnx").exists()


@pytest.mark.parametrize(
    "text", [SIGNED, SIGNED.replace("y =", "a = Identity(x) [p] y =").replace("[pool] ", "").replace("(x)", "(a)", 1)]
)
def test_data_outside_the_declared_range_break_an_assumption_not_the_conversion(text, tmp_path):
    before, after = pair(
        tmp_path,
        graph(
            SIGNED if text is SIGNED else "a = Mul(x, k) " + SIGNED.replace("(x)", "(a)"),
            weights="" if text is SIGNED else "float[1] k = {1.0}",
        ),
        input_range=(0.0, 1.0),
    )
    assert depool.verify(before, after).equal is True
    assert depool.verify(before, after, data=saved(tmp_path, x=np.abs(X) / 1000)).equal is True
    verdict = depool.verify(before, after, data=saved(tmp_path, x=X))
    assert verdict.equal is None
    assert "promises nothing there" in verdict.summary
    assert any("a broken assumption, not a wrong conversion" in note for note in verdict.notes)
    assert all(check.equal for check in verdict.pools)
