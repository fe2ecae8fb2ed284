"""PoolSpec.resolve against windows laid out one by one, and those against ONNX Runtime."""

import random
from itertools import product

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from oracle import axis_windows, draw, empty, inside, pool

from depool.errors import Refused, UsageError
from depool.geometry import PoolSpec, Window, same_pads


def refusal(spec, sizes):
    """The refusal of spec.resolve(sizes), or None."""
    try:
        spec.resolve(sizes)
    except Refused as error:
        return error.refusal
    return None


def reads(window, sizes, axis=0):
    """Per output position of a resolved window: the elements of the input it reads on an axis."""
    begin, _ = window.explicit_pads(sizes)[axis]
    kernel, stride, dilation = window.kernel_shape[axis], window.strides[axis], window.dilations[axis]
    starts = [i * stride - begin for i in range(window.out_sizes(sizes)[axis])]
    return [[i for i in range(s, s + kernel * dilation, dilation) if 0 <= i < sizes[axis]] for s in starts]


def sweep(kernels=range(1, 5), strides=range(1, 5), dilations=(1, 2, 3)):
    """Every small 1-D pool: explicit pads in floor and ceil mode, and each auto_pad."""
    for k, s, d in product(kernels, strides, dilations):
        for begin, end in product(range(k + 1), repeat=2):
            for ceil in (False, True) if max(begin, end) < k else (False,):  # pads >= kernel: no runtime takes them
                yield PoolSpec((k,), (s,), ((begin, end),), (d,), ceil_mode=ceil)
        for ceil in (False, True):
            yield PoolSpec((k,), (s,), (), (d,), ceil_mode=ceil, auto_pad="VALID")
        if d == 1:
            yield PoolSpec((k,), (s,), auto_pad="SAME_UPPER")
            yield PoolSpec((k,), (s,), auto_pad="SAME_LOWER")


def label(spec):
    return f"k{spec.kernel_shape} s{spec.strides} p{spec.pads} d{spec.dilations} ceil{spec.ceil_mode} {spec.auto_pad}"


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_static_resolution_is_the_oracle(stride):
    checked = refused = 0
    for spec in sweep(strides=[stride]):
        for size in range(1, 12):
            where = f"{label(spec)} size {size}"
            if empty(spec, (size,)):
                found = refusal(spec, (size,))
                assert found is not None, where
                assert found.code == "EMPTY_WINDOW", where
                refused += 1
            else:
                window = spec.resolve((size,))
                assert reads(window, (size,)) == inside(spec, 0, size), where
                assert isinstance(window.pads, tuple), where
                checked += 1
    assert checked > 2000
    assert refused > 300


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_dynamic_resolution_agrees_with_every_size(stride):
    explicit = symbolic = 0
    for spec in sweep(kernels=range(1, 6), strides=[stride]):
        found = refusal(spec, (None,))
        if found is not None:
            assert found.code in {"DYNAMIC_CEIL", "EMPTY_WINDOW"}, label(spec)
            continue
        window = spec.resolve((None,))
        if isinstance(window.pads, str):
            assert window.pads == spec.auto_pad, label(spec)
            symbolic += 1
        else:
            explicit += 1
        for size in range(1, 41):
            if not empty(spec, (size,)):
                assert reads(window, (size,)) == inside(spec, 0, size), f"{label(spec)} size {size}"
    assert explicit > 50
    assert symbolic > 0 or stride == 1


def test_dynamic_same_is_explicit_only_where_begin_never_varies():
    for kernel, stride, auto_pad in product(range(1, 8), range(1, 5), ("SAME_UPPER", "SAME_LOWER")):
        spec = PoolSpec((kernel,), (stride,), auto_pad=auto_pad)
        begins = {-axis_windows(spec, 0, size)[0][0] for size in range(1, 60)}
        window = spec.resolve((None,))
        if len(begins) == 1:
            assert window.pads == ((begins.pop(), window.pads[0][1]),), label(spec)
        else:
            assert window.pads == auto_pad, label(spec)


def test_dynamic_same_of_one_axis_makes_the_whole_symbolic():
    spec = PoolSpec((3, 2), (2, 1), auto_pad="SAME_UPPER")
    assert spec.resolve((None, None)).pads == "SAME_UPPER"
    assert spec.resolve((8, None)).pads == ((0, 1), (0, 1))
    assert PoolSpec((2, 2), (2, 1), auto_pad="SAME_LOWER").resolve((None, 5)).pads == "SAME_LOWER"
    assert PoolSpec((3, 2), (2, 1), auto_pad="SAME_LOWER").resolve((None, 5)).pads == ((1, 1), (1, 0))


