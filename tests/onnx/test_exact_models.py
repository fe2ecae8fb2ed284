"""`convert --exact` is == to the native pool in ONNX Runtime, at every optimisation level, on data that break sums.

Each pool's region is cut out of the model before and after, and both get the same tensor: N(0, 1), magnitudes from
1e-30 to 1e30, subnormal numbers, and numbers up to the largest for which the promise is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

import depool
from depool.errors import NotConverted
from depool.numerics import TYPES, largest, safe, smallest
from depool.onnx.graph import scopes
from depool.onnx.records import read_records
from depool.verification.regions import ELEMENTS, region

MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "models"
NAMES = (
    "blazeface-front", "mnist-marabou", "mnist-wonnx", "mtcnn-onet", "mtcnn-pnet", "mtcnn-rnet", "ocr-cls", "yolox-det",
)  # fmt: skip
LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
KINDS = ("normal", "mixed magnitudes", "subnormal", "near overflow")
CHANNELS = (1, 3, 16, 64, 128)


def draw(kind, shape, record):
    """Numbers of one kind, as many digits as the type has, within the promise and the facts."""
    rng = np.random.default_rng(3)
    dtype = np.dtype(TYPES.get(record.dtype, record.dtype))
    sign, top = rng.choice([-1.0, 1.0], shape), safe(record.rounding, dtype)
    most = min(30.0, np.log10(top))
    centre = rng.uniform(-most, most, (shape[0], shape[1], *(1 for _ in shape[2:])))
    far = rng.random(centre.shape) < 0.5  # half of the channels: all magnitudes, so that nearly all sums lose one side
    exponent = np.where(far, rng.uniform(-most, most, shape), centre + rng.uniform(-4, 4, shape))
    close = 2.0 ** -rng.integers(0, 27, shape) * rng.uniform(0.5, 1, shape)
    values = {
        "normal": lambda: rng.normal(size=shape),
        "mixed magnitudes": lambda: sign * 10.0 ** np.clip(exponent, -most, most),
        "subnormal": lambda: sign * rng.integers(0, 2 ** rng.integers(1, 20, shape)) * smallest(dtype),
        "near overflow": lambda: sign * top * np.where(rng.random(shape) < 0.2, 1, close),
    }[kind]()
    values = np.abs(values) if record.facts.lower >= 0 else values
    return np.clip(values, -top, top).astype(dtype)


def session(model, level):
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def regions(original, converted):
    """(record, the native pool, its convolutions) of each converted pool, cut out."""
    before = {scope.path: scope for scope in scopes(original, Path())}
    after = {scope.path: scope for scope in scopes(converted, Path())}
    for record in read_records(converted):
        native, changed = (
            region(
                side[record.scope], record.source, record.output, record.channels, record.sizes, record.dtype,
                relu=record.facts.relu_follows,
            )
            for side in (before, after)
        )  # fmt: skip
        yield record, native, changed


def compare(record, native, changed, sizes, levels=LEVELS, kinds=KINDS):
    """(level, kind, how many outputs differ, how many there are) of one pool."""
    oracle = session(native, "ORT_DISABLE_ALL")
    data = {kind: draw(kind, (2, record.channels, *sizes), record) for kind in kinds}
    expected = {kind: oracle.run(None, {record.source: x})[0] for kind, x in data.items()}
    for level in levels:
        convolutions = session(changed, level)
        for kind, x in data.items():
            got = convolutions.run(None, {record.source: x})[0]
            assert got.shape == expected[kind].shape
            yield level, kind, int(np.count_nonzero(got != expected[kind])), got.size


def equal_everywhere(original, converted, sizes=(9, 10)):
    """How many outputs were compared; all are equal."""
    total = 0
    for record, native, changed in regions(original, converted):
        assert {node.op_type for node in native.graph.node} & {"MaxPool", "GlobalMaxPool"}
        assert {node.op_type for node in changed.graph.node} <= {"Conv", "Relu", "Add", "Concat", "Constant"}
        real = tuple(n if n is not None else m for n, m in zip(record.sizes, sizes, strict=True))
        for level, kind, wrong, size in compare(record, native, changed, real):
            assert wrong == 0, f"{record.where}: {wrong} of {size} differ on {kind} at {level}"
            total += size
    return total


@pytest.mark.skipif(not MODELS.is_dir(), reason=f"{MODELS} is absent")
@pytest.mark.parametrize("name", NAMES)
def test_real_models(name, tmp_path):
    path = MODELS / f"{name}.onnx"
    result = depool.convert(path, tmp_path / "exact.onnx", exact=True, verify=False)
    assert {conversion.gate for conversion in result.conversions} <= {"Y", "K"}
    assert all(record.rounding.bit_exact for record in result.records)
    for sizes in ((16, 15), (25, 34)) if None in result.records[0].sizes else ((9, 9),):
        assert equal_everywhere(onnx.load(path), result.model, sizes) > 10_000


@dataclass(frozen=True)
class Geometry:
    """A pool, and on what it stands.

    Attributes:
        attributes: of the node.
        dynamic: whether height and width are declared as symbols.
        signed, positive: the border rules that must come of it for each kind of input.
    """

    attributes: dict
    signed: str
    positive: str
    dynamic: bool = False


P1 = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
GEOMETRIES = {
    "2x2/2": Geometry({"kernel_shape": [2, 2], "strides": [2, 2]}, "none", "none"),
    "3x3/2 p1": Geometry(P1, "edge", "zero"),
    "3x3/2 p1 dynamic": Geometry(P1, "mask", "zero", dynamic=True),
    "5x5/1 p2": Geometry({"kernel_shape": [5, 5], "pads": [2] * 4}, "edge", "zero"),
}
LAYOUTS = ("grouped", "depthwise", "dense")
CASES = [
    (name, form, layout, positive)
    for name, form, layout, positive in product(
        GEOMETRIES, ("branched", "concat", "sequential"), LAYOUTS, (False, True)
    )
    if form != "sequential" or (layout != "depthwise" and (positive or name == "2x2/2"))
]


@cache
def one_pool(name, channels, dtype="float32"):
    geometry = GEOMETRIES[name]
    spatial = ["h", "w"] if geometry.dynamic else [9, 10]
    node = helper.make_node("MaxPool", ["x"], ["y"], name="pool", **geometry.attributes)
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", ELEMENTS[dtype], ["N", channels, *spatial])],
        [helper.make_tensor_value_info("y", ELEMENTS[dtype], ["N", channels, "a", "b"])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def converted(model, tmp_path, **arguments):
    onnx.save(model, tmp_path / "one.onnx")
    return depool.convert(tmp_path / "one.onnx", tmp_path / "exact.onnx", verify=False, force=True, **arguments)


def affordable(name, form, layout, channels):
    """Dense kernels grow with the square of channels times maps: the largest ones only where maps are few."""
    if layout != "dense" or channels <= 3:
        return True
    return channels <= {"2x2/2": 128, "3x3/2 p1": 64, "3x3/2 p1 dynamic": 16, "5x5/1 p2": 16}[name] // (
        1 if form == "branched" else 8
    )


@pytest.mark.parametrize(("name", "form", "layout", "positive"), CASES)
def test_any_number_of_channels(name, form, layout, positive, tmp_path):
    tried = [channels for channels in CHANNELS if affordable(name, form, layout, channels)]
    for channels in tried:
        original = one_pool(name, channels)
        result = converted(
            original, tmp_path, exact=True, form=form, channels=layout, assume_nonnegative=positive,
        )  # fmt: skip
        (conversion,) = result.conversions
        rule = GEOMETRIES[name].positive if positive else GEOMETRIES[name].signed
        assert (conversion.form, conversion.channels, conversion.border.rule) == (form, layout, rule)
        assert conversion.gate == ("K" if positive else "Y")
        assert equal_everywhere(original, result.model) >= 16 * 2 * channels * 16
    assert tried[:2] == [1, 3]
    assert layout == "dense" or tried == list(CHANNELS)


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
@pytest.mark.parametrize("positive", [False, True])
def test_other_types(dtype, positive, tmp_path):
    """ONNX Runtime runs float16 in float32, with casts where its optimiser leaves them; the reference runs the rest."""
    for name, form in product(("2x2/2", "3x3/2 p1"), ("branched", "sequential")):
        if form == "sequential" and name != "2x2/2" and not positive:
            continue
        original = one_pool(name, 3, dtype)
        result = converted(original, tmp_path, exact=True, form=form, assume_nonnegative=positive)
        assert {conversion.gate for conversion in result.conversions} == {"K" if positive else "Y"}
        if dtype == "float16":
            assert equal_everywhere(original, result.model) > 1000
            continue
        (record,) = result.records
        replacement = ReferenceEvaluator(next(iter(regions(original, result.model)))[2])
        native = session(one_pool(name, 3, "float64"), "ORT_DISABLE_ALL")
        for kind in KINDS:
            x = draw(kind, (2, 3, 9, 10), record)
            with np.errstate(over="ignore"):  # what switches a term off may become -inf before its ReLU
                (got,) = replacement.run(None, {"x": x})
            assert got.dtype == x.dtype
            assert np.array_equal(got.astype(np.float64), native.run(None, {"x": x.astype(np.float64)})[0])


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("kind", ["normal", "mixed magnitudes", "near overflow"])
def test_these_data_show_the_rounding_of_a_plain_gate(kind, positive, tmp_path):
    original = one_pool("2x2/2", 16)
    plain = converted(original, tmp_path, assume_nonnegative=positive)
    ((record, native, changed),) = regions(original, plain.model)
    for _, _, wrong, size in compare(record, native, changed, (9, 10), kinds=(kind,)):
        assert 0 < wrong < size


def test_a_padded_signed_chain_cannot_be_exact(tmp_path):
    for arguments in ({"form": "sequential"}, {"target": "portable"}):
        with pytest.raises(NotConverted, match="EXACT_NEEDS_BRANCHES"):
            converted(one_pool("3x3/2 p1", 3), tmp_path, exact=True, input_range=(-1.0, 1.0), **arguments)


def test_the_promise_ends_where_it_says(tmp_path):
    """MAX / 2 for gate Y, MAX for gate K."""
    original = one_pool("2x2/2", 3)
    for positive, share in ((False, 0.5), (True, 1.0)):
        result = converted(original, tmp_path, exact=True, assume_nonnegative=positive)
        (record,) = result.records
        assert safe(record.rounding, "float32") == largest("float32") * share
