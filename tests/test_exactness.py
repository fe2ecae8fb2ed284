"""What is said of exactness and of bounds holds: samples of the benchmarks, constructed adversaries, printed counts.

benchmarks/exhaustive.py and benchmarks/bounds.py do the same at full size, in minutes; here their own functions run on
samples, and are shown to notice what is wrong.
"""

import importlib.util
import json
import sys
from ast import literal_eval
from dataclasses import replace
from itertools import combinations, product
from math import inf
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

import depool
from depool.choose import synthesize
from depool.cli import main
from depool.gates import CLOSING
from depool.geometry import PoolSpec
from depool.numerics import largest
from depool.program import Conv

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for themselves
    spec.loader.exec_module(module)
    return module


exhaustive, bounds = load("exhaustive"), load("bounds")


@pytest.mark.parametrize("dtype", exhaustive.FLOATS)
@pytest.mark.parametrize("gate", ["Y", "K"])
@pytest.mark.parametrize("form", exhaustive.FORMS)
def test_exact_gates_on_a_sample_of_all_pairs(dtype, gate, form):
    row = exhaustive.check_gate(exhaustive.Task(dtype, gate, form, 250))
    assert row.cases > 60_000
    assert (row.wrong, row.first, row.complete) == (0, "", False)


@pytest.mark.parametrize("dtype", exhaustive.FLOATS)
def test_the_same_pairs_show_that_the_plain_gate_rounds(dtype):
    row = exhaustive.check_gate(exhaustive.Task(dtype, "pair", "branched", 250))
    assert row.wrong > row.cases / 1000
    a, b = literal_eval(row.first.removeprefix("max"))
    got = exhaustive.gate_program(dtype, "pair", "branched")(
        np.array([a, b]).astype(exhaustive.values(dtype, "K").dtype).reshape(1, 1, 2, 1)
    )
    assert float(got.item()) != max(a, b)


@pytest.mark.parametrize(
    ("dtype", "gate", "count", "least", "most"),
    [
        ("float16", "Y", 61_440, -32752.0, 32752.0),
        ("float16", "K", 31_745, 0.0, 65504.0),
        ("bfloat16", "Y", 65_024, -(2.0**127 - 2.0**119), 2.0**127 - 2.0**119),
        ("bfloat16", "K", 32_641, 0.0, 2.0**128 - 2.0**120),
    ],
)
def test_the_full_run_takes_all_values_there_are(dtype, gate, count, least, most):
    found = exhaustive.values(dtype, gate).astype(np.float64)
    assert len(found) == count
    assert (found[0], found[-1]) == (least, most)
    assert (np.diff(found) >= 0).all()
    assert np.count_nonzero(np.diff(found) == 0) == np.count_nonzero(found == 0) - 1 == 1  # 0 and -0
    sample = exhaustive.values(dtype, gate, 50).astype(np.float64)
    assert {found[0], found[1], found[-1], found[-2], 0.0} <= set(sample.tolist()) <= set(found.tolist())


@pytest.mark.parametrize("dtype", exhaustive.INTEGERS)
def test_every_pair_of_integers_stands_in_every_two_positions(dtype):
    windows = exhaustive.integer_windows(dtype).reshape(-1, 4).astype(np.int64)
    lowest = np.iinfo(dtype).min
    for i, j in combinations(range(4), 2):
        others = [k for k in range(4) if k not in {i, j}]
        alone = windows[(windows[:, others] == lowest).all(axis=1)]
        assert len(np.unique(alone[:, i] * 256 + alone[:, j])) == 65_536


@pytest.mark.parametrize("dtype", exhaustive.INTEGERS)
def test_integer_pools_on_a_sample_of_those_windows(dtype):
    rows = list(exhaustive.check_integers(dtype, sample=20_000))
    assert {row.what for row in rows} == {"MaxPool 2x2", "QDQ 2x2"}
    assert len(rows) == 2 * 4
    assert all((row.wrong, row.cases, row.complete) == (0, 20_000, False) for row in rows)


