"""The command line: exit codes, one-line errors, nothing half-written, JSON. What it prints: test_golden.py."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from cli_models import pooled, tampered
from onnx import helper, numpy_helper

COMMANDS = ("inspect", "convert", "verify", "bench", "prove", "targets", "demo", "explain")

pytestmark = pytest.mark.usefixtures("place")


def shell(command, data=b""):
    """Run a command line in a process of its own; {depool} stands for depool."""
    line = command.format(depool=f"'{sys.executable}' -m depool")
    command_line = ["bash", "-c", line]
    return subprocess.run(command_line, input=data, capture_output=True, check=False)  # noqa: S603 - our own words


def listing():
    return {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}


def one_line(err):
    assert err.startswith("depool: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err
    return err


# 0: done


def test_conversion_is_written_beside_the_model(depool):
    code, out, err = depool("convert", "digits.onnx")
    assert (code, err) == (0, "")
    assert "written: digits.depool.onnx" in out
    assert set(listing()) == {"digits.onnx", "digits.depool.onnx"}
    kinds = {node.op_type for node in onnx.load("digits.depool.onnx").graph.node}
    assert not kinds & {"MaxPool", "Pad"}
    code, out, err = depool("verify", "digits.onnx", "digits.depool.onnx")
    assert (code, err) == (0, "")
    assert out.endswith("equal: 2 pools keep their promise, and nothing else was changed\n")


def test_conversion_is_deterministic(depool):
    assert depool("convert", "digits.onnx", "-o", "one.onnx")[0] == 0
    assert depool("convert", "digits.onnx", "-o", "two.onnx", "--seed", "7")[0] == 0
    assert Path("one.onnx").read_bytes() == Path("two.onnx").read_bytes()


def test_declared_range_is_remembered(depool):
    assert depool("convert", "digits.onnx", "-o", "p.onnx", "--target", "portable", "--input-range", "0,1")[0] == 0
    assert {n.op_type for n in onnx.load("p.onnx").graph.node} & {"Add", "Concat", "MaxPool"} == set()
    assert depool("verify", "digits.onnx", "p.onnx")[0] == 0


def test_a_negative_range_needs_no_equals_sign(depool):
    assert depool("inspect", "digits.onnx", "--input-range", "-1,1")[0] == 0


def test_not_verified_is_said(depool):
    code, out, _ = depool("convert", "digits.onnx", "--no-verify")
    assert code == 0
    assert out.endswith("not verified (--no-verify)\n")
    assert "promise, and nothing" not in out


def test_force_overwrites(depool):
    Path("digits.depool.onnx").write_bytes(b"old")
    assert depool("convert", "digits.onnx", "--force")[0] == 0
    onnx.checker.check_model("digits.depool.onnx")


@pytest.mark.parametrize("option", ["--only", "--skip"])
def test_pools_are_selected_by_name(depool, option):
    assert depool("convert", "digits.onnx", "-o", "some.onnx", option, "*_1")[0] == 0
    left = [n.name for n in onnx.load("some.onnx").graph.node if n.op_type == "MaxPool"]
    assert left == {"--only": ["node_max_pool2d"], "--skip": ["node_max_pool2d_1"]}[option]


def test_model_that_no_runtime_takes_is_verified_pool_by_pool(depool):
    pooled("odd.onnx", rest=[helper.make_node("Mystery", ["y"], ["z"], domain="nowhere")])
    code, out, _ = depool("convert", "odd.onnx")
    assert code == 0
    assert "not run end to end" in out
    assert "equal: 1 pool keeps its promise" in out


# 1: not equal


def test_counterexample_is_printed_and_exists(depool):
    before = tampered(depool)
    code, out, err = depool("verify", "digits.onnx", before)
    assert (code, err) == (1, "")
    assert "BROKEN: differs by" in out
    assert out.endswith("counterexample: tampered.counterexample.npz\n")
    with np.load("tampered.counterexample.npz") as saved:
        index = tuple(saved["index"])
        assert saved["expected"][index] != saved["got"][index]
        assert saved["expected"].shape == saved["got"].shape
        assert saved["x"].shape[1:] == (16, 8, 8)
        assert str(saved["pool"]) == "node_max_pool2d"


def test_counterexample_goes_where_it_is_told(depool):
    before = tampered(depool)
    assert depool("verify", "digits.onnx", before, "--counterexample", "here.npz", "-q") == (1, "", "")
    assert Path("here.npz").is_file()


def test_wrong_conversion_is_not_written(depool, monkeypatch):
    from depool.onnx import place

    right = place.emit

    def wrong(*args):
        nodes, weights = right(*args)
        array = numpy_helper.to_array(weights[0]) * np.float32(0.75)
        weights[0].CopyFrom(numpy_helper.from_array(array, weights[0].name))
        return nodes, weights

    monkeypatch.setattr(place, "emit", wrong)
    code, out, err = depool("convert", "digits.onnx")
    assert (code, out) == (1, "")
    assert "digits.depool.onnx: not written: 2 of 2 pools break their promise" in one_line(err)
    assert "counterexample in digits.depool.counterexample.npz" in err
    assert set(listing()) == {"digits.onnx", "digits.depool.counterexample.npz"}


def test_models_without_promises_are_held_to_the_tolerance(depool):
    model = onnx.load("digits.onnx")
    bias = next(t for t in model.graph.initializer if list(t.dims) == [10])
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.5), bias.name))
    onnx.save(model, "moved.onnx")
    code, out, _ = depool("verify", "digits.onnx", "moved.onnx")
    assert code == 1
    assert "the smallest tolerance that would pass is" in out
    assert depool("verify", "digits.onnx", "moved.onnx", "--tolerance", "0.6")[0] == 0


def test_certificate_of_another_file_does_not_hold(depool):
    other = tampered(depool)
    assert depool("prove", "digits.onnx", "-o", "c.json")[0] == 0
    assert depool("prove", "digits.onnx", "--check", "c.json")[0] == 0
    code, out, err = depool("prove", "digits.onnx", other, "--check", "c.json")
    assert (code, err) == (1, "")
    assert "it does not hold: " in out
    code, out, err = depool("prove", "digits.onnx", other)
    assert (code, out) == (1, "")
    assert "node_max_pool2d" in one_line(err)


# 2: usage


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["inspect", "digits.onnx", "--bogus"], "--bogus"),
        (["inspect", "--bogus"], "--bogus"),
        (["bogus"], '"bogus"'),
        (["inspect"], "MODEL requires an argument"),
        (["inspect", "digits.onnx", "another.onnx"], "another.onnx"),
        (["convert", "digits.onnx", "-o", "--force"], "--force"),
        (["inspect", "digits.onnx", "--form", "round"], "branched"),
        (["inspect", "digits.onnx", "--target", "toaster"], "unknown target 'toaster'; choose one of generic"),
        (["inspect", "digits.onnx", "--target", "portable", "--form", "concat"], "takes no branches"),
        (["inspect", "digits.onnx", "--input-range", "3"], "give LO,HI or NAME=LO,HI"),
        (["inspect", "digits.onnx", "--input-range", "a,b"], "give LO,HI or NAME=LO,HI"),
        (["inspect", "digits.onnx", "--input-range", "3,1"], "[3.0, 1.0] is empty"),
        (["inspect", "digits.onnx", "--input-range", "nan,1"], "is empty"),
        (["inspect", "digits.onnx", "--shape", "image"], "give NAME:1,3,224,224"),
        (["inspect", "digits.onnx", "--shape", "image:1,x"], "give NAME:1,3,224,224"),
        (["inspect", "digits.onnx", "--shape", "image:0,1,8,8"], "must be positive numbers"),
        (["inspect", "digits.onnx", "--shape", "image:1,1"], "has 4 dimensions, not 2"),
        (["inspect", "digits.onnx", "--shape", "image:1,1,9,9"], "8 cannot become 9"),
        (["inspect", "digits.onnx", "--shape", "picture:1,1,8,8"], "no such input; it has image"),
        (["convert", "digits.onnx", "--seed", "x"], "seed"),
        (["demo", "--size", "3"], "even number from 2 to 32"),
        (["demo", "--pairing", "ab"], "ab|cd, ac|bd, ad|bc"),
    ],
)
def test_usage(depool, args, said):
    before = listing()
    code, out, err = depool(*args)
    assert (code, out) == (2, "")
    assert said in one_line(err)
    assert listing() == before


# 3: refused


def test_refused_pool_stops_the_conversion(depool):
    code, out, err = depool("convert", "digits.onnx", "--target", "portable")
    assert (code, out) == (3, "")
    assert one_line(err).startswith("depool: NEEDS_INPUT_RANGE: node_max_pool2d_1: ")
    assert "--input-range" in err
    assert set(listing()) == {"digits.onnx"}


def test_refused_pool_stays_with_allow_partial(depool):
    code, out, err = depool("convert", "digits.onnx", "--target", "portable", "--allow-partial")
    assert (code, err) == (0, "")
    assert "1 pool became" in out
    assert "  left     NEEDS_INPUT_RANGE: " in out
    assert "  to do    Give --input-range" in out
    assert [n.name for n in onnx.load("digits.depool.onnx").graph.node if n.op_type == "MaxPool"] == [
        "node_max_pool2d_1"
    ]


def test_each_refusal_has_a_line(depool):
    rest = [helper.make_node("GlobalMaxPool", ["y"], ["z"], name="global")]
    pooled("two.onnx", rest=rest, ceil_mode=1, pads=[0, 0, 1, 1], strides=[2, 2])
    code, _, err = depool("convert", "two.onnx")
    assert code == 3
    lines = err.splitlines()
    assert [line.split(": ")[1:3] for line in lines] == [["DYNAMIC_CEIL", "pool"], ["DYNAMIC_GLOBAL", "global"]]


def test_inspect_reports_refusals(depool):
    code, out, _ = depool("inspect", "digits.onnx", "--target", "portable")
    assert code == 0
    assert "  refused  NEEDS_INPUT_RANGE: " in out
    assert out.endswith("1 pool would be refused\n")


# 4: undecided


def test_what_cannot_be_run_is_undecided(depool):
    pooled("one.onnx", rest=[helper.make_node("Mystery", ["y"], ["z"], domain="nowhere")])
    pooled("two.onnx", rest=[helper.make_node("Riddle", ["y"], ["z"], domain="nowhere")])
    code, out, err = depool("verify", "one.onnx", "two.onnx")
    assert (code, err) == (4, "")
    assert out.endswith("nothing could be compared; see the notes\n")
    assert "not run end to end" in out


def test_data_outside_the_declared_range_are_undecided(depool):
    depool("convert", "digits.onnx", "-o", "p.onnx", "--target", "portable", "--input-range", "0,1")
    np.savez("large.npz", image=np.full((1, 1, 8, 8), 50, np.float32))
    code, out, _ = depool("verify", "digits.onnx", "p.onnx", "--data", "large.npz")
    assert code == 4
    assert "a broken assumption, not a wrong conversion" in " ".join(out.split())


# 5: files


def truncated():
    Path("cut.onnx").write_bytes(Path("digits.onnx").read_bytes()[:5000])


def newer(opset=18, ir_version=10):
    model = onnx.load("digits.onnx")
    model.opset_import[0].version, model.ir_version = opset, ir_version
    Path("newer.onnx").write_bytes(model.SerializeToString())


def external():
    onnx.save(onnx.load("digits.onnx"), "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    Path("big.data").unlink()


@pytest.mark.parametrize(
    ("made", "args", "said"),
    [
        (None, ["inspect", "missing.onnx"], "missing.onnx: no such file"),
        (None, ["convert", "missing.onnx"], "missing.onnx: no such file"),
        (None, ["verify", "digits.onnx", "missing.onnx"], "missing.onnx: no such file"),
        (None, ["inspect", "."], "cannot be read (Is a directory)"),
        (truncated, ["convert", "cut.onnx"], "cut.onnx: is not an ONNX model, or is cut off"),
        (lambda: Path("text.onnx").write_text("hello\n"), ["convert", "text.onnx"], "is not an ONNX model"),
        (lambda: Path("empty.onnx").touch(), ["convert", "empty.onnx"], "is not an ONNX model"),
        (lambda: newer(opset=999), ["convert", "newer.onnx"], "uses opset 999; the installed onnx knows opsets up to"),
        (lambda: newer(ir_version=99), ["convert", "newer.onnx"], "uses IR version 99"),
        (external, ["convert", "big.onnx"], "its external data 'big.data' is missing"),
        (lambda: Path("digits.depool.onnx").touch(), ["convert", "digits.onnx"], "exists; give --force"),
        (None, ["convert", "digits.onnx", "-o", "digits.onnx", "--force"], "is the input itself"),
        (None, ["convert", "digits.onnx", "-o", "nowhere/out.onnx"], "its folder does not exist"),
        (None, ["convert", "digits.onnx", "-o", "."], "is a folder"),
        (None, ["inspect", "digits.onnx", "--opset", "999"], "--opset 999: the installed onnx knows opsets up to"),
        (None, ["prove", "digits.onnx"], "digits.depool.onnx: no such file"),
        (None, ["prove", "digits.onnx", "digits.onnx", "--check", "digits.onnx"], "is no certificate"),
        (None, ["convert", "digits.onnx", "--data", "missing.npz"], "missing.npz: cannot be read as .npz"),
        (None, ["convert", "digits.onnx", "--data", "digits.onnx"], "digits.onnx: cannot be read as .npz"),
    ],
)
def test_file_errors(depool, made, args, said):
    if made is not None:
        made()
    before = listing()
    code, out, err = depool(*args)
    assert (code, out) == (5, "")
    assert said in one_line(err)
    assert listing() == before
    assert not [path for path in Path().iterdir() if path.is_dir()]


def test_traceback_only_on_request(depool):
    code, out, err = depool("inspect", "missing.onnx", "-vv")
    assert (code, out) == (5, "")
    assert err.startswith("Traceback")
    assert err.endswith("\ndepool: missing.onnx: no such file\n")


def test_unexpected_error_is_one_line(depool, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("depool.inspect", fails, raising=False)
    code, out, err = depool("inspect", "digits.onnx")
    assert (code, out) == (4, "")
    assert one_line(err) == ("depool: unexpected RuntimeError: two lines; run again with -vv and please report it\n")
    code, out, err = depool("inspect", "digits.onnx", "--json")
    assert json.loads(out)["exit_code"] == code == 4


# JSON, streams, silence


@pytest.mark.parametrize("command", COMMANDS)
def test_json(depool, command):
    code, out, err = depool(command, *arguments(depool, command), "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["schema"], found["command"]) == (1, command)


def arguments(depool, command):
    """What the command needs to succeed."""
    if command in {"verify", "prove"}:
        assert depool("convert", "digits.onnx", "--certificate", "c.json", "-q") == (0, "", "")
    return {
        "verify": ["digits.onnx", "digits.depool.onnx"],
        "bench": ["digits.onnx", "--seconds", "0.01"],
        "prove": ["digits.onnx", "--check", "c.json"],
        "targets": [],
        "demo": [],
        "explain": [],
    }.get(command, ["digits.onnx"])


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["inspect", "missing.onnx"], 5),
        (["prove", "digits.onnx"], 5),
        (["convert", "digits.onnx", "--target", "portable"], 3),
        (["verify", "digits.onnx", "missing.onnx"], 5),
        (["demo", "--size", "3"], 2),
        (["inspect", "digits.onnx", "--bogus"], 2),
    ],
)
def test_json_on_errors(depool, args, wanted):
    code, out, err = depool(*args, "--json")
    found = json.loads(out)
    assert code == found["exit_code"] == wanted
    assert (found["schema"], found["command"]) == (1, "error")
    assert found["message"] in one_line(err)
    assert [refusal["code"] for refusal in found["refused"]] == (["NEEDS_INPUT_RANGE"] if wanted == 3 else [])


def test_json_of_a_broken_promise(depool):
    code, out, _ = depool("verify", "digits.onnx", tampered(depool), "--json")
    found = json.loads(out)
    assert code == 1
    assert found["equal"] is False
    assert [pool["equal"] for pool in found["pools"]] == [False, True]
    assert found["counterexample"] == "tampered.counterexample.npz"


def test_standard_streams(depool):
    data = Path("digits.onnx").read_bytes()
    piped = shell("{depool} convert -", data)
    assert piped.returncode == 0
    assert b"written: standard output" in piped.stderr
    assert depool("convert", "digits.onnx", "-q")[0] == 0
    assert piped.stdout == Path("digits.depool.onnx").read_bytes()
    chained = shell("{depool} convert - -o - --json | {depool} verify digits.onnx - --json", data)
    assert chained.returncode == 0
    assert json.loads(chained.stdout)["equal"] is True
    assert json.loads(chained.stderr)["output"] is None


def test_standard_input_that_is_no_model(monkeypatch, depool):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hello")))
    code, out, err = depool("inspect", "-")
    assert (code, out) == (5, "")
    assert one_line(err) == "depool: standard input: is not an ONNX model, or is cut off\n"


def test_errors_write_nothing_to_standard_output():
    done = shell("{depool} convert missing.onnx -o -")
    assert (done.returncode, done.stdout) == (5, b"")
    assert done.stderr == b"depool: missing.onnx: no such file\n"


def test_a_reader_may_stop_early():
    done = shell("{depool} demo --size 32 | head -1; exit ${{PIPESTATUS[0]}}")
    assert done.stdout.count(b"\n") == 1
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("command", COMMANDS)
def test_quiet(depool, command):
    assert depool(command, *arguments(depool, command), "--quiet") == (0, "", "")


# demo


def test_demo_variants(depool):
    pages = {pairing: depool("demo", "--pairing", pairing) for pairing in ("ab|cd", "ac|bd", "ad|bc")}
    for pairing, (code, out, err) in pages.items():
        assert (code, err) == (0, "")
        assert f"paired {pairing}" in out
        assert "equal: yes, all 64 of 64" in out
    assert len({out for _, out, _ in pages.values()}) == 3
    assert depool("demo", "--seed", "1")[1] != pages["ab|cd"][1]


@pytest.mark.parametrize(("notation", "said"), [("numpy", "kernel_u = np.array([1, -1, 1, -1])"), ("latex", "pmatrix")])
def test_demo_kernels(depool, notation, said):
    code, out, err = depool("demo", "--kernels", notation)
    assert (code, err) == (0, "")
    assert said in out
    assert "│" not in out
