"""depool bench as a command: its report, its JSON, its errors. Measured numbers are replaced by #."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from depool.cli import main

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "bench_digits.txt"

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    shutil.copy(ROOT / "examples" / "digits.onnx", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def bench(monkeypatch, capsys):
    """(exit code, standard output, standard error) of depool bench."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["depool", "bench", *args])
        with pytest.raises(SystemExit) as stopped:
            main()
        return (stopped.value.code, *capsys.readouterr())

    return run


def normalised(text):
    """Without measured numbers, what machine it was, and the column widths that follow."""
    text = re.sub(r"^ONNX Runtime .*$", "ONNX Runtime #", text, flags=re.MULTILINE)
    text = re.sub(r"[\d.]+(e-\d+)? (us|ms|s)\b", "# s", text)
    text = re.sub(r"\d+\.\d+ +\d+\.\d+-\d+\.\d+", "# #-#", text)
    text = re.sub(r"differs by \S+|no difference", "differs by #", text)
    return "".join(re.sub(r"(?<=\S) +", " ", line.rstrip()) + "\n" for line in text.splitlines())


def test_report(bench):
    code, out, err = bench("digits.onnx", "--schemes", "--threads", "1", "--threads", "2", "--seconds", "0.01")
    assert (code, err) == (0, "")
    if os.environ.get("DEPOOL_UPDATE_GOLDEN"):
        GOLDEN.write_text(normalised(out), encoding="utf-8")
    assert normalised(out) == GOLDEN.read_text(encoding="utf-8")


def test_json_is_whole(bench):
    code, out, err = bench("digits.onnx", "--json", "--threads", "1", "--seconds", "0.01")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert set(found) == {
        "schema", "command", "model", "converted", "seconds", "pools", "whole", "refused", "notes", "machine",
    }  # fmt: skip
    native, converted = found["pools"][1]["rows"]
    assert (native["candidate"], native["ratio"]) == ("native", None)
    assert set(converted) == {"candidate", "threads", "seconds", "ratio", "rounds"}
    assert set(converted["ratio"]) == {"median", "low", "high"}
    assert converted["rounds"] >= 5
    assert found["pools"][1]["how"]["converted"].keys() == {"scheme", "form", "layout", "gate"}


def test_two_files_are_compared(bench, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["depool", "convert", "digits.onnx", "-q"])
    with pytest.raises(SystemExit):
        main()
    code, out, err = bench("digits.onnx", "digits.depool.onnx", "--json", "--threads", "1", "--seconds", "0.01")
    assert (code, err) == (0, "")
    assert len(json.loads(out)["pools"]) == 2
    model = onnx.load("digits.depool.onnx")
    tensor = next(t for t in model.graph.initializer if "depool" in t.name)
    tensor.CopyFrom(numpy_helper.from_array(0 * numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, "wrong.onnx")
    code, out, err = bench("digits.onnx", "wrong.onnx")
    assert (code, out) == (1, "")
    assert err.startswith("depool: wrong.onnx: not timed: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["missing.onnx"], 5, "missing.onnx: no such file"),
        (["digits.onnx", "missing.onnx"], 5, "missing.onnx: no such file"),
        (["digits.onnx", "--target", "portable"], 3, "NEEDS_INPUT_RANGE: node_max_pool2d_1: "),
        (["digits.onnx", "--seconds", "-1"], 2, "seconds must be a positive number"),
        (["digits.onnx", "--threads", "0"], 2, "threads must be positive"),
        (["digits.onnx", "--shape", "image:1,2,8,8"], 2, "--shape image: "),
        (["digits.onnx", "digits.onnx", "--exact"], 2, "beside CONVERTED"),
        (["digits.onnx", "--bogus"], 2, "--bogus"),
        (["digits.keras"], 2, "bench times ONNX files"),
    ],
    ids=str,
)
def test_errors_are_one_line(bench, args, code, text):
    if args[-1] == "portable":  # its other pool can be converted, and would be timed
        args = [*args, "--skip", "node_max_pool2d"]
    got, out, err = bench(*args)
    assert (got, out) == (code, "")
    assert err.startswith("depool: ")
    assert text in err
    assert err.count("\n") == 1
