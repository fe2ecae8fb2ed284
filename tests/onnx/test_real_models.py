"""Eight trained models from the field, every layout and form: equal, clean, deterministic, the interface untouched."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import depool
from depool.errors import Exit, NotConverted
from depool.onnx.graph import attributes

MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "models"
ALLOWED = {"Conv", "Relu", "Add", "Concat"}


@dataclass(frozen=True)
class Model:
    """What is known of a model.

    Attributes:
        pools: how many max pools it has.
        padded: those that are padded on an input of unknown sign and bounds, so that a chain needs a declared range.
        border: in the default form, pool by pool.
    """

    pools: int
    border: tuple[str, ...]
    padded: tuple[str, ...] = ()

    @property
    def declared(self):
        """The arguments that let a chain be built."""
        return {"input_range": (-1.0, 1.0)} if self.padded else {}


KNOWN = {
    "blazeface-front": Model(3, ("none",) * 3),
    "mnist-marabou": Model(1, ("none",)),
    "mnist-wonnx": Model(2, ("none",) * 2),
    "mtcnn-onet": Model(3, ("edge", "none", "none"), ("p_re_lu_7/add:0_pooling",)),
    "mtcnn-pnet": Model(1, ("guard",), ("p_re_lu/add:0_pooling",)),
    "mtcnn-rnet": Model(2, ("edge", "none"), ("p_re_lu_3/add:0_pooling",)),
    "ocr-cls": Model(1, ("none",)),
    "yolox-det": Model(3, ("edge",) * 3),
}
MTCNN = [name for name, model in KNOWN.items() if model.padded]

LAYOUTS = [{"channels": channels} for channels in ("auto", "grouped", "depthwise", "dense")]
CHAINS = [{"form": "sequential"}, {"target": "portable"}]
OTHERS = [
    ("mnist-wonnx", {"scheme": "tree"}),
    ("mnist-wonnx", {"scheme": "separable"}),
    ("yolox-det", {"scheme": "horner"}),
    ("mnist-wonnx", {"scheme": "separable", "form": "concat"}),
    ("mnist-wonnx", {"exact": True}),
    ("mnist-wonnx", {"form": "concat", "channels": "depthwise"}),
    ("mnist-wonnx", {"form": "sequential", "exact": True}),
    ("mnist-marabou", {"scheme": "tree", "form": "concat"}),
    ("mnist-marabou", {"exact": True, "channels": "dense"}),
    ("blazeface-front", {"scheme": "tree"}),
    ("blazeface-front", {"form": "concat"}),
    ("mtcnn-pnet", {"form": "concat", "channels": "dense"}),
    ("mtcnn-pnet", {"exact": True}),
    ("mtcnn-rnet", {"scheme": "tree"}),
    ("mtcnn-rnet", {"form": "concat"}),
    ("mtcnn-rnet", {"exact": True, "form": "concat"}),
    ("mtcnn-onet", {"scheme": "separable", "exact": True}),
    ("ocr-cls", {"scheme": "tree"}),
    ("ocr-cls", {"exact": True}),
]
COMBINATIONS = [
    *[(name, arguments) for name in KNOWN for arguments in LAYOUTS],
    *[(name, KNOWN[name].declared | arguments) for name in KNOWN for arguments in CHAINS],
    *OTHERS,
]


def label(value):
    return "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value


@pytest.fixture
def path():
    """A model's path; skips where the folder of models is absent."""
    if not MODELS.is_dir():
        pytest.skip(f"the trained models are not at {MODELS}")
    return lambda name: MODELS / f"{name}.onnx"


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


def check_clean(before, after, pools):
    """Only max pools are gone, only the allowed operators came; all else is as it was."""
    assert operators(before) - operators(after) == {"MaxPool": pools}
    came = operators(after) - operators(before)
    constants = {"Constant"} if before.ir_version < 4 else set()
    assert set(came) <= ALLOWED | constants
    assert came["Conv"] >= pools
    assert came["Relu"] >= pools
    assert "MaxPool" not in operators(after)
    for part in ("name", "input", "output", "doc_string"):
        assert getattr(before.graph, part) == getattr(after.graph, part), part
    for part in ("ir_version", "opset_import", "producer_name", "producer_version", "domain", "model_version"):
        assert getattr(before, part) == getattr(after, part), part
    kept = [entry for entry in after.metadata_props if not entry.key.startswith("depool.")]
    assert kept == list(before.metadata_props)
    theirs = [node for node in after.graph.node if "depool" not in node.name]
    assert theirs == [node for node in before.graph.node if node.op_type != "MaxPool"]
    weights = [tensor for tensor in after.graph.initializer if "depool" not in tensor.name]
    assert weights == list(before.graph.initializer)


