"""The report: one file, asks for nothing, escapes everything, says what the verdict says, is whole or absent."""

import re
import sys
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import depool
from depool.geometry import Window
from depool.numerics import Rounding
from depool.program import Add, Conv, Program, Relu
from depool.report import html
from depool.report.html.boxes import Box, program_boxes
from depool.report.html.network import network
from depool.report.html.sheets import Sheet
from depool.report.html.typeset import typeset

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits.onnx"
HOSTILE = '<script>alert("1")</script>&amp;\'"'
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Elements with their attributes and their text, and whether they are nested well."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "in": [e["tag"] for e in self.open], "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.elements.append({"tag": tag, "in": [e["tag"] for e in self.open], "text": "", **dict(attributes)})

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, *tags):
        return [element for element in self.elements if element["tag"] in tags]

    def text(self, tag):
        return [element["text"] for element in self.all(tag)]


def hostile(path, **attributes):
    """A model whose every name is an attack, and one pool that is refused."""
    first = helper.make_node("MaxPool", ["x" + HOSTILE], ["y"], name="n" + HOSTILE, kernel_shape=[2, 2], **attributes)
    second = helper.make_node("GlobalMaxPool", ["y"], ["z" + HOSTILE], name="g" + HOSTILE)
    shape = [1, 2, None, None]
    values = [helper.make_tensor_value_info(n + HOSTILE, TensorProto.FLOAT, shape) for n in "xz"]
    graph = helper.make_graph([first, second], "g" + HOSTILE, values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def single(path, op, shape, kind=TensorProto.FLOAT, **attributes):
    node = helper.make_node(op, ["x"], ["y"], name="pool", **attributes)
    values = [helper.make_tensor_value_info("x", kind, shape)]
    values.append(helper.make_tensor_value_info("y", kind, [None] * len(shape)))
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), path)
    return path


@pytest.fixture
def command(request):
    """The fixture `depool`, whose name is the package's here, beside the example model."""
    request.getfixturevalue("place")
    return request.getfixturevalue("depool")


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    return depool.convert(DIGITS, folder / "out.onnx")


