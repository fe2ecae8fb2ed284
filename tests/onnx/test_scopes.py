"""Pools in subgraphs and model-local functions, at any depth: found, converted in place, and verified there."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import parser

import depool
from depool.errors import NotConverted
from depool.onnx.graph import scopes

GRAPH = '<ir_version: 8, opset_import: ["" : 13, "loc" : 1]>\n'
FUNCTION = '<domain: "loc", opset_import: ["" : 13, "loc" : 1]>\n'
POOL = "MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>"
HALF = "MaxPool <kernel_shape = [2, 2], strides = [2, 2]>"
X = "float[1,2,6,6]"

CASES = {
    "both branches of an If": (
        f"""{GRAPH} g ({X} x, bool c) => ({X} y) {{
            [choice] y = If (c) <
                then_branch = yes () => ({X} a) {{ [pool] a = {POOL}(x) }},
                else_branch = no () => ({X} b) {{ n = Neg(x) [pool] b = {POOL}(n) }}> }}""",
        ["choice/then_branch/pool", "choice/else_branch/pool"],
    ),
    "around and inside an If": (
        f"""{GRAPH} g ({X} x, bool c) => ({X} y) {{
            [before] p = {POOL}(x)
            [choice] q = If (c) <
                then_branch = yes () => ({X} a) {{ [inside] a = {POOL}(p) }},
                else_branch = no () => ({X} b) {{ b = Neg(p) }}>
            [after] y = {POOL}(q) }}""",
        ["before", "after", "choice/then_branch/inside"],
    ),
    "an If without a name, moved by the pool before it": (
        f"""{GRAPH} g ({X} x, bool c) => ({X} y) {{
            [before] p = {POOL}(x)
            y = If (c) <
                then_branch = yes () => ({X} a) {{ [inside] a = {POOL}(p) }},
                else_branch = no () => ({X} b) {{ b = Neg(p) }}> }}""",
        ["before", "If:y/then_branch/inside"],
    ),
    "two Ifs without a name": (
        f"""{GRAPH} g ({X} x, bool c) => ({X} y) {{
            p = If (c) <
                then_branch = yes () => ({X} a) {{ [pool] a = {POOL}(x) }},
                else_branch = no () => ({X} b) {{ b = Neg(x) }}>
            y = If (c) <
                then_branch = again () => ({X} d) {{ [pool] d = {POOL}(p) }},
                else_branch = never () => ({X} e) {{ e = Neg(p) }}> }}""",
        ["If:p/then_branch/pool", "If:y/then_branch/pool"],
    ),
    "the body of a Loop": (
        f"""{GRAPH} g ({X} x, bool c) => ({X} y) <int64 trips = {{2}}> {{
            [loop] y = Loop (trips, c, x) <
                body = step (int64 i, bool go, {X} s) => (bool on, {X} t) {{
                    on = Identity(go) [pool] t = {POOL}(s) }}> }}""",
        ["loop/body/pool"],
    ),
    "the body of a Scan": (
        f"""{GRAPH} g (float[3,1,2,6,6] x, bool c) => (float[3,1,2,6,6] y) {{
            [scan] y = Scan <num_scan_inputs = 1,
                body = step ({X} s) => ({X} t) {{ [pool] t = {POOL}(s) }}> (x) }}""",
        ["scan/body/pool"],
    ),
    "an If in a Loop": (
        f"""{GRAPH} g ({X} x, bool c) => ({X} y) <int64 trips = {{2}}> {{
            [loop] y = Loop (trips, c, x) <
                body = step (int64 i, bool go, {X} s) => (bool on, {X} t) {{
                    on = Identity(go)
                    [outer] p = {POOL}(s)
                    [choice] t = If (c) <
                        then_branch = yes () => ({X} a) {{ [pool] a = {POOL}(p) }},
                        else_branch = no () => ({X} b) {{ b = Neg(x) }}> }}> }}""",
        ["loop/body/outer", "loop/body/choice/then_branch/pool"],
    ),
    "a function, called once": (
        f"""{GRAPH} g ({X} x, bool c) => ({X} y) {{ y = loc.F(x) }}
            {FUNCTION} F (q) => (w) {{ [pool] w = {POOL}(q) }}""",
        ["function loc:F/pool"],
    ),
    "a function, called twice with one shape": (
        f"""{GRAPH} g ({X} x, bool c) => ({X} y) {{ a = loc.F(x) b = Neg(a) y = loc.F(b) }}
            {FUNCTION} F (q) => (w) {{ [pool] w = {POOL}(q) }}""",
        ["function loc:F/pool"],
    ),
    "a function, called with two sizes": (
        f"""{GRAPH} g ({X} x, bool c) => (float[1,2,1,1] y) {{ a = loc.F(x) y = loc.F(a) }}
            {FUNCTION} F (q) => (w) {{
                [pool] w = MaxPool <kernel_shape = [3, 3], strides = [3, 3], pads = [1, 1, 1, 1]>(q) }}""",
        ["function loc:F/pool"],
    ),
    "a function in a function": (
        f"""{GRAPH} g ({X} x, bool c) => (float[1,2,3,3] y) {{ y = loc.Outer(x) }}
            {FUNCTION} Outer (q) => (w) {{ a = loc.Inner(q) [halve] w = {HALF}(a) }}
            {FUNCTION} Inner (q) => (w) {{ [pool] w = {POOL}(q) }}""",
        ["function loc:Outer/halve", "function loc:Inner/pool"],
    ),
    "a function called in a branch, with an If of its own": (
        f"""{GRAPH} g ({X} x, bool c) => ({X} y) {{
            [choice] y = If (c) <
                then_branch = yes () => ({X} a) {{ a = loc.F(x, c) }},
                else_branch = no () => ({X} b) {{ b = Neg(x) }}> }}
            {FUNCTION} F (q, k) => (w) {{
                [inner] w = If (k) <
                    then_branch = sure () => ({X} d) {{ [pool] d = {POOL}(q) }},
                    else_branch = nope () => ({X} e) {{ e = Neg(q) }}> }}""",
        ["function loc:F/inner/then_branch/pool"],
    ),
}


def convert(folder, model, **options):
    """The result, and the model as read back."""
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    result = depool.convert(folder / "m.onnx", folder / "o.onnx", **options)
    return result, onnx.load(folder / "o.onnx")


def run(model, feeds):
    """All outputs, as ONNX Runtime computes them without optimisations."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: feeds[i.name] for i in session.get_inputs()})