def test_a_wrong_pair_makes_the_benchmark_fail(monkeypatch, tmp_path, capsys):
    arguments = ["--sample", "20", "--gates", "Y", "--dtypes", "float16", "--jobs", "1", "--json"]
    assert exhaustive.main([*arguments, str(tmp_path / "right.json")]) == 0
    monkeypatch.setattr(exhaustive, "gate_program", lambda dtype, gate, form: synthesize(PoolSpec((2, 1)), "tree"))  # noqa: ARG005
    assert exhaustive.main([*arguments, str(tmp_path / "wrong.json")]) == 1
    assert "first: max(" in capsys.readouterr().out
    right, wrong = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("right", "wrong"))
    assert right["wrong"] == 0 < wrong["wrong"] == sum(row["wrong"] for row in wrong["rows"])
    assert [row["cases"] for row in right["rows"]] == [row["cases"] for row in wrong["rows"]]


MEASURED = (("branched", "auto"), ("branched", "shallow"), ("sequential", "tree"))


@pytest.mark.parametrize("dtype", bounds.DTYPES)
@pytest.mark.parametrize("sign", bounds.SIGNS)
def test_no_geometry_exceeds_its_bound(dtype, sign):
    windows, reached = 0, []
    for name, (form, scheme) in product(bounds.GEOMETRIES, MEASURED):
        if scheme == "shallow" and name == "13x13/1 p6":
            continue  # seconds to build; the benchmark runs it
        row = bounds.measure(bounds.Variant(name, form, scheme, sign, dtype), 1000, seed=1)
        assert row.ratio <= 1, row
        windows += row.windows
        reached.append(row.ratio)
        assert row.bound > 0 or name == "1x1/2"
    assert windows > 50_000
    assert max(reached) > (0.99 if sign == "signed" and dtype != "bfloat16" else 0.4)
    assert sum(ratio > 0 for ratio in reached) >= 50


def test_a_bound_that_is_too_small_makes_the_benchmark_fail(monkeypatch, tmp_path, capsys):
    arguments = ["--windows", "2000", "--geometry", "2x2/2", "--dtypes", "float32", "--forms", "branched"]
    arguments += ["--schemes", "tree", "--json", str(tmp_path / "bounds.json")]
    assert bounds.main(arguments) == 0
    true = bounds.conversion

    def halved(variant):
        found = true(variant)
        steps = found.program.rounding.steps[:1]  # one level of two
        return replace(found, program=replace(found.program, rounding=replace(found.program.rounding, steps=steps)))

    monkeypatch.setattr(bounds, "conversion", halved)
    assert bounds.main(arguments) == 1
    printed = capsys.readouterr().out
    assert "EXCEEDED: 2x2/2 branched tree float32 signed" in printed
    assert json.loads((tmp_path / "bounds.json").read_text())["exceeded"] == 1


def test_an_error_where_none_is_promised_is_noticed(monkeypatch):
    variant = bounds.Variant("2x2/2", "branched", "tree", "signed", "float32")
    true = bounds.conversion(variant)
    silent = replace(true.program, rounding=replace(true.program.rounding, steps=()))
    assert silent.rounding.bit_exact
    monkeypatch.setattr(bounds, "conversion", lambda _: replace(true, program=silent))
    assert bounds.measure(variant, 2000).ratio == inf


