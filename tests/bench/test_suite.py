"""The files of benchmarks/: they time what they say, and refuse what is wrong. No time is asserted."""

import json
import sys
from collections import Counter
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from test_golden import compare

from depool.bench.timing import Spread
from depool.errors import NotEqual
from depool.onnx import files
from depool.onnx.convert import Options, convert_model
from depool.onnx.find import Selection
from depool.onnx.graph import attributes

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import architectures  # noqa: E402
import converter  # noqa: E402
import geometries  # noqa: E402
import graphs  # noqa: E402
import keras_pools  # noqa: E402
import limits  # noqa: E402
import onnxruntime_passes  # noqa: E402
import plans  # noqa: E402
import rows  # noqa: E402
import runtime  # noqa: E402
import suite  # noqa: E402
import torch_pools  # noqa: E402
from peer import peer  # noqa: E402

sys.path.remove(str(BENCHMARKS))
QUICK = rows.Effort(0.0)
TINY = (geometries.square(4, 9, 2, 2), geometries.square(4, 9, 3, 2, 1))


def run(model, x):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, {"x": x}
    )


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 1, 1), (5, 1, 2)])
def test_the_peer_is_a_max_pool_of_three_maps_per_pair(kernel, stride, pad):
    low = 0 if pad else -100
    x = np.random.default_rng(0).integers(low, 100, (2, 3, 9, 8)).astype(np.float32)
    window = ([kernel] * 2, [stride] * 2, [pad] * 4)
    model = peer(x.shape, *window)
    assert np.array_equal(*run(model, x), *run(graphs.pool_alone(x.shape, *window), x))
    assert {node.op_type for node in model.graph.node} == {"Conv", "Relu"}
    assert all(attributes(node).get("group", 1) == 1 for node in model.graph.node)
    wide = [tensor.dims[0] for tensor in model.graph.initializer]
    values, relus = kernel**2, 0
    while values > 1:
        values = (values + 1) // 2
        relus += 3 * values
    assert sum(wide[:-1]) == 3 * relus  # of 3 channels
    assert relus == {2: 9, 3: 33, 5: 81}[kernel]


@pytest.mark.parametrize(
    ("name", "parameters", "pools"),
    [
        ("resnet50", 25_557_032, {(3, 2, 0): 1}),
        ("squeezenet 1.1", 1_235_496, {(3, 2, 1): 3}),
        ("inception v1", 6_998_552, {(3, 2, 1): 4, (3, 1, 0): 9}),
    ],
)
def test_architectures_have_the_published_size(name, parameters, pools):
    model = architectures.ARCHITECTURES[name]()
    statistics = ("mean", "variance")
    sizes = [prod(t.dims) for t in model.graph.initializer if not t.name.startswith(statistics)]
    assert sum(sizes) == parameters
    found = [attributes(node) for node in model.graph.node if node.op_type == "MaxPool"]
    assert Counter((a["kernel_shape"][0], a["strides"][0], a["ceil_mode"]) for a in found) == pools
    (scores,) = run(model, np.random.default_rng(0).normal(size=architectures.SHAPE).astype(np.float32))
    assert scores.shape == (1, 1000)
    assert np.isfinite(scores).all()
    assert scores.std() > 1e-3


def test_vgg19_has_the_published_size():
    sixteen = [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), *[(256, 256)] * 3, (512, 256), *[(512, 512)] * 7]
    model = architectures.vgg19()
    assert [tuple(t.dims[:2]) for t in model.graph.initializer if len(t.dims) == 4] == sixteen
    assert sum(prod(t.dims) for t in model.graph.initializer) == 143_667_240
    assert sum(node.op_type == "MaxPool" for node in model.graph.node) == 5


@pytest.fixture
def tiny(monkeypatch):
    """The suite on two small pools."""
    monkeypatch.setattr(runtime, "MAIN", TINY)
    monkeypatch.setattr(runtime, "WILD", (*TINY, geometries.Geometry("3-D", (1, 2, 4, 6, 6), (1, 3, 3), (1, 2, 2))))
    monkeypatch.setattr(runtime, "PEER", TINY)
    monkeypatch.setattr(runtime, "GRID", TINY)
    monkeypatch.setattr(runtime, "PYRAMID", ("SPP", (1, 4, 8, 8)))


def names(found):
    """Candidates by case."""
    return {case: [row.candidate for row in found if row.case == case] for case in dict.fromkeys(r.case for r in found)}