def feeds(model, seed=0):
    """Signed numbers for x, both ways for c."""
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return [{"x": x, "c": np.array(c)} for c in (True, False)]


def operators(model, folder):
    return [node.op_type for scope in scopes(model, folder) for node in scope.nodes]


@pytest.mark.parametrize("name", CASES)
def test_a_pool_is_converted_where_it_stands(name, tmp_path):
    text, where = CASES[name]
    original = parser.parse_model(text)
    result, converted = convert(tmp_path, original, exact=True)
    assert [record.where for record in result.records] == where
    assert result.verdict.equal is True
    assert [pool.where for pool in result.verdict.pools] == where
    assert all(pool.equal and pool.windows for pool in result.verdict.pools)
    assert "MaxPool" in operators(original, tmp_path)
    assert "MaxPool" not in operators(converted, tmp_path)
    for fed in feeds(original):
        np.testing.assert_array_equal(run(original, fed)[0], run(converted, fed)[0])


@pytest.mark.parametrize("name", ["around and inside an If", "a function in a function", "the body of a Loop"])
def test_verify_finds_a_wrong_weight_in_its_scope(name, tmp_path):
    text, where = CASES[name]
    _, converted = convert(tmp_path, parser.parse_model(text))
    for scope in scopes(converted, tmp_path):
        if scope.path and where[-1].startswith(scope.path):
            inner = [t for t in getattr(scope.container, "initializer", ()) if "depool" in t.name]
            inner += [a.t for node in scope.nodes for a in node.attribute if node.op_type == "Constant"]
            spoil(inner[0])
            break
    (tmp_path / "o.onnx").write_bytes(converted.SerializeToString())
    verdict = depool.verify(tmp_path / "m.onnx", tmp_path / "o.onnx")
    assert verdict.equal is False
    assert [pool.where for pool in verdict.pools if not pool.equal] == [where[-1]]


def spoil(tensor):
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.flat[np.flatnonzero(array)[0]] *= -1
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def test_weights_stand_beside_their_nodes(tmp_path):
    _, converted = convert(tmp_path, parser.parse_model(CASES["around and inside an If"][0]))
    branch = next(a.g for node in converted.graph.node if node.op_type == "If" for a in node.attribute)
    inside = [tensor.name for tensor in branch.initializer]
    assert inside
    assert all(name.startswith("inside/depool/") for name in inside)
    assert all(not tensor.name.startswith("inside/") for tensor in converted.graph.initializer)
    assert "Constant" not in operators(converted, tmp_path)