@pytest.mark.parametrize(("name", "arguments"), COMBINATIONS, ids=label)
def test_converted_equal_and_clean(name, arguments, path, tmp_path):
    original, known = path(name), KNOWN[name]
    bytes_before = original.read_bytes()
    result = depool.convert(original, tmp_path / "out.onnx", **arguments)
    assert result.verdict.equal is True, result.verdict.summary
    assert [check.equal for check in result.verdict.pools] == [True] * known.pools
    assert (len(result.records), result.refusals) == (known.pools, ())
    check_clean(onnx.load(original), onnx.load(result.path), known.pools)
    onnx.checker.check_model(str(result.path), full_check=True)
    assert original.read_bytes() == bytes_before
    assert [p.name for p in tmp_path.iterdir()] == ["out.onnx"]
    for record in result.records:
        wanted = (
            {"tree", "horner" if record.form == "branched" else "separable"}
            if "scheme" not in arguments
            else {arguments["scheme"]}
        )
        assert record.scheme in wanted
        assert record.rounding.bit_exact == (bool(arguments.get("exact")) or record.border == "mask")
        chain = arguments.get("target") == "portable"
        assert record.form == arguments.get("form", "sequential" if chain else "branched")
        layout = arguments.get("channels", "auto")
        assert record.layout == ({True: "dense", False: "grouped"}[chain] if layout == "auto" else layout)


@pytest.mark.parametrize("name", KNOWN)
def test_a_fresh_verification_agrees(name, path, tmp_path):
    """From the two files alone, and deterministic: the second conversion is the first, byte for byte."""
    for arguments in ({}, {"target": "portable"} | KNOWN[name].declared):
        first, second = (
            depool.convert(path(name), tmp_path / f"{i}.onnx", force=True, verify=False, **arguments) for i in range(2)
        )
        assert first.path.read_bytes() == second.path.read_bytes()
        if name == "yolox-det" and arguments:
            continue  # its dense chains run for long, and are verified above
        verdict = depool.verify(path(name), first.path)
        assert verdict.equal is True, verdict.summary
        assert verdict.exit_code == Exit.DONE
        assert verdict.counterexample is None
        assert len(verdict.pools) == KNOWN[name].pools
        assert all(check.windows > 0 for check in verdict.pools)


@pytest.mark.parametrize("name", KNOWN)
def test_the_outputs_are_the_same_and_would_not_be_with_average_pools(name, path, tmp_path):
    """End to end in ONNX Runtime, by hand: what the verdicts say, without depool's verification."""
    original = onnx.load(path(name))
    converted = depool.convert(path(name), tmp_path / "out.onnx", verify=False)
    assert tuple(record.border for record in converted.records) == KNOWN[name].border
    swapped = onnx.ModelProto()
    swapped.CopyFrom(original)
    for node in swapped.graph.node:
        node.op_type = node.op_type.replace("MaxPool", "AveragePool")
    rng = np.random.default_rng(3)
    x = rng.normal(size=shape_of(original)).astype(np.float32)
    expected, got, wrong = (run(model, x) for model in (original, converted.model, swapped))
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-4)
    assert any(not np.allclose(other, one, rtol=1e-3, atol=1e-4) for one, other in zip(expected, wrong, strict=True))


