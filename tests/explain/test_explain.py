"""The explainer without a browser: its programs, formulas and files are depool's, and the command keeps its word."""

import base64
import json
import re
import sys
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import onnxruntime as ort
import pytest

import depool
from depool.cli import main
from depool.errors import Refused, UsageError
from depool.explain.asked import asked
from depool.explain.formulas import maps
from depool.explain.page import LARGEST_PAGE, _script_json, render
from depool.explain.programs import embedded, ways
from depool.geometry import Window
from depool.numerics import Rounding
from depool.program import Concat, Conv, Program, sources

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
POOLS = [("2x2", "2", "0", None), ("3x3", "2", "1", "5x6"), ("3x2", "1x2", "1,0,2,1", "4x5"), ("1x3", "1", "0", None)]
TWO = asked("2x2", "2", "0", None)


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["depool", "explain", *map(str, args)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return (stopped.value.code, *capsys.readouterr())

    return run


@pytest.mark.parametrize("words", POOLS, ids=str)
def test_every_combination_is_there_once(words):
    question = asked(*words)
    found = list(ways(question))
    keys = [(w.scheme, w.form, w.pairing, w.exact) for w in found]
    assert len(set(keys)) == len(keys)
    wanted = set(
        product(("tree", "separable", "shallow"), ("branched", "concat", "sequential"), ["ab|cd"], (False, True))
    )
    if words[0] == "2x2":
        wanted |= set(product(["tree"], ("branched", "concat", "sequential"), ("ac|bd", "ad|bc"), (False, True)))
    assert set(keys) == wanted
    for way in found:
        assert (way.conversion is None) == (way.refusal is not None)
        assert way.exact is False or way.conversion is None or way.conversion.program.rounding.bit_exact
    codes = {w.refusal.code for w in found if w.refusal}
    padded = {"NEEDS_INPUT_RANGE", "EXACT_NEEDS_BRANCHES"} if words[2] != "0" else set()
    assert codes == {"SHALLOW_NOT_EXACT"} | padded


@pytest.mark.parametrize("words", POOLS, ids=str)
def test_embedded_files_are_the_programs_beside_them(words):
    question = asked(*words)
    data = embedded(question, list(ways(question)))
    rng = np.random.default_rng(0)
    x = rng.integers(-99, 100, (1, 1, *question.size)).astype(np.float32)
    (top, bottom), (left, right) = question.spec.pads
    attributes = {"kernel_shape": question.spec.kernel_shape, "strides": question.spec.strides,
                  "pads": (top, left, bottom, right)}  # fmt: skip
    native = onnx.helper.make_node("MaxPool", ["x"], ["y"], **attributes)
    (expected,) = onnx.reference.ReferenceEvaluator(native).run(None, {"x": x})
    for entry in data["programs"]:
        if entry["refusal"]:
            continue
        model = onnx.load_from_string(base64.b64decode(entry["onnx"]))
        onnx.checker.check_model(model, full_check=True)
        assert {node.op_type for node in model.graph.node} <= {"Conv", "Relu", "Add", "Concat"}
        nodes = data["networks"][entry["network"]]
        assert [node.op_type for node in model.graph.node] == [node["op"] for node in nodes]
        weights = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        for node, shown in zip(model.graph.node, nodes, strict=True):
            if shown["op"] == "Conv":
                kernel = np.zeros(shown["shape"], np.float32)
                for *at, weight in shown["taps"]:
                    kernel[tuple(at)] = weight
                assert np.array_equal(weights[node.input[1]].reshape(kernel.shape), kernel)
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        assert np.array_equal(session.run(None, {"x": x})[0], expected)


@pytest.mark.parametrize("words", POOLS, ids=str)
def test_formulas_are_true(words):
    """Each formula, computed word by word, gives its map."""
    question = asked(*words)
    x = np.random.default_rng(1).integers(-9, 10, question.size).astype(np.float32)
    checked = 0
    for way in ways(question):
        if way.conversion is None:
            continue
        program = way.conversion.program
        values = [value[0] for value in program.trace(x[None, None])]
        named = maps(program, question.spec.kernel_shape)
        for tensor, node, value in zip(named[1:], program.nodes, values[1:], strict=True):
            if isinstance(node, Concat):
                continue
            words_ = {}
            for ref in sources(node):
                for made, array in zip(named[ref], values[ref], strict=True):
                    words_ |= (
                        looked_at(node, made.name, array, question.spec)
                        if isinstance(node, Conv)
                        else {made.name: array}
                    )
            for n, made in enumerate(tensor):
                name, _, formula = made.formula.rpartition(" = ")
                assert name in {"", made.name}
                assert np.array_equal(computed(formula, words_), value[n]), made
                checked += 1
        assert [made.name for made in named[-1]] == ["max"]
    assert checked > 100


def looked_at(node, name, array, spec):
    """What a convolution sees of a map, by the words that stand for it."""
    (top, bottom), (left, right) = node.window.pads
    padded = np.pad(array, ((top, bottom), (left, right)))
    shape, found = node.window.kernel_shape, {}
    rows, columns = (
        (n - (k - 1) * d - 1) // s + 1
        for n, k, d, s in zip(padded.shape, shape, node.window.dilations, node.window.strides, strict=True)
    )
    for n, (i, j) in enumerate(product(*map(range, shape))):
        word = chr(97 + n) if name == "x" and node.source == 0 and shape == spec.kernel_shape else name
        i, j = i * node.window.dilations[0], j * node.window.dilations[1]  # noqa: PLW2901
        if word == name and np.prod(shape) > 1:
            word = f"{name}[{i},{j}]"
        (down, across) = node.window.strides
        found[word] = padded[i : i + (rows - 1) * down + 1 : down, j : j + (columns - 1) * across + 1 : across]
    return found


def computed(formula, words):
    names = sorted(words, key=len, reverse=True)
    pattern = "|".join(map(re.escape, names))
    inside = re.fullmatch(r"r\((.*)\)", formula)
    text = re.sub(pattern, lambda found: f"w[{names.index(found.group(0))}]", inside.group(1) if inside else formula)
    text = re.sub(r"(\d) (w)", r"\1 * \2", text.replace("−", "-"))
    value = eval(text, {"w": [words[name] for name in names]})  # noqa: S307 - our own formulas
    return np.maximum(value, 0) if inside else value


@pytest.mark.parametrize(
    ("pairing", "formulas"),
    [
        ("ab|cd", ["t₁ = r(a − b)", "t₂ = r(c − d)", "t₃ = r(t₁ − t₂ + b − d)", "max = t₃ + t₄"]),
        ("ad|bc", ["t₁ = r(a − d)", "t₂ = r(b − c)", "t₃ = r(t₁ − t₂ + d − c)", "max = t₃ + t₄"]),
    ],
)
def test_formulas_of_the_published_network(pairing, formulas):
    program = depool.synthesize(TWO.spec, "tree", "concat", sizes=TWO.size, pairing=pairing)
    said = [m.formula for tensor in maps(program, (2, 2)) for m in tensor]
    assert [text for text in said if text.startswith(("t₁ = r", "t₂ = r", "t₃ = r", "max"))] == formulas
    assert "t₄ = t₂ + d" in said or "t₄ = t₂ + c" in said


def test_a_bias_is_in_the_formula():
    point = Window((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))
    nodes = (Conv(0, np.full((1, 1, 1, 1), -2.0), point, (3.0,)), Conv(1, np.ones((1, 1, 1, 1)), point))
    said = [m.formula for tensor in maps(Program(2, nodes, Rounding()), (2, 2)) for m in tensor]
    assert said == ["", "t₁ = −2 x + 3", "max = t₁"]


def test_every_pairing_has_a_network_of_its_own():
    data = embedded(TWO, list(ways(TWO)))
    trees = [p for p in data["programs"] if (p["scheme"], p["form"], p["exact"]) == ("tree", "concat", False)]
    assert [p["pairing"] for p in trees] == ["ab|cd", "ac|bd", "ad|bc"]
    first = [data["networks"][p["network"]][0]["maps"][0][1] for p in trees]
    assert first == ["a − b", "a − c", "a − d"]


def test_embedded_json_is_no_markup():
    data = {"text": "</script><b>"}
    assert "<" not in _script_json(data)
    assert json.loads(_script_json(data)) == data


def test_a_page_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr("depool.explain.page.LARGEST_PAGE", 50_000)
    with pytest.raises(UsageError, match="larger than 50,000 bytes; give a smaller --kernel"):
        render(TWO, "tree", "concat", "ab|cd", exact=False)


def test_page_is_small_whole_and_deterministic():
    for words in [*POOLS, ("4x4", "2", "0", None), ("3x3", "1", "0", None), ("4x4", "4", "0", "12")]:
        question = asked(*words)
        page, found = render(question, "tree", "branched", "ab|cd", exact=False)
        assert len(page.encode()) < LARGEST_PAGE == 500_000
        assert "$" not in re.sub(r"\$\{|`\$", "", page.partition("<script>")[0])
        assert not re.search(r"https?:|@import|src=|url\(", page)
        assert page.count("<script") == 2
        data = json.loads(re.search(r'id="programs">(.*?)</script>', page).group(1))
        assert len(data["programs"]) == len(found)
    assert (
        render(TWO, "tree", "concat", "ab|cd", exact=True)[0] == render(TWO, "tree", "concat", "ab|cd", exact=True)[0]
    )


def test_what_is_shown_first_must_be_possible():
    with pytest.raises(Refused, match="SHALLOW_NOT_EXACT"):
        render(TWO, "shallow", "branched", "ab|cd", exact=True)
    padded = asked("3x3", "2", "1", None)
    with pytest.raises(Refused, match="NEEDS_INPUT_RANGE"):
        render(padded, "tree", "sequential", "ab|cd", exact=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("5x5", "2", "0", None), "kernels up to 4x4"),
        (("2x2x2", "2", "0", None), "give ROWSxCOLUMNS"),
        (("0", "2", "0", None), "give ROWSxCOLUMNS"),
        (("two", "2", "0", None), "whole numbers"),
        (("2", "x", "0", None), "--strides x: whole numbers"),
        (("2", "2", "1,1", None), "one number, or four"),
        (("2", "2", "-1", None), "one number, or four"),
        (("2", "2", "2", None), "smaller than the kernel"),
        (("2", "2", "0", "13"), "inputs up to 12x12"),
        (("3", "2", "0", "2"), "no window fits"),
        (("4", "9", "0", None), "inputs up to 12x12"),
    ],
)
def test_pools_that_no_page_shows(words, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        asked(*words)


def test_pools_that_are_asked_for():
    assert asked("3x2", "1x2", "1,0,2,1", "4x5").spec.pads == ((1, 2), (0, 1))
    assert TWO.size == (6, 6)
    assert asked("3", "2", "1", None).size == (5, 5)


def test_command(command):
    code, out, err = command("--kernel", "3x3", "--pads", "1", "--exact")
    assert (code, out, err) == (0, "written: explain.html\n", "")
    page = Path("explain.html").read_text(encoding="utf-8")
    assert "3×3 max pool, stride 2, pads 1, on 5×5 numbers" in page
    code, out, err = command()
    assert (code, out) == (5, "")
    assert err == "depool: explain.html: exists; give --force to overwrite it, or another --output\n"
    assert Path("explain.html").read_text(encoding="utf-8") == page
    assert command("--force", "-q") == (0, "", "")
    assert Path("explain.html").read_text(encoding="utf-8") != page


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--kernel", "9"], 2),
        (["--scheme", "shallow", "--exact"], 3),
        (["--pairing", "x"], 2),
        (["-o", "no/x.html"], 5),
    ],
)
def test_nothing_is_written_where_something_is_wrong(command, args, code):
    found = command(*args)
    assert found[:2] == (code, "")
    assert found[2].count("\n") == 1
    assert not list(Path().iterdir())


def test_json_names_every_combination(command):
    code, out, _ = command("--json", "-o", "page.html")
    found = json.loads(out)
    assert code == 0
    assert (found["schema"], found["command"], found["output"]) == (1, "explain", "page.html")
    assert found["page_bytes"] == Path("page.html").stat().st_size
    assert len(found["programs"]) == 3 * 3 * 2 + 2 * 3 * 2


def test_open_opens_the_page(command, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert command("--open", "-q", "-o", "page.html")[0] == 0
    assert opened == [Path("page.html").resolve().as_uri()]
