"""The inputs can tell a right pool from a wrong one: signs, borders, every place of every window, inside the facts."""

import itertools
from math import inf

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import parser

import depool
from depool.numerics import safe
from depool.onnx.records import read_records
from depool.verification import inputs
from depool.verification.inputs import MODEL_KINDS, dims_of, model_values, pool_inputs, spatial_sizes
from depool.verification.models import drawn_inputs

DTYPES = {"float": np.float32, "double": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def record(folder, attributes="kernel_shape = [3, 3], pads = [1, 1, 1, 1]", size="7,7", dtype="float", **options):
    model = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 22]> g ({dtype}[1,2,{size}] x) => ({dtype}[1,2,h,w] y) {{
            [pool] y = MaxPool <{attributes}>(x) }}"""
    )
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    depool.convert(folder / "m.onnx", folder / "o.onnx", verify=False, force=True, **options)
    return read_records(onnx.load(folder / "o.onnx"))[0]


def drawn(made, seed=0):
    return list(pool_inputs(made, np.random.default_rng(seed)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_kind_is_there_in_the_pools_own_type(dtype, tmp_path):
    found = drawn(record(tmp_path, dtype=dtype))
    kinds = {kind for kind, _ in found}
    assert kinds >= {
        "signed normal",
        "all negative",
        "mixed magnitudes",
        "integers",
        "ties",
        "near overflow",
        "neighbours",
        "one hot spike",
    }
    assert {x.dtype for _, x in found} == {np.dtype(DTYPES[dtype])}
    assert all(x.shape[1:] == (2, 7, 7) for _, x in found)
    assert all(np.isfinite(x.astype(np.float64)).all() for _, x in found)


def test_what_each_kind_is_for(tmp_path):
    made = record(tmp_path)
    found = dict(reversed(drawn(made)))
    assert (found["all negative"] < 0).all()
    assert (found["signed normal"] < 0).any()
    assert (found["signed normal"] > 0).any()
    assert len(np.unique(found["ties"])) <= 3
    assert (found["integers"] == np.round(found["integers"])).all()
    top = safe(made.rounding, np.float32)
    assert np.abs(found["near overflow"]).max() > 0.9 * top
    assert np.abs(found["near overflow"]).max() <= top
    magnitudes = np.log10(np.abs(found["mixed magnitudes"]))
    assert magnitudes.max() - magnitudes.min() > 30
    assert (np.abs(found["neighbours"] - 1) <= 5 * np.finfo(np.float32).eps).all()
    assert len(np.unique(found["neighbours"])) > 4


def test_the_same_seed_draws_the_same(tmp_path):
    made = record(tmp_path)
    for (kind, x), (other, y) in zip(drawn(made), drawn(made), strict=True):
        assert kind == other
        np.testing.assert_array_equal(x, y)
    assert any((x != y).any() for (_, x), (_, y) in zip(drawn(made), drawn(made, seed=1), strict=True))


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ("kernel_shape = [3, 3], pads = [1, 1, 1, 1]", "7,7"),
        ("kernel_shape = [3, 2], strides = [2, 3], pads = [1, 0, 1, 1]", "8,7"),
        ("kernel_shape = [2, 2], dilations = [3, 2], pads = [1, 1, 1, 1]", "7,6"),
        ("kernel_shape = [5, 5]", "5,5"),
        ("kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1", "6,6"),
        ("kernel_shape = [1, 4], strides = [1, 2]", "2,9"),
    ],
)
@pytest.mark.parametrize("budget", [inputs.BUDGET, 300])
def test_spikes_stand_once_in_every_window_at_every_place(attributes, size, budget, tmp_path, monkeypatch):
    """Each element that a window reads is, in some sample, alone the largest by far there."""
    monkeypatch.setattr(inputs, "BUDGET", budget)
    made = record(tmp_path, attributes, size)
    spikes = np.concatenate([x.reshape(-1, *made.sizes) for kind, x in drawn(made) if kind == "one hot spike"])
    window = made.spec.resolve(made.sizes)
    pads, out = window.explicit_pads(made.sizes), window.out_sizes(made.sizes)
    for position in np.ndindex(*out):
        axes = [
            [i for i in range(p * s - b, p * s - b + k * d, d) if 0 <= i < n]
            for p, s, (b, _), k, d, n in zip(
                position, window.strides, pads, window.kernel_shape, window.dilations, made.sizes, strict=True
            )
        ]
        inside = spikes[(slice(None), *np.ix_(*axes))].reshape(len(spikes), -1)
        low = np.full((len(spikes), 1), -np.inf)
        ranked = np.sort(np.concatenate([low, inside], axis=1), axis=1)
        hot = set(np.argmax(inside, axis=1)[ranked[:, -1] > ranked[:, -2] + 1].tolist())
        assert hot == set(range(inside.shape[1])), (position, axes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bounds", [(0.0, inf), (-1.0, 0.7), (0.1, 0.3), (-inf, -2.0), (5.0, 6.0)])
def test_inputs_stay_inside_the_facts(bounds, dtype, tmp_path):
    made = record(tmp_path, dtype=dtype, input_range=bounds)
    assert (made.facts.lower, made.facts.upper) == bounds
    low, high = (DTYPES[dtype](bound) for bound in bounds)
    found = drawn(made)
    assert len({kind for kind, _ in found}) >= 6
    for kind, x in found:
        assert (x >= low).all(), kind
        assert (x <= high).all(), kind
        assert len(np.unique(x.astype(np.float64))) > 1, kind


def test_a_type_that_cannot_say_a_bound_exactly_stays_inside_by_rounding(tmp_path):
    """0.1 is no float16: its neighbour is what the model itself would see."""
    made = record(tmp_path, dtype="float16", input_range=(0.1, 0.2))
    assert all((np.abs(x.astype(np.float64) - 0.15) <= 0.0501).all() for _, x in drawn(made))


@pytest.mark.parametrize("attributes", ["kernel_shape = [3, 3], strides = [2, 2]", "kernel_shape = [2, 5]"])
def test_dynamic_sizes_are_tried_at_several(attributes, tmp_path):
    made = record(tmp_path, attributes, size="h,w")
    sizes = spatial_sizes(made)
    extents = made.spec.kernel_shape
    assert len(sizes) >= 4
    assert extents in sizes
    for axis in (0, 1):
        assert {size[axis] % 2 for size in sizes} == {0, 1}
    assert any(a != b for a, b in sizes)
    assert all(n >= e for size in sizes for n, e in zip(size, extents, strict=True))
    assert {x.shape[2:] for _, x in drawn(made)} == set(sizes)


def test_one_dynamic_axis(tmp_path):
    made = record(tmp_path, "kernel_shape = [3, 3]", size="h,9")
    assert {size[1] for size in spatial_sizes(made)} == {9}
    assert len({size[0] for size in spatial_sizes(made)}) >= 4


def test_integers_reach_both_ends(tmp_path):
    made = record(tmp_path, "kernel_shape = [2, 2]", dtype="uint8")
    found = drawn(made)
    assert {x.dtype for _, x in found} == {np.dtype(np.uint8)}
    assert {0, 255} <= {int(v) for _, x in found for v in (x.min(), x.max())}


# --- whole models ---------------------------------------------------------------------------------------------------


def model(values, nodes="y = Relu(x)"):
    return parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]> g ({values}) => (float[a,b,c,d] y) {{ {nodes} }}"""
    )