def test_sections_of_the_runtime(tiny):
    del tiny
    alone = names(list(runtime.alone(QUICK)))
    assert {"native", "depool", "tree", "separable", "shallow", "published network"} <= set(alone[TINY[0].name])
    assert list(alone) == [TINY[0].name, TINY[1].name, f"{TINY[1].name} signed", "SPP"]
    assert alone["SPP"] == ["native", "depool", "native, 5 after 5 after 5"]
    between = names(list(runtime.context(QUICK)))
    assert list(between) == [TINY[0].name, TINY[1].name, f"{TINY[1].name} signed", "SPP"]
    assert len(names(list(runtime.wild(QUICK)))) == 3
    assert set(names(list(runtime.grid(QUICK)))[TINY[1].name]) >= {"native", "depool", "tree", "separable", "shallow"}
    assert len({geometry.name for geometry in geometries.GRID}) == 60
    found = list(runtime.against_peer(QUICK))
    assert [row.candidate for row in found[:3]] == ["native", "depool", "dense sequential"]
    assert {row.base for row in found} == {"depool"}


def test_whole_models_of_a_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "ARCHITECTURES", {})
    onnx.save(graphs.pool_alone((1, 2, 8, 8), *TINY[0].window), tmp_path / "one.onnx")
    found = list(runtime.whole(QUICK, tmp_path))
    assert [(row.case, row.candidate) for row in found] == [("one", "native"), ("one", "depool")]
    assert list(runtime.whole(QUICK, None)) == []


def test_a_wrong_conversion_is_refused(tiny, monkeypatch):
    del tiny

    def wrong(source, options):
        made = convert_model(source, options)
        tensor = made.model.graph.initializer[-1]
        tensor.CopyFrom(numpy_helper.from_array(1.5 * numpy_helper.to_array(tensor), tensor.name))
        return made

    monkeypatch.setattr(runtime, "convert_model", wrong)
    with pytest.raises(NotEqual, match="not timed"):
        list(runtime.wild(QUICK))


def test_a_wrong_peer_is_refused(tiny, monkeypatch):
    del tiny
    monkeypatch.setattr(runtime, "peer", lambda shape, *_: graphs.pool_alone(shape, (2, 2), (2, 2)))
    with pytest.raises(ValueError, match="dense sequential is no max pool"):
        list(runtime.against_peer(QUICK))


@pytest.fixture
def threads():
    """PyTorch's number of threads, which the suite sets, is as before."""
    before = torch_pools.torch.get_num_threads()
    yield
    torch_pools.torch.set_num_threads(before)


def test_section_of_torch(monkeypatch, threads):
    del threads
    monkeypatch.setattr(torch_pools, "MAIN", TINY)
    found = list(torch_pools.eager(QUICK))
    assert Counter((row.section, row.candidate) for row in found) == Counter(
        {(f"torch {name}", candidate): 2 for name in ("NCHW", "channels_last") for candidate in ("native", "depool")}
    )
    monkeypatch.setattr(torch_pools.depool.torch, "convert", lambda model, **_: type(model)())
    with pytest.raises((ValueError, RuntimeError)):
        list(torch_pools.eager(QUICK))


def test_section_of_keras(monkeypatch):
    from keras_backend import BACKEND

    if BACKEND not in {"tensorflow", "jax"}:
        pytest.skip("the suite compiles for TensorFlow and JAX")
    monkeypatch.setattr(keras_pools, "KERAS", TINY)
    found = list(keras_pools.pools(BACKEND, QUICK))
    assert [(row.section, row.candidate) for row in found] == 2 * [
        (f"keras {BACKEND}", c) for c in ("native", "depool")
    ]


def row(section, case, candidate, ratio, seconds=0.01):
    return rows.Row(
        section, case, candidate, "native", Spread(seconds, seconds, seconds), Spread(ratio, ratio, ratio), 5
    )


def test_limits_are_held_against_what_was_measured():
    case, padded = geometries.MAIN[0].name, geometries.MAIN[2].name
    found = [
        row("alone", case, "depool", 1.49),
        row("context", padded, "depool", 1.02), row("context", f"{padded} signed", "depool", 1.33),
        row("peer", geometries.PEER[0].name, "dense sequential", 9.0),
        *[row("whole", "slow", name, r) for name, r in (("native", 1.0), ("depool", 1.00))],
        *[row("whole", "other", name, r) for name, r in (("native", 1.0), ("depool", 1.21))],
        *[row("whole", "quick", name, r, 1e-4) for name, r in (("native", 1.0), ("depool", 9.0))],
        row("torch NCHW", case, "depool", 0.2), row("torch NCHW", padded, "depool", 0.8),
        *[row("grid", "a", name, r) for name, r in (("native", 1.0), ("depool", 2.0), ("tree", 3.0))],
        *[row("grid", "b", name, r) for name, r in (("native", 1.0), ("depool", 2.05), ("tree", 2.0))],
        *[row("grid", "c", name, r) for name, r in (("native", 1.0), ("depool", 2.5), ("tree", 2.0))],
    ]  # fmt: skip
    made = {target.what: target for target in limits.targets(found)}
    assert {what: (target.measured, target.limit, target.met) for what, target in made.items()} == {
        f"alone: {case}": (1.49, 1.5, True),
        f"context: {padded}": (1.02, 1.04, True),
        f"context: {padded}, signed to non-negative": (pytest.approx(1.33 / 1.02), 1.3, False),
        f"peer: {geometries.PEER[0].name}, dense sequential to depool": (9.0, 10.0, False),
        "whole: geometric mean of the models over 1 ms": (pytest.approx(1.1), 1.02, False),
        "whole: slow": (1.0, 1.08, True),
        "whole: other": (1.21, 1.08, False),
        "grid: share of 3 pools whose fastest candidate is chosen": (pytest.approx(2 / 3), 0.9, False),
        "torch NCHW: geometric mean": (pytest.approx(0.4), 0.35, False),
    }
    assert made[f"alone: {case}"].stretch == 1.2