@pytest.mark.parametrize("name", ["a function, called once", "a function called in a branch, with an If of its own"])
def test_a_function_holds_its_weights_in_constant_nodes_or_its_own_subgraphs(name, tmp_path):
    result, converted = convert(tmp_path, parser.parse_model(CASES[name][0]))
    assert not converted.graph.initializer
    body = next(scope for scope in scopes(converted, tmp_path) if scope.path == result.records[0].scope)
    constants = [node for node in body.nodes if node.op_type == "Constant"]
    assert bool(constants) is body.is_function
    assert bool(constants) is not bool(getattr(body.container, "initializer", ()))


def test_ir_3_holds_its_weights_in_constant_nodes(tmp_path):
    """There every initialiser must be an input too, and the interface must stay as it is."""
    model = parser.parse_model(
        f"""<ir_version: 3, opset_import: ["" : 8]> g ({X} x) => ({X} y) {{ [pool] y = {POOL}(x) }}"""
    )
    _, converted = convert(tmp_path, model, exact=True)
    assert [i.name for i in converted.graph.input] == ["x"]
    assert not converted.graph.initializer
    assert "Constant" in operators(converted, tmp_path)
    fed = feeds(model)[0]
    np.testing.assert_array_equal(run(model, fed)[0], run(converted, fed)[0])


def refusal(tmp_path, text):
    with pytest.raises(NotConverted) as caught:
        convert(tmp_path, parser.parse_model(text))
    assert not (tmp_path / "o.onnx").exists()
    (only,) = caught.value.refusals
    return only


def test_a_function_called_with_different_channels_is_refused(tmp_path):
    found = refusal(
        tmp_path,
        f"""{GRAPH} g ({X} x) => (float[1,4,6,6] y) {{ a = loc.F(x) b = Concat <axis = 1>(a, x) y = loc.F(b) }}
            {FUNCTION} F (q) => (w) {{ [pool] w = {POOL}(q) }}""",
    )
    assert (found.code, found.where) == ("DYNAMIC_CHANNELS", "function loc:F/pool")


def test_geometry_from_a_function_attribute_is_refused(tmp_path):
    found = refusal(
        tmp_path,
        f"""{GRAPH} g ({X} x) => ({X} y) {{ y = loc.F <size = [1, 1]>(x) }}
            {FUNCTION} F <size> (q) => (w) {{ [pool] w = MaxPool <kernel_shape: ints = @size>(q) }}""",
    )
    assert (found.code, found.where) == ("ATTRIBUTES", "function loc:F/pool")
    assert "inline" in found.fix.lower()


def test_a_function_that_is_called_maxpool_is_no_foreign_operator(tmp_path):
    text = f"""{GRAPH} g ({X} x, bool c) => ({X} y) {{ y = loc.MaxPool(x) }}
               {FUNCTION} MaxPool (q) => (w) {{ [pool] w = {POOL}(q) }}"""
    result, _ = convert(tmp_path, parser.parse_model(text))
    assert [record.where for record in result.records] == ["function loc:MaxPool/pool"]
    assert not result.left


def test_pools_of_one_name_in_two_scopes_converted_one_after_the_other(tmp_path):
    """The names made for the first are not made again for the second, which sees them."""
    text = f"""{GRAPH} g ({X} x, bool c) => ({X} y) {{
        [pool] p = {POOL}(x)
        [choice] y = If (c) <
            then_branch = yes () => ({X} a) {{ [pool] a = {POOL}(p) }},
            else_branch = no () => ({X} b) {{ b = Neg(p) }}> }}"""
    original = parser.parse_model(text)
    _, half = convert(tmp_path, original, skip=["choice/*"], exact=True)
    (tmp_path / "o.onnx").rename(tmp_path / "half.onnx")
    result = depool.convert(tmp_path / "half.onnx", tmp_path / "o.onnx", exact=True)
    assert [record.where for record in result.records] == ["choice/then_branch/pool"]
    converted = onnx.load(tmp_path / "o.onnx")
    onnx.checker.check_model(converted, full_check=True)
    assert operators(half, tmp_path).count("MaxPool") == 1
    for fed in feeds(original):
        np.testing.assert_array_equal(run(original, fed)[0], run(converted, fed)[0])
