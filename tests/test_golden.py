"""What each command prints, at 80 columns, against files in golden/. DEPOOL_UPDATE_GOLDEN=1 rewrites them."""

import os
import re
from pathlib import Path

import pytest
from cli_models import pooled, tampered

GOLDEN = Path(__file__).parent / "golden"
COMMANDS = ("inspect", "convert", "verify", "bench", "prove", "targets", "demo", "explain")

pytestmark = pytest.mark.usefixtures("place")


def normalised(text):
    """Without what differs between processors: measured numbers, and the column widths that follow from them."""
    text = re.sub(r"within \d+% of the bound", "within #% of the bound", text)
    text = re.sub(r"worst: [^']*'[^']*'", "worst: #", text)
    text = re.sub(r"differs by [\d.e+-]+", "differs by #", text)
    text = re.sub(r"by z3 in [\d.]+ s", "by z3 in # s", text)
    lines, table, rows = [], False, False
    for line in map(str.rstrip, text.splitlines()):
        table = bool(line) and (table or line == "end to end, as measured")
        rows = table and rows
        lines.append(f"{line.split()[0]} #" if rows else re.sub(" +", " ", line).strip() if table else line)
        rows = rows or (table and line.startswith("output "))
    return "\n".join(lines) + "\n"


def compare(name, text):
    """With the golden file of this name."""
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("DEPOOL_UPDATE_GOLDEN"):
        golden.write_text(normalised(text), encoding="utf-8")
    assert normalised(text) == golden.read_text(encoding="utf-8")


PARTIAL = ["--target", "portable", "--allow-partial"]


@pytest.mark.parametrize(
    ("name", "args", "wanted"),
    [
        ("inspect_digits", ["inspect", "digits.onnx"], 0),
        ("inspect_omlt", ["inspect", "digits.onnx", "--target", "omlt", "-v"], 0),
        ("convert_digits", ["convert", "digits.onnx"], 0),
        ("convert_exact", ["convert", "digits.onnx", "-o", "exact.onnx", "--exact", "--no-verify"], 0),
        ("convert_partial", ["convert", "digits.onnx", "-o", "partial.onnx", *PARTIAL], 0),
        ("verify_digits", ["verify", "digits.onnx", "digits.depool.onnx"], 0),
        ("verify_nonfinite", ["verify", "digits.onnx", "digits.depool.onnx", "--nonfinite"], 0),
        ("verify_broken", ["verify", "digits.onnx", "tampered.onnx"], 1),
        ("prove_digits", ["prove", "digits.onnx", "digits.depool.onnx", "-o", "certificate.json"], 0),
        ("prove_check", ["prove", "digits.onnx", "digits.depool.onnx", "--check", "certificate.json"], 0),
        ("targets", ["targets"], 0),
        ("demo", ["demo"], 0),
        ("demo_size4", ["demo", "--size", "4"], 0),
        ("demo_numpy", ["demo", "--kernels", "numpy"], 0),
        ("demo_latex", ["demo", "--kernels", "latex"], 0),
        ("help", ["--help"], 0),
        *((f"help_{command}", [command, "--help"], 0) for command in COMMANDS),
    ],
)
def test_output(depool, name, args, wanted):
    if "digits.depool.onnx" in args:
        depool("convert", "digits.onnx", "-q")
    if "--check" in args:
        depool("prove", "digits.onnx", "-o", "certificate.json", "-q")
    if "tampered.onnx" in args:
        tampered(depool)
    code, out, err = depool(*args)
    assert (code, err) == (wanted, "")
    compare(name, out)


def test_every_command_has_a_page_of_help(depool):
    listed = re.findall(r"^│ (\w+) ", depool("--help")[1].split("─ Parameters ─")[0], re.MULTILINE)
    assert set(listed) == set(COMMANDS)


@pytest.mark.parametrize(
    "args",
    [
        ["inspect", "digits.onnx", "-v", "--exact"],
        ["convert", "digits.onnx", "-v", "--target", "portable", "--input-range", "0,1"],
        ["verify", "digits.onnx", "digits.onnx", "-v"],
        ["inspect", "long.onnx", "-v"],
        ["convert", "long.onnx", "-v", "--exact"],
    ],
    ids=" ".join,
)
def test_other_output_fits_in_80_columns(depool, args):
    if "long.onnx" in args:
        pooled("long.onnx", name="/backbone/stage1/" + 9 * "long_name/", pads=[1, 0, 1, 0], strides=[2, 1])
    code, out, err = depool(*args)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