# found by benchmarks/bounds.py --adversary: (kernel, window, share of the bound, ulps of the maximum)
ADVERSARIES = {
    "2x2 signed": (
        2,
        """0x1.0000020000000p+0 -0x1.0000020000000p-1
        -0x1.0000020000000p+0 -0x1.0000020000000p+0""",
        0.999,
        2,
    ),
    "2x2 positive": (
        2,
        """0x1.4648560000000p+0 0x1.464da00000000p-5
        0x1.464da00000000p-5 0x1.464d940000000p-5""",
        0.25,
        1,
    ),
    "3x3 signed": (
        3,
        """0x1.0000020000000p+0 -0x1.0000020000000p-1 -0x1.0000020000000p+0
        -0x1.0000020000000p+0 -0x1.0000020000000p+0 -0x1.0000020000000p+0
        -0x1.0000020000000p-1 -0x1.0000020000000p+0 -0x1.fffffc0000000p-1""",
        0.999,
        4,
    ),
    "3x3 positive": (
        3,
        """0x1.21ca360000000p-15 0x1.21ca2e0000000p-13 0x1.21ca2e0000000p-12
        0x1.21ca2a0000000p-13 0x1.21c6120000000p-1 0x1.21ca260000000p-12
        0x1.21ca2e0000000p-12 0x1.21ca2e0000000p-13 0x1.21ca300000000p-5""",
        0.2,
        1,
    ),
}


@pytest.mark.parametrize("name", ADVERSARIES)
def test_constructed_windows_reach_the_bound_of_the_pair_tree(name):
    kernel, text, share, ulps = ADVERSARIES[name]
    x = np.array([float.fromhex(word) for word in text.split()], np.float32).reshape(1, 1, kernel, kernel)
    lower = 0.0 if name.endswith("positive") else -inf
    assert x.min() >= lower
    program = synthesize(PoolSpec((kernel, kernel), (kernel, kernel)), "tree", "branched", lower_bound=lower)
    error = abs(float(program(x).item()) - float(x.max()))
    bound = program.error_bound(float(np.abs(x).max()))
    assert share <= error / bound <= 1
    assert error == ulps * float(np.spacing(x.max()))


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"])
def test_they_reach_it_in_onnx_runtime_too(level, tmp_path):
    for name, (kernel, text, share, ulps) in ADVERSARIES.items():
        x = np.array([float.fromhex(word) for word in text.split()], np.float32).reshape(1, 1, kernel, kernel)
        onnx.save(one_pool(kernel, 1, kernel), tmp_path / "one.onnx")
        result = depool.convert(
            tmp_path / "one.onnx", tmp_path / "two.onnx", scheme="tree", form="branched", verify=False, force=True,
            assume_nonnegative=name.endswith("positive"),
        )  # fmt: skip
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        session = ort.InferenceSession(str(result.path), options, providers=["CPUExecutionProvider"])
        (got,) = session.run(None, {"x": x})
        error = abs(float(got.item()) - float(x.max()))
        (record,) = result.records
        assert error == ulps * float(np.spacing(x.max()))
        assert share <= error / record.rounding_bound(np.abs(x).max(), np.float32) <= 1


def test_the_search_finds_such_windows():
    share, window = bounds.climb("signed", 2, rounds=40)
    assert share > 0.9
    assert len(window) == 4
    share, window = bounds.climb("positive", 2, rounds=40)
    x = np.array(window, np.float32).reshape(1, 1, 2, 2)
    assert x.min() >= 0
    got = synthesize(PoolSpec((2, 2), (2, 2)), "tree", "branched", lower_bound=0.0)(x)
    assert abs(float(got.item()) - float(x.max())) == float(np.spacing(x.max()))