def test_known_values():
    assert same_pads(7, 3, 2, "SAME_UPPER") == (1, 1)
    assert same_pads(8, 3, 2, "SAME_UPPER") == (0, 1)
    assert same_pads(8, 3, 2, "SAME_LOWER") == (1, 0)
    assert same_pads(5, 1, 3, "SAME_UPPER") == (0, 0)
    # the kernel of 1 with strides 2 in ceil mode: onnx's shape inference says 3 windows, the runtimes say 2
    assert PoolSpec((1,), (2,), ceil_mode=True).resolve((4,)).out_sizes((4,)) == (2,)
    assert PoolSpec((3,), (2,), ceil_mode=True).resolve((6,)).pads == ((0, 1),)
    assert PoolSpec((3,), (2,), ceil_mode=True).resolve((None,)).pads == ((0, 1),)
    assert PoolSpec((2,), (2,), ceil_mode=True, auto_pad="VALID").resolve((5,)).out_sizes((5,)) == (3,)
    assert PoolSpec((2, 2), (2, 2)).resolve((4, None)).out_sizes((4, 9)) == (2, 4)
    assert Window((3,), (1,), (4,), ((0, 0),)).extent == (9,)


REFUSALS = {
    "same-dilated": (PoolSpec((3,), dilations=(2,), auto_pad="SAME_UPPER"), (9,), "SAME_DILATED"),
    "same-dilated-dynamic": (PoolSpec((3,), dilations=(2,), auto_pad="SAME_LOWER"), (None,), "SAME_DILATED"),
    "same-dilated-one-axis": (PoolSpec((3, 1), dilations=(1, 2), auto_pad="SAME_UPPER"), (9, 9), "SAME_DILATED"),
    "ceil-end-padding": (PoolSpec((3,), (2,), ((0, 1),), ceil_mode=True), (None,), "DYNAMIC_CEIL"),
    "ceil-short-kernel": (PoolSpec((2,), (3,), ceil_mode=True), (None,), "DYNAMIC_CEIL"),
    "pads-only": (PoolSpec((2,), (1,), ((2, 0),)), (5,), "EMPTY_WINDOW"),
    "pads-only-end": (PoolSpec((2,), (1,), ((0, 2),)), (5,), "EMPTY_WINDOW"),
    "pads-only-dynamic": (PoolSpec((2,), (1,), ((2, 0),)), (None,), "EMPTY_WINDOW"),
    "pads-between-taps": (PoolSpec((2,), (1,), ((1, 1),), (2,)), (1,), "EMPTY_WINDOW"),
    "no-window": (PoolSpec((3, 3)), (9, 2), "EMPTY_WINDOW"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_codes(name):
    spec, sizes, code = REFUSALS[name]
    found = refusal(spec, sizes)
    assert found is not None
    assert found.code == code
    assert found.reason.endswith(".")
    assert found.fix.endswith(".")


NEIGHBOURS = {
    "same-undilated": (PoolSpec((3,), auto_pad="SAME_UPPER"), (9,), ((1, 1),)),
    "ceil-static": (PoolSpec((3,), (2,), ((0, 1),), ceil_mode=True), (6,), ((0, 1),)),
    "ceil-stride-1": (PoolSpec((3,), (1,), ((0, 1),), ceil_mode=True), (None,), ((0, 1),)),
    "ceil-begin-padding": (PoolSpec((3,), (2,), ((1, 0),), ceil_mode=True), (None,), ((1, 1),)),
    "pads-just-small-enough": (PoolSpec((2,), (1,), ((1, 1),)), (5,), ((1, 1),)),
    "taps-meet-the-element": (PoolSpec((3,), (1,), ((2, 2),), (2,)), (1,), ((2, 2),)),
    "one-window": (PoolSpec((3, 3)), (9, 3), ((0, 0), (0, 0))),
    "average-counted": (
        PoolSpec((3,), (1,), ((1, 1),), kind="average", count_include_pad=True),
        (9,),
        ((1, 1),),
    ),
    "average-same-counted": (
        PoolSpec((3,), auto_pad="SAME_UPPER", kind="average", count_include_pad=True),
        (9,),
        ((1, 1),),
    ),
    "average-ceil-fits": (PoolSpec((2,), (2,), ceil_mode=True, kind="average"), (6,), ((0, 0),)),
}


ALIKE = {
    "border": (PoolSpec((3,), (1,), ((1, 1),), kind="average"), (9,), False),
    "border counted": (PoolSpec((3,), (1,), ((1, 1),), kind="average", count_include_pad=True), (9,), True),
    "ceil": (PoolSpec((2,), (2,), ceil_mode=True, kind="average", count_include_pad=True), (5,), False),
    "ceil that fits": (PoolSpec((2,), (2,), ceil_mode=True, kind="average"), (6,), True),
    "valid ceil": (
        PoolSpec((2,), (2,), ceil_mode=True, auto_pad="VALID", kind="average", count_include_pad=True),
        (5,),
        False,
    ),
    "same": (PoolSpec((3,), auto_pad="SAME_UPPER", kind="average"), (5,), False),
    "same counted": (PoolSpec((3,), auto_pad="SAME_UPPER", kind="average", count_include_pad=True), (5,), True),
    "a divisor of its own": (PoolSpec((3,), (1,), ((1, 1),), kind="average", divisor=2), (9,), True),
}


@pytest.mark.parametrize("name", ALIKE)
def test_whether_all_windows_of_an_average_divide_by_the_same_number(name):
    spec, sizes, alike = ALIKE[name]
    assert spec.counts_alike(spec.resolve(sizes)) is alike


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_the_nearest_pool_that_is_not_refused(name):
    spec, sizes, pads = NEIGHBOURS[name]
    assert spec.resolve(sizes).pads == pads


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"kernel_shape": ()}, "1, 2 or 3 axes, not 0"),
        ({"kernel_shape": (2, 2, 2, 2)}, "1, 2 or 3 axes, not 4"),
        ({"kernel_shape": (2, 2), "strides": (2,)}, "strides must have 2 entries"),
        ({"kernel_shape": (2,), "pads": ((0, 0), (0, 0))}, "pads must have 1 entries"),
        ({"kernel_shape": (2,), "dilations": (1, 1)}, "dilations must have 1 entries"),
        ({"kernel_shape": (0,)}, "at least 1"),
        ({"kernel_shape": (2,), "strides": (0,)}, "at least 1"),
        ({"kernel_shape": (2,), "dilations": (-1,)}, "at least 1"),
        ({"kernel_shape": (2,), "pads": ((0, -1),)}, "must not be negative"),
        ({"kernel_shape": (2,), "auto_pad": "SAME"}, "auto_pad must be"),
    ],
)
def test_usage_errors(arguments, says):
    with pytest.raises(UsageError, match=says):
        PoolSpec(**arguments)