def run(model, x):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def shape_of(model):
    """Of the model's first input, with something for each dynamic dimension."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    return [d.dim_value if d.dim_value > 0 else (2, 48, 64, 48)[i] for i, d in enumerate(dims)]


@pytest.mark.parametrize("chain", CHAINS, ids=label)
@pytest.mark.parametrize("name", MTCNN)
def test_a_chain_at_a_signed_border_needs_a_range(name, chain, path, tmp_path):
    with pytest.raises(NotConverted) as caught:
        depool.convert(path(name), tmp_path / "out.onnx", **chain)
    found = [(refusal.code, refusal.where) for refusal in caught.value.refusals]
    assert found == [("NEEDS_INPUT_RANGE", where) for where in KNOWN[name].padded]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chain", CHAINS, ids=label)
@pytest.mark.parametrize("name", [name for name in KNOWN if name not in MTCNN])
def test_other_chains_need_none(name, chain, path, tmp_path):
    result = depool.convert(path(name), tmp_path / "out.onnx", verify=False, **chain)
    shifted = {record.where for record in result.records if record.border == "shift"}
    assert len(shifted) == (3 if name == "yolox-det" else 0)
    assert all(isfinite(record.facts.lower) for record in result.records)


@pytest.mark.parametrize("name", KNOWN)
def test_portable_is_one_plain_chain(name, path, tmp_path):
    """Conv - Relu - ... - Conv: group 1, no dilation, symmetric pads, nothing left to defaults.

    A tensor inside is read once, or by the chains of pools of one input, which share their beginning (yolox-det).
    """
    arguments = {"target": "portable"} | KNOWN[name].declared
    result = depool.convert(path(name), tmp_path / "out.onnx", verify=False, **arguments)
    graph = onnx.load(result.path).graph
    assert all(node.name for node in graph.node if "depool" in "".join(node.output))
    producers = {output: node for node in graph.node for output in node.output}
    readers = Counter(name for node in graph.node for name in node.input)
    links = set()
    for record in result.records:
        chain = []
        tensor = record.output
        while tensor != record.source:
            node = producers[tensor]
            chain.insert(0, node)
            tensor = node.input[0]
            links.add((record.source, tensor, node.name))
        kinds = [node.op_type for node in chain]
        assert kinds == ["Conv", "Relu"] * (len(kinds) // 2) + ["Conv"]
        assert len(kinds) >= 3
        assert len({node.name for node in chain}) == len(chain)
        assert all(node.name and node.domain == "" for node in chain)
        convolutions = [node for node in chain if node.op_type == "Conv"]
        for node in convolutions:
            check_plain(node, record.spec.rank)
        biased = [i for i, node in enumerate(convolutions) if len(node.input) == 3]
        ends = [0, len(convolutions) - 1] if record.border == "shift" else []
        assert biased == ends
    inside = Counter(tensor for source, tensor, _ in links if tensor != source)
    assert inside == {tensor: readers[tensor] for tensor in inside}
    shared = [count for count in inside.values() if count > 1]
    assert shared == ([3] if name == "yolox-det" else [])


def check_plain(node, rank):
    found = attributes(node)
    assert set(found) == {"group", "strides", "kernel_shape", "dilations", "pads"}
    assert found["group"] == 1
    assert list(found["dilations"]) == [1] * rank
    assert list(found["pads"][:rank]) == list(found["pads"][rank:])


def test_dynamic_global_average_pools_are_refused(path, tmp_path):
    """ocr-cls has ten of them, and one max pool."""
    with pytest.raises(NotConverted) as caught:
        depool.convert(path("ocr-cls"), tmp_path / "out.onnx", pools="all")
    wheres = [f"GlobalAveragePool@{i}" for i in range(10)]
    assert [refusal.code for refusal in caught.value.refusals] == ["DYNAMIC_GLOBAL"] * 10
    assert sorted(refusal.where for refusal in caught.value.refusals) == wheres
    assert list(tmp_path.iterdir()) == []


def test_the_max_pool_is_converted_where_a_partial_result_is_allowed(path, tmp_path):
    result = depool.convert(path("ocr-cls"), tmp_path / "out.onnx", pools="all", allow_partial=True)
    assert result.verdict.equal is True
    assert [record.where for record in result.records] == ["MaxPool@0"]
    assert Counter(refusal.code for refusal in result.refusals) == {"DYNAMIC_GLOBAL": 10}
    check_clean(onnx.load(path("ocr-cls")), onnx.load(result.path), 1)


@pytest.mark.parametrize("name", KNOWN)
def test_the_table_counts_every_max_pool(name, path):
    assert operators(onnx.load(path(name)))["MaxPool"] == KNOWN[name].pools


def test_no_model_is_left_out(path):
    assert {found.stem for found in path("any").parent.glob("*.onnx")} == set(KNOWN)