def one_pool(kernel, stride, size, channels=1):
    node = helper.make_node("MaxPool", ["x"], ["y"], name="pool", kernel_shape=[kernel] * 2, strides=[stride] * 2)
    float32 = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", float32, [1, channels, size, size])],
        [helper.make_tensor_value_info("y", float32, [1, channels, None, None])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


COUNTS = [  # math.md, section 3: (scheme, kernel, ReLU layers, neurons for any sign, neurons for inputs >= 0)
    ("tree", 2, 2, 9, 6),
    ("tree", 3, 4, 30, 19),
    ("tree", 5, 5, 78, 51),
    ("shallow", 2, 2, 9, 6),
    ("shallow", 3, 3, 33, 26),
    ("shallow", 5, 4, 114, 102),
]


@pytest.mark.parametrize(("scheme", "kernel", "layers", "signed", "positive"), COUNTS)
def test_what_inspect_prints(scheme, kernel, layers, signed, positive, tmp_path, monkeypatch, capsys):
    path = tmp_path / "one.onnx"
    onnx.save(one_pool(kernel, kernel, 4 * kernel, 3), path)
    for extra, neurons in (((), signed), (("--assume-nonnegative",), positive)):
        arguments = ["inspect", str(path), "--scheme", scheme, "--form", "sequential", *extra]
        monkeypatch.setattr(sys, "argv", ["depool", *arguments])
        monkeypatch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 0
        assert f"{layers} ReLU layers, {neurons} ReLUs per output" in capsys.readouterr().out
        bound = 0.0 if extra else -inf
        program = synthesize(PoolSpec((kernel,) * 2, (kernel,) * 2), scheme, "sequential", lower_bound=bound)
        assert (program.relu_layers, program.relus_per_output) == (layers, neurons)


def test_the_five_way_gate_and_the_reach_of_each_depth():
    for elements, layers in ((2, 1), (3, 2), (5, 2), (6, 3), (12, 3), (13, 4), (30, 4), (31, 5)):
        for form in ("branched", "sequential"):
            program = synthesize(PoolSpec((elements,)), "shallow", form)
            assert (elements, program.relu_layers) == (elements, layers)
    neurons = [
        synthesize(PoolSpec((5,)), "shallow", "sequential", lower_bound=bound).relus_per_output for bound in (-inf, 0.0)
    ]
    assert neurons == [19, 17]


GRID = np.array(list(product(range(-2, 3), repeat=5)))


def closing(points, gate=CLOSING):
    """Twice what the gate's row says, read literally, on integer columns e, x0 .. x3."""
    e, *x = points.T
    known = {"e": e, "p": np.maximum(x[0], x[2]), "q": np.maximum(x[1], x[3])}
    known |= {f"m{i}": np.maximum(e, x[i]) for i in range(4)}
    assert set(known) == set(gate.args)
    (layer,) = gate.layers
    after = {name: np.maximum(linear(row, known), 0) for name, row in layer.relu.items()}
    after |= {name: linear(row, known) for name, row in layer.keep.items()}
    return linear({name: 2 * c for name, c in gate.output.items()}, after)


def linear(row, known):
    assert all(c == int(c) for c in row.values())
    return sum(int(c) * known[name] for name, c in row.items())


def rays(count, elements, seed=0, least=-1000):
    """Random directions, most with ties and zeros, scaled to integers of up to 10^9."""
    rng = np.random.default_rng(seed)
    small = rng.integers(least, 1001, (count, elements))
    small[: count // 2] = rng.integers(max(least, -2), 3, (count // 2, elements))
    return small * rng.integers(1, 10**6, (count, 1))


def test_the_identity_of_the_closing_gate():
    for points in (GRID, rays(4000, 5)):
        assert (closing(points) == 2 * points.max(axis=1)).all()


def test_every_coefficient_of_the_closing_gate_is_needed():
    (layer,) = CLOSING.layers
    rows = [("relu", name, arg) for name, row in layer.relu.items() for arg in row]
    assert len(rows) == 4 * 2 + 3 + 2 * 4
    for _, name, arg in rows:
        row = {**layer.relu[name], arg: -layer.relu[name][arg]}
        gate = replace(CLOSING, layers=(replace(layer, relu={**layer.relu, name: row}),))
        assert (closing(GRID, gate) != 2 * GRID.max(axis=1)).any()
    for name in CLOSING.output:
        gate = replace(CLOSING, output={**CLOSING.output, name: -CLOSING.output[name]})
        assert (closing(GRID, gate) != 2 * GRID.max(axis=1)).any()


@pytest.mark.parametrize("form", ["branched", "concat", "sequential"])
@pytest.mark.parametrize("positive", [False, True])
def test_shallow_programs_on_integers(form, positive):
    """The five-way gate on its whole grid; overlapping groups of 12 and 30 elements on random integers."""
    least = 0 if positive else -1000
    for elements, depth in ((5, 2), (12, 3), (30, 4)):
        program = synthesize(PoolSpec((elements,)), "shallow", form, lower_bound=0.0 if positive else -inf)
        assert program.relu_layers == depth
        points = rays(3000, elements, seed=elements, least=least).astype(np.float64)
        if elements == 5:
            points = np.concatenate([points, GRID + 2 if positive else GRID])
        assert np.array_equal(program(points[:, None])[:, 0, 0], points.max(axis=1))


def test_a_missing_element_of_an_overlapping_group_is_noticed():
    """The integers above can tell: without any one of the twelve taps some maximum is wrong."""
    program = synthesize(PoolSpec((12,)), "shallow", "branched")
    points = rays(3000, 12, seed=12).astype(np.float64)
    for tap in range(12):
        nodes = tuple(
            replace(node, kernel=np.where(np.arange(12) == tap, 0, node.kernel))
            if isinstance(node, Conv) and node.source == 0 else node
            for node in program.nodes
        )  # fmt: skip
        broken = replace(program, nodes=nodes)
        assert (broken(points[:, None])[:, 0, 0] != points.max(axis=1)).any()


def special(tmp_path, **arguments):
    """Each special value in a pool of three channels: what `verify --nonfinite` shows."""
    onnx.save(one_pool(3, 2, 9, 3), tmp_path / "one.onnx")
    depool.convert(tmp_path / "one.onnx", tmp_path / "two.onnx", verify=False, force=True, **arguments)
    verdict = depool.verify(tmp_path / "one.onnx", tmp_path / "two.onnx", nonfinite=True)
    # nothing of this is judged; drawn inputs may lie outside what a case declares
    assert verdict.equal is (None if arguments.get("assume_nonnegative") else True)
    return {check.value: check for check in verdict.special}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("positive", [False, True])
def test_what_the_promise_covers_does_not_differ(exact, positive, tmp_path):
    found = special(tmp_path, exact=exact, assume_nonnegative=positive)
    covered = {value for value, check in found.items() if check.promised}
    assert covered >= {"smallest subnormal", "largest promised"}
    assert ("-0" in covered) == (not positive)
    assert ("largest finite" in covered) == (exact and positive)
    assert all(found[value].differ == 0 for value in covered)
    assert all(not found[value].promised for value in ("inf", "NaN"))


def test_one_infinity_spoils_its_windows_and_in_dense_kernels_every_channel(tmp_path):
    grouped, dense = (special(tmp_path, channels=layout)["inf"] for layout in ("grouped", "dense"))
    for check in (grouped, dense):
        assert "inf" in check.native
        assert "NaN" not in check.native
        assert "NaN" in check.converted
        assert 0 < check.differ <= check.outputs
    assert (grouped.channels, dense.channels) == (1, 3)
    assert special(tmp_path)["NaN"].differ > 0


def test_no_convolution_returns_minus_zero(tmp_path):
    """Hence == and not bits: the sums 0 + -0 and r(-0) are 0."""
    check = special(tmp_path)["-0"]
    assert "-0" in check.native
    assert "-0" not in check.converted
    assert check.differ == 0


def test_beyond_the_promise_gate_y_overflows():
    program = synthesize(PoolSpec((2,)), exact=True)
    most = np.float32(largest("float32"))
    x = np.array([[[most, -most]], [[most / 2, -most / 2]]], np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        beyond, within = program(x)[:, 0, 0]
    assert within == most / 2
    assert beyond != most
