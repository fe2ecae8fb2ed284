"""What a careless command line must not destroy or take for granted."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

import depool
from depool.errors import Exit
from depool.onnx import files
from depool.proof import check

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits.onnx"


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path):
    real, link = tmp_path / "real.onnx", tmp_path / "link.onnx"
    real.write_bytes(b"")
    link.symlink_to(real)
    depool.convert(DIGITS, link, force=True)
    assert link.is_symlink()
    assert depool.verify(DIGITS, real).equal


def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"

    os.mkfifo(pipe)
    with pytest.raises(depool.FileError, match="not a regular file"):
        depool.convert(DIGITS, pipe, force=True)
    assert pipe.is_fifo()


@pytest.mark.parametrize("certificate", ["missing/c.json", "there.json", "o.onnx"])
def test_a_certificate_that_cannot_be_written_stops_everything(certificate, tmp_path):
    (tmp_path / "there.json").write_text("mine")
    with pytest.raises(depool.DepoolError):
        depool.convert(DIGITS, tmp_path / "o.onnx", certificate=tmp_path / certificate)
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]
    assert (tmp_path / "there.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"input_range": {"nowhere": (0.0, 1.0)}}, "no tensor of this name"),
        ({"seed": -1}, "must not be negative"),
        ({"input_range": (1.0, 0.0)}, "is empty"),
    ],
)
def test_what_makes_no_sense_is_refused(options, reason, tmp_path):
    with pytest.raises(depool.UsageError, match=reason):
        depool.convert(DIGITS, tmp_path / "o.onnx", **options)


@pytest.mark.parametrize("array", [np.zeros((0, 1, 8, 8), np.float32), np.full((1, 1, 8, 8), np.nan, np.float32)])
def test_data_that_say_nothing_are_refused(array, tmp_path):
    depool.convert(DIGITS, tmp_path / "o.onnx")
    np.savez(tmp_path / "d.npz", image=array)
    with pytest.raises(depool.UsageError, match=r"is empty|is not finite"):
        depool.verify(DIGITS, tmp_path / "o.onnx", data=tmp_path / "d.npz")


def test_a_declaration_that_does_not_hold_is_never_called_equal(tmp_path):
    depool.convert(DIGITS, tmp_path / "o.onnx", assume_nonnegative=True)
    assert depool.verify(DIGITS, tmp_path / "o.onnx").exit_code == Exit.INCONCLUSIVE


@pytest.mark.parametrize(("high", "equal"), [(1.0, True), (2.0, None)])
def test_given_data_are_held_against_the_declared_range(high, equal, tmp_path):
    depool.convert(DIGITS, tmp_path / "o.onnx", form="sequential", input_range=(0.0, 1.0))
    image = np.zeros((1, 1, 8, 8), np.float32)
    image[0, 0, 0, 0] = high
    np.savez(tmp_path / "d.npz", image=image)
    assert depool.verify(DIGITS, tmp_path / "o.onnx", data=tmp_path / "d.npz").equal is equal


def test_a_certificate_is_about_the_file_and_not_about_what_was_fixed_in_it(tmp_path):
    original, converted, certificate = (tmp_path / name for name in ("m.onnx", "o.onnx", "c.json"))
    model = onnx.load(DIGITS)
    onnx.save(model, original)
    depool.convert(original, converted, shapes={"image": (3, 1, 8, 8)}, certificate=certificate)
    report = check(json.loads(certificate.read_text()), files.read(original), files.read(converted))
    assert report.ok, report.reason
    assert any("[3, 1, 8, 8]" in text for text in report.hypotheses)


def test_a_certificate_across_opsets_is_refused_before_any_work(tmp_path):
    with pytest.raises(depool.UsageError, match="raise the opset in a step of its own"):
        depool.convert(DIGITS, tmp_path / "o.onnx", opset=20, certificate=tmp_path / "c.json")
    assert not list(tmp_path.iterdir())
    assert depool.convert(DIGITS, tmp_path / "o.onnx", opset=20).certificate is not None