def test_defaults_are_filled_in():
    spec = PoolSpec((3, 2))
    assert (spec.strides, spec.dilations, spec.pads, spec.rank) == ((1, 1), (1, 1), ((0, 0), (0, 0)), 2)


def runtime_pool(x, spec):
    """The pool as ONNX Runtime computes it, its optimiser off."""
    attributes = {"kernel_shape": spec.kernel_shape, "strides": spec.strides, "ceil_mode": int(spec.ceil_mode)}
    attributes |= {"dilations": spec.dilations, "auto_pad": spec.auto_pad}
    if spec.auto_pad == "NOTSET":
        attributes["pads"] = [begin for begin, _ in spec.pads] + [end for _, end in spec.pads]
    if spec.kind == "average":
        attributes["count_include_pad"] = int(spec.count_include_pad)
    op = "MaxPool" if spec.kind == "max" else "AveragePool"
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], **attributes)],
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_the_oracle_is_onnx_runtime():
    draws, rng = random.Random(1), np.random.default_rng(1)  # noqa: S311
    # ONNX Runtime takes no pads >= kernel, and no SAME_* that leaves elements out
    every = [spec for spec in sweep() if max(spec.pads[0]) < spec.kernel_shape[0]]
    every = [spec for spec in every if "SAME" not in spec.auto_pad or spec.kernel_shape >= spec.strides]
    specs = draws.sample(every, 200)
    specs += [PoolSpec((3, 2), (2, 3), ((1, 0), (0, 1)), (1, 2), ceil_mode=True), PoolSpec((2, 3, 1), (1, 2, 2))]
    compared = 0
    for spec in specs:
        sizes = tuple(draws.randint(2, 9) for _ in spec.kernel_shape)
        if not empty(spec, sizes):
            x = draw(rng, (1, 2, *sizes), "negative", "float32")
            expected = pool(x, spec)
            assert np.array_equal(runtime_pool(x, spec), expected), f"{label(spec)} sizes {sizes}"
            compared += 1
    assert compared > 150


@pytest.mark.parametrize("count_include_pad", [False, True])
def test_the_average_oracle_is_onnx_runtime(count_include_pad):
    rng = np.random.default_rng(2)
    for kernel, stride, pads, auto_pad in [
        (3, 2, (1, 1), "NOTSET"),
        (2, 1, (1, 0), "NOTSET"),
        (3, 2, (0, 0), "SAME_UPPER"),
        (4, 3, (0, 0), "SAME_LOWER"),
        (3, 1, (0, 0), "VALID"),
    ]:
        spec = PoolSpec(
            (kernel,) * 2,
            (stride,) * 2,
            (pads,) * 2 if auto_pad == "NOTSET" else (),
            auto_pad=auto_pad,
            kind="average",
            count_include_pad=count_include_pad,
        )
        x = draw(rng, (1, 2, 7, 8), "integers", "float32")
        # sums of at most 16 integers are exact, so only the division rounds
        assert np.abs(runtime_pool(x, spec) - pool(x, spec)).max() <= 100 * 2.0**-23, label(spec)