def legible(text):
    """What every page keeps to; the parsed page."""
    page = Page(text)
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("title")) >= 1
    levels = [int(element["tag"][1]) for element in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for picture in page.all("svg"):
        if picture.get("aria-hidden") != "true":
            assert picture["role"] == "img"
            title, description = picture["aria-labelledby"].split()
            named = {element["id"]: element for element in page.all("title", "desc") if "id" in element}
            assert named[title]["text"].strip()
            assert named[description]["text"].strip()
    assert all(element.get("scope") in {"col", "row"} for element in page.all("th"))
    ids = Counter(element["id"] for element in page.elements if "id" in element)
    assert max(ids.values()) == 1
    for element in page.all("a"):
        assert element["href"].startswith("#")
        assert element["href"][1:] in ids
    assert not page.all("script", "img", "iframe", "object", "base", "form")
    assert [e["href"] for e in page.all("link")] == ["data:,"]
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    return page


def test_a_conversion(converted):
    text = html.of_result(converted, "digits.onnx")
    page = legible(text)
    whole = " ".join(page.text("body")[0].split())
    assert "Equal: 2 pools keep their promise, and nothing else was changed." in whole
    assert "Proved over the reals, from the two files alone" in whole
    for record, check in zip(converted.records, converted.verdict.pools, strict=True):
        assert record.reason in whole
        assert typeset(check.promise) in whole
        assert f"{check.windows:,} outputs stay within" in whole
    assert "nothing is known of its sign" in whole
    assert "1.02 k" in whole  # comparisons


def test_counts_in_the_picture_are_those_of_the_verdict(converted):
    page = Page(html.of_result(converted, "digits.onnx"))
    told = {e["id"]: e["text"] for e in page.all("desc")}
    for n, check in enumerate(converted.verdict.pools, 1):
        said = told[f"pool-{n}-errors-desc"]
        assert f"identical: {check.errors.identical:,}" in said
        for k, count in enumerate(check.errors.within):
            share = f"share 1/{2**k}: " if k else "share 1: "
            assert (f"{share}{count:,}" in said) == bool(count)
        cost = told[f"pool-{n}-cost-desc"]
        assert re.search(r"comparisons: [\d,]+; ReLUs: 768; MACs: [\d,]+", cost)


def test_every_node_is_drawn(converted):
    page = Page(html.of_result(converted, "digits.onnx"))
    told = {e["id"]: e["text"] for e in page.all("desc")}
    for n, conversion in enumerate(converted.conversions, 1):
        drawn = told[f"pool-{n}-after-desc"].split("; ")
        nodes = Counter(type(node).__name__ for node in conversion.program.nodes)
        assert sum(": Conv " in box for box in drawn) == nodes["Conv"]
        assert sum("ReLU" in box for box in drawn) == nodes["Relu"]
        assert sum(": Add" in box for box in drawn) == nodes["Add"]
        assert sum(": Concat" in box for box in drawn) == nodes["Concat"]
        for node in conversion.program.nodes:
            if isinstance(node, Conv):
                assert any("×".join(map(str, node.window.kernel_shape)) in box for box in drawn)
        assert "input" in drawn[0]
        assert "output" in drawn[-1]
        assert told[f"pool-{n}-before-desc"].count("MaxPool") == 1


def test_a_relu_has_a_box_of_its_own_where_others_read_its_convolution_too():
    point = Window((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))
    nodes = (Conv(0, np.ones((1, 1, 1, 1)), point), Relu(1), Add(1, 2), Conv(3, np.ones((1, 1, 1, 1)), point), Relu(4))
    made = SimpleNamespace(program=Program(2, nodes, Rounding()), gate="pair")
    boxes = program_boxes(made, "1×1", "1×1")
    assert [box.title for box in boxes] == ["input", "Conv 1×1", "ReLU", "Add", "Conv 1×1 + ReLU", "output"]
    assert [box.reads for box in boxes] == [(), (0,), (1,), (1, 2), (3,), (4,)]


def test_pictures_hold_plus_and_minus_for_each_weight(tmp_path):
    made = depool.convert(single(tmp_path / "m.onnx", "MaxPool", [1, 1, 4, 4], kernel_shape=[2, 2], strides=[2, 2]),
                          tmp_path / "o.onnx", scheme="tree")  # fmt: skip
    page = Page(html.of_result(made, "m.onnx"))
    glyphs = Counter(e["text"] for e in page.all("text") if e.get("class") == "glyph")
    weights = [w for node in made.conversions[0].program.nodes if isinstance(node, Conv) for w in node.kernel.ravel()]
    assert glyphs == {"+": sum(w == 1 for w in weights), "−": sum(w == -1 for w in weights)}


def test_hostile_names_are_text(command, tmp_path):
    hostile(tmp_path / "m.onnx")
    code, _, err = command("convert", "m.onnx", "--report", "r.html", "--allow-partial")
    assert (code, err) == (0, "")
    page = legible(Path("r.html").read_text(encoding="utf-8"))
    assert "n" + HOSTILE in page.text("h3")
    assert {"g" + HOSTILE, "z" + HOSTILE} <= set(page.text("th"))
    assert command("inspect", "m.onnx", "--report", "i.html")[0] == 0
    assert "n" + HOSTILE in legible(Path("i.html").read_text(encoding="utf-8")).text("h3")


def test_words_in_pictures_are_escaped():
    box = Box("conv", HOSTILE, (HOSTILE,))
    page = Page(network("k", HOSTILE, [box]))
    assert not page.all("script")
    assert page.text("text") == [HOSTILE, HOSTILE]
    assert page.text("title") == [HOSTILE]


def test_same_input_same_bytes(command):
    for name in ("one", "two"):
        assert command("convert", "digits.onnx", "-o", "out.onnx", "--report", f"{name}.html", "--force", "-q")[0] == 0
    assert Path("one.html").read_bytes() == Path("two.html").read_bytes()


@pytest.mark.parametrize(
    ("op", "shape", "kind", "attributes"),
    [
        ("MaxPool", [1, 2, 9], TensorProto.FLOAT, {"kernel_shape": [3]}),
        ("MaxPool", [1, 2, 5, 5, 5], TensorProto.FLOAT, {"kernel_shape": [2, 2, 2]}),
        ("MaxPool", [1, 2, None, None], TensorProto.FLOAT, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
        ("MaxPool", [1, 2, 6, 6], TensorProto.FLOAT16, {"kernel_shape": [5, 5], "strides": [1, 1]}),
        ("MaxPool", [1, 2, 6, 6], TensorProto.UINT8, {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("AveragePool", [1, 2, 6, 6], TensorProto.FLOAT, {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("GlobalMaxPool", [1, 2, 4, 4], TensorProto.FLOAT, {}),
    ],
    ids=["1-D", "3-D", "dynamic", "float16", "integers", "average", "global"],
)
def test_every_kind_of_pool_has_a_page(tmp_path, op, shape, kind, attributes):
    model = single(tmp_path / "m.onnx", op, shape, kind, **attributes)
    made = depool.convert(model, tmp_path / "o.onnx", pools="all")
    page = legible(html.of_result(made, "m.onnx"))
    assert "keeps its promise" in page.text("article")[0]
    planned = legible(html.of_survey(depool.inspect(model, pools="all")))
    assert "can be converted" in planned.text("article")[0]
    assert "keeps its promise" not in planned.text("body")[0]


@pytest.mark.parametrize("form", ["branched", "concat", "sequential"])
@pytest.mark.parametrize("exact", [False, True])
def test_every_form_is_drawn(tmp_path, form, exact):
    model = single(tmp_path / "m.onnx", "MaxPool", [1, 2, 8, 8], kernel_shape=[3, 3])
    made = depool.convert(model, tmp_path / "o.onnx", scheme="tree", form=form, exact=exact)
    page = legible(html.of_result(made, "m.onnx"))
    drawn = next(e["text"] for e in page.all("desc") if e["id"] == "pool-1-after-desc")
    assert drawn.count("ReLU") == sum(isinstance(node, Relu) for node in made.conversions[0].program.nodes)
    assert ("all identical" in page.text("article")[0]) == exact
    assert ("pool-1-errors-desc" in {e.get("id") for e in page.all("desc")}) != exact


def test_what_is_not_verified_is_not_called_equal(tmp_path):
    made = depool.convert(DIGITS, tmp_path / "o.onnx", verify=False)
    body = legible(html.of_result(made, "digits.onnx")).text("body")[0]
    assert "Not verified (--no-verify)." in body
    assert "No proof over the reals was tried." in body
    assert "Equal" not in body
    assert "keeps its promise" not in body


def test_refusals_and_caveats_are_shown(tmp_path):
    made = depool.convert(DIGITS, tmp_path / "o.onnx", target="portable", allow_partial=True)
    body = legible(html.of_result(made, "digits.onnx")).text("body")[0]
    assert made.refusals[0].code in body
    assert made.refusals[0].reason in body
    assert made.refusals[0].fix in body
    planned = depool.inspect(DIGITS, target="marabou")
    body = legible(html.of_survey(planned)).text("body")[0]
    for caveat in planned.caveats:
        assert caveat.text in body


def test_timings_are_shown_where_there_are_any(converted):
    timing = Sheet("Timings", ("runtime", "before, ms", "after, ms"), (("ONNX Runtime", "1.25", "1.5"),), numbers=True)
    assert "Timings" in legible(html.of_result(converted, "digits.onnx", timing)).text("h2")
    assert "Timings" not in legible(html.of_result(converted, "digits.onnx")).text("h2")


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["convert", "digits.onnx", "--report", "there.html"], 5, "there.html: exists; give --force"),
        (["inspect", "digits.onnx", "--report", "there.html"], 5, "there.html: exists; give --force"),
        (["convert", "digits.onnx", "--report", "out.onnx"], 2, "a name that ends in .html"),
        (
            ["convert", "digits.onnx", "--report", "c.html", "--certificate", "c.html"],
            2,
            "another file of this command",
        ),
        (["convert", "digits.onnx", "--report", "o.html", "-o", "o.html"], 2, "another file of this command"),
        (["convert", "digits.onnx", "--report", "no/r.html"], 5, "its folder does not exist"),
        (["convert", "digits.onnx", "--report", "r.html", "--target", "portable"], 3, "NEEDS_INPUT_RANGE"),
        (["convert", "missing.onnx", "--report", "r.html"], 5, "missing.onnx: no such file"),
        (["inspect", "missing.onnx", "--report", "r.html"], 5, "missing.onnx: no such file"),
    ],
)
def test_nothing_is_written_where_something_is_wrong(command, args, code, said):
    Path("there.html").write_text("old", encoding="utf-8")
    found = command(*args)
    assert found[:2] == (code, "")
    assert said in found[2]
    assert found[2].count("\n") == 1
    assert {path.name for path in Path().iterdir()} == {"digits.onnx", "there.html"}
    assert Path("there.html").read_text(encoding="utf-8") == "old"


def test_a_broken_promise_leaves_no_report(command, monkeypatch):
    from depool.onnx import place

    right = place.emit

    def wrong(*args):
        nodes, weights = right(*args)
        weights[0].CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights[0]) / np.float32(2),
                                                         weights[0].name))  # fmt: skip
        return nodes, weights

    monkeypatch.setattr(place, "emit", wrong)
    assert command("convert", "digits.onnx", "--report", "r.html")[0] == 1
    assert not Path("r.html").exists()
    assert not Path("digits.depool.onnx").exists()


def test_force_overwrites_and_the_command_says_so(command):
    Path("r.html").write_text("old", encoding="utf-8")
    code, out, _ = command("inspect", "digits.onnx", "--report", "r.html", "--force")
    assert code == 0
    assert out.endswith("report: r.html\n")
    legible(Path("r.html").read_text(encoding="utf-8"))


def test_without_jinja_one_line_says_what_to_install(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    code, out, err = command("convert", "digits.onnx", "--report", "r.html")
    assert (code, out) == (2, "")
    assert "python3 -m pip install 'depool[report]'" in err
    assert err.count("\n") == 1
    assert {path.name for path in Path().iterdir()} == {"digits.onnx"}