def feeds(made, shapes=None, ranges=None):
    return list(drawn_inputs(made, shapes or {}, ranges or {}, np.random.default_rng(0)))


ORDERS = list(itertools.permutations(["float[1,2,4,4] x", "int64[3] i", "bool b"]))


@pytest.mark.parametrize("values", ORDERS)
def test_every_input_is_fed_in_whatever_order(values):
    """An integer before the image must not leave the model unfed."""
    found = feeds(model(", ".join(values)))
    assert len(found) >= 4
    for _, fed in found:
        assert set(fed) == {"x", "i", "b"}
        assert (fed["x"].dtype, fed["i"].dtype, fed["b"].dtype) == (np.float32, np.int64, np.bool_)
    assert any((fed["x"] < 0).any() for _, fed in found)


def test_a_model_of_integers_alone_is_fed():
    found = feeds(parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]> g (int64[3] i) => (int64[3] y) { y = Identity(i) }"""
    ))  # fmt: skip
    assert found
    assert all(fed["i"].shape == (3,) for _, fed in found)


def test_initialisers_are_not_fed():
    made = model("float[1,2,4,4] x, float[1] w", "y = Add(x, w)")
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.float32), "w"))
    assert all(set(fed) == {"x"} for _, fed in feeds(made))


def test_dynamic_models_are_fed_at_several_sizes():
    shapes = {fed["x"].shape for _, fed in feeds(model("float[N,3,h,w] x"))}
    assert len(shapes) >= 3
    assert all(shape[:2] == (2, 3) for shape in shapes)
    assert {fed["x"].shape for _, fed in feeds(model("float[N,3,h,w] x"), {"x": (1, 3, 5, 6)})} == {(1, 3, 5, 6)}


@pytest.mark.parametrize("name", ["", "x"])
def test_declared_ranges_of_whole_models(name):
    found = feeds(model("float[1,2,4,4] x"), ranges={name: (-0.5, 0.25)})
    assert all((fed["x"] >= -0.5).all() and (fed["x"] <= 0.25).all() for _, fed in found)
    assert all(len(np.unique(fed["x"])) > 2 for _, fed in found)


def test_kinds_of_whole_models():
    rng = np.random.default_rng(0)
    found = {kind: model_values(kind, rng, (2, 3, 8, 8), -inf, inf) for kind in MODEL_KINDS}
    assert (found["all negative"] < 0).all()
    assert (found["images in [0, 1)"] >= 0).all()
    assert (found["signed normal"] < 0).any()


def test_dimensions_are_filled_in():
    assert dims_of(("N", 3, "h", "w"), (64, 48), 2) == (2, 3, 64, 48)
    assert dims_of((1, 3, 8, "w"), (64, 48), 2) == (1, 3, 8, 64)
    assert dims_of((), (64, 48), 2) == ()