def test_rows_survive_the_way_between_processes(capsys):
    found = [row("alone", "a", "depool", 1.5), row("alone", "a", "native", 1.0)]
    rows.dump(found)
    assert rows.loaded(capsys.readouterr().out) == found


def test_the_suite_writes_everything(tiny, monkeypatch, tmp_path, capsys):
    del tiny
    path = tmp_path / "out.json"
    command = ["suite.py", "--section", "peer", "--section", "wild", "--seconds", "0.001", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", command)
    suite.main()
    found = json.loads(path.read_text())
    assert set(found) == {"depool", "machine", "seconds", "clock", "threads", "rows", "targets"}
    assert {item["section"] for item in found["rows"]} == {"peer", "wild"}
    assert {"cpu", "onnxruntime", "torch"} <= set(found["machine"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    monkeypatch.setattr(sys, "argv", ["suite.py", "--section", "nothing"])
    with pytest.raises(SystemExit):
        suite.main()
    assert "no such section: nothing" in capsys.readouterr().err


def test_the_converter_is_run_on_what_it_says(tmp_path):
    path = tmp_path / "stack.onnx"
    onnx.save(converter.stack(12), path)
    assert sum(node.op_type == "MaxPool" for node in onnx.load(path).graph.node) == 12
    made = converter.converted(path, 12)
    assert (made.pools, made.weights) == (12, 0)
    assert made.seconds > 0
    assert "MaxPool" not in {node.op_type for node in onnx.load(tmp_path / "stack.depool.onnx").graph.node}
    with pytest.raises(RuntimeError, match="exits with 5"):
        converter.converted(path, 12)  # the converted file exists


def test_the_heavy_model_is_sparse_and_converts(tmp_path):
    path = converter.heavy(tmp_path, 1.0)
    data = tmp_path / "heavy.bin"
    assert data.stat().st_size == 2**30
    assert data.stat().st_blocks * 512 < 2**20
    source = files.read(path)
    made = convert_model(source, Options())
    assert len(made.records) == 2


def test_the_clock_that_was_asked_for_is_read(monkeypatch):
    now = [0.0]
    monkeypatch.setitem(rows.CLOCKS, "processor", lambda: now[0])

    def call():
        now[0] += 7.0

    assert rows.Effort(0.0, "processor").time({"one": call}).time("one").median == 7.0
    assert rows.Effort(0.0, "wall").time({"one": call}).time("one").median < 7.0
    assert rows.CLOCKS.keys() == {"wall", "processor"}


def test_the_plans_of_common_pools(capsys):
    plans.main()
    compare("plans", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("size", "kernel", "pad", "expected"),
    [
        (8, 2, 0, {(1, 1)}),
        (9, 3, 0, {(2, 1), (1, 2)}),  # one element more than the windows of one element would end with
        (8, 3, 1, {(1, 1)}),
        (8, 3, -1, {(2, 1), (1, 2)}),  # signed: elements of the border are picked by two taps
    ],
)
def test_the_fewest_taps_that_give_results_of_the_same_sizes(size, kernel, pad, expected):
    model = graphs.pool_alone((1, 8, size, size), [kernel] * 2, [2, 2], [abs(pad)] * 4)
    selection = Selection(nonnegative=pad >= 0)
    made = convert_model(files.Source(model, Path(), "test"), Options(selection=selection)).model
    least = onnxruntime_passes.fewest_taps(made)
    x = np.ones((1, 8, size, size), np.float32)
    assert run(least, x)[0].shape == run(made, x)[0].shape
    assert [node.op_type for node in least.graph.node] == [node.op_type for node in made.graph.node]
    assert {tuple(attributes(node)["kernel_shape"]) for node in least.graph.node if node.op_type == "Conv"} == expected
    ran = onnxruntime_passes.profile(made, {"x": x})
    assert sum("Conv" in node.what.split()[0] for node in ran) == sum(n.op_type == "Conv" for n in made.graph.node)
    assert all(node.size > 0 for node in ran)
