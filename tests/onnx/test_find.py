"""Which nodes are found, what is known of them, and every refusal: its code, its node, its reason, its remedy."""

import re
from dataclasses import replace
from math import inf
from pathlib import Path

import onnx
import pytest
from onnx import parser

import depool
from depool.choice import Choice
from depool.errors import NotConverted
from depool.onnx.find import Left, Selection, find
from depool.onnx.site import PoolSite, plan_site
from depool.target import PORTABLE

HEAD = '<ir_version: 8, opset_import: ["" : 13]>'
X8 = "float[1,2,8,8]"


def graph(nodes, x=X8, y="float[1,2,h,w] y", head=HEAD, weights=""):
    return parser.parse_model(f"{head} g ({x} x) => ({y}) {f'<{weights}>' if weights else ''} {{ {nodes} }}")


def maxpool(attributes, x=X8, **options):
    return graph(f"[pool] y = MaxPool <{attributes}>(x)", x, **options)


def opset(version):
    return f'<ir_version: 3, opset_import: ["" : {version}]>'


def rankless():
    """A Reshape to a shape that is only known at run time."""
    text = f"{HEAD} g ({X8} x, int64[r] shape) => (float y) {{ s = Reshape(x, shape) [pool] y = GlobalMaxPool(s) }}"
    model = parser.parse_model(text)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


PADDED = "kernel_shape = [3, 3], pads = [1, 1, 1, 1]"
INFINITE = "int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}, float low = {-3.4028234663852886e38}"
DYNAMIC = "float[N,2,h,w]"
MINE = '<ir_version: 8, opset_import: ["" : 13, "mine" : 1]>'
FOREIGN = '<ir_version: 8, opset_import: ["" : 13, "com.microsoft" : 1]>'

# code: (model, options of convert, words of the reason, words of the remedy)
REFUSALS = {
    "INDICES_USED": (
        graph(
            "[pool] y, at = MaxPool <kernel_shape = [2, 2]>(x) z = Identity(at)",
            y="float[1,2,h,w] y, int64[1,2,h,w] z",
        ),
        {},
        "positions of the maxima",
        "--skip",
    ),
    "DTYPE": (
        graph("q = mine.Unknown(x) [pool] y = MaxPool <kernel_shape = [2, 2]>(q)", head=MINE),
        {},
        "type is unknown",
        "before its tensors",
    ),
    "OPSET_TOO_OLD": (maxpool("kernel_shape = [2, 2]", head=opset(5)), {}, "opset 5", "--opset 13"),
    "RANK_UNKNOWN": (rankless(), {}, "number of its input's dimensions", "--shape"),
    "DYNAMIC_CHANNELS": (maxpool("kernel_shape = [2, 2]", x="float[1,c,8,8]"), {}, "number of channels", "--shape"),
    "DYNAMIC_GLOBAL": (graph("[pool] y = GlobalMaxPool(x)", x=DYNAMIC), {}, "dynamic size", "--shape"),
    "DYNAMIC_CEIL": (
        maxpool("kernel_shape = [2, 2], strides = [3, 3], ceil_mode = 1", x=DYNAMIC),
        {},
        "ceil_mode",
        "--shape",
    ),
    "DYNAMIC_SAME": (
        maxpool('kernel_shape = [4, 4], strides = [3, 3], auto_pad = "SAME_UPPER"', x=DYNAMIC),
        {"scheme": "separable"},
        "size known only at run time",
        "--scheme tree",
    ),
    "SAME_DILATED": (
        maxpool('kernel_shape = [3, 3], dilations = [2, 2], auto_pad = "SAME_UPPER"'),
        {},
        "disagree",
        "NOTSET",
    ),
    "EMPTY_WINDOW": (maxpool("kernel_shape = [2, 2], pads = [2, 2, 2, 2]"), {}, "padding alone", "smaller"),
    "ATTRIBUTES": (maxpool("kernel_shape = [2]"), {}, "do not fit 2 spatial axes", "onnx.checker"),
    "PAD_NOT_ABSORBED": (
        graph("p = Pad(x, pads, low) q = Identity(p) [pool] y = MaxPool <kernel_shape = [3, 3]>(q)", weights=INFINITE),
        {},
        "minus infinity",
        "pads of its own",
    ),
    "AVERAGE_EXCLUDES_PAD": (
        graph(f"[pool] y = AveragePool <{PADDED}>(x)", x=DYNAMIC),
        {"pools": "all"},
        "divide by fewer elements",
        "--shape",
    ),
    "NEEDS_INPUT_RANGE": (maxpool(PADDED), {"form": "sequential"}, "lower bound", "--input-range"),
    "EXACT_NEEDS_BRANCHES": (
        maxpool(PADDED),
        {"form": "sequential", "exact": True, "input_range": (-1.0, 1.0)},
        "the shift rounds",
        "--form branched",
    ),
    "SHALLOW_NOT_EXACT": (
        maxpool("kernel_shape = [3, 3]"),
        {"scheme": "shallow", "exact": True},
        "rounds",
        "--scheme tree",
    ),
    "TARGET_LACKS": (
        maxpool("kernel_shape = [3, 3]", x=DYNAMIC),
        {"target": replace(PORTABLE, largest_kernel=1)},
        "no kernel longer than 1",
        "--target",
    ),
    "FOREIGN_DOMAIN": (
        graph(f"[pool] y = com.microsoft.NhwcMaxPool <{PADDED}>(x)", head=FOREIGN),
        {},
        "NhwcMaxPool of domain 'com.microsoft'",
        "before any runtime's layout",
    ),
}
NOT_REFUSED_BUT_LEFT = {"NOT_A_MAX_POOL"}
NO_ONNX_POOL = {"ADAPTIVE_UNEVEN"}  # ONNX has global pools, but no adaptive ones


def source_codes():
    """Of all but the frontends of other frameworks."""
    root = Path(depool.__file__).parent
    files = [path for path in root.rglob("*.py") if path.relative_to(root).parts[0] not in {"torch", "keras"}]
    text = "".join(path.read_text() for path in files)
    return set(re.findall(r'Refused\(\s*"([A-Z_]+)"', text))


def test_every_code_of_the_source_has_a_case_here():
    assert source_codes() == set(REFUSALS) | NOT_REFUSED_BUT_LEFT | NO_ONNX_POOL


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_names_code_node_reason_and_remedy(code, tmp_path):
    model, options, reason, remedy = REFUSALS[code]
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(NotConverted) as caught:
        depool.convert(tmp_path / "m.onnx", tmp_path / "o.onnx", **options)
    (refusal,) = caught.value.refusals
    assert (refusal.code, refusal.where) == (code, "pool")
    assert reason in refusal.reason
    assert remedy in refusal.fix
    assert refusal.reason.endswith(".")
    assert refusal.fix.endswith(".")
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert f"{code}: pool: " in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("code", REFUSALS)
def test_inspect_refuses_the_same(code, tmp_path):
    model, options, *_ = REFUSALS[code]
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    survey = depool.inspect(tmp_path / "m.onnx", **options)
    planned = [pool.refusal for pool in survey.pools if pool.refusal]
    assert [(r.code, r.where) for r in (*planned, *survey.left)] == [(code, "pool")]
    assert survey.refused == 1


def found(model, **selection):
    return list(find(model, Path.cwd(), Selection(**selection)))


def sites(model, **selection):
    return [item for item in found(model, **selection) if isinstance(item, PoolSite)]


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes"),
    [
        ("LpPool", 1, "kernel_shape = [2, 2]"),
        ("GlobalLpPool", 1, ""),
        ("MaxUnpool", 2, "kernel_shape = [2, 2]"),
        ("MaxRoiPool", 2, "pooled_shape = [2, 2]"),
    ],
)
def test_other_pools_are_named_and_count_as_no_failure(op_type, inputs, attributes, tmp_path):
    values = ", ".join(["x", "r"][:inputs])
    types = {"MaxUnpool": "int64[1,2,8,8] r", "MaxRoiPool": "float[3,5] r"}.get(op_type, "float[1] r")
    text = f"""{HEAD} g ({X8} x, {types}) => (float[a,b,c,d] y, {X8} z) {{
        [other] y = {op_type} {f"<{attributes}>" if attributes else ""} ({values})
        [pool] z = MaxPool <{PADDED}>(x) }}"""
    (tmp_path / "m.onnx").write_bytes(parser.parse_model(text).SerializeToString())
    result = depool.convert(tmp_path / "m.onnx", tmp_path / "o.onnx", verify=False)
    assert [(r.code, r.where) for r in result.left] == [("NOT_A_MAX_POOL", "other")]
    assert op_type in result.left[0].reason
    assert not result.refusals
    assert [record.where for record in result.records] == ["pool"]
    assert op_type in [node.op_type for node in onnx.load(tmp_path / "o.onnx").graph.node]


@pytest.mark.parametrize("op_type", ["NhwcMaxPool", "MaxPool", "GlobalMaxPool"])
def test_a_max_pool_of_another_domain_is_selected_and_refused(op_type):
    model = graph(f"[pool] y = mine.{op_type} (x)", head=MINE)
    (left,) = found(model)
    assert isinstance(left, Left)
    assert (left.refusal.code, left.refusal.where, left.selected) == ("FOREIGN_DOMAIN", "pool", True)
    assert "'mine'" in left.refusal.reason
    (left,) = found(model, skip=("pool",))
    assert left.selected is False


@pytest.mark.parametrize("op_type", ["QLinearAveragePool", "QLinearGlobalAveragePool", "Pooler"])
def test_other_operators_of_other_domains_are_not_mentioned(op_type):
    assert not found(graph(f"[pool] y = com.microsoft.{op_type} (x)", head=FOREIGN), pools="all")


def test_the_standard_domain_may_be_written_out():
    model = maxpool(PADDED, head='<ir_version: 8, opset_import: ["ai.onnx" : 13]>')
    model.graph.node[0].domain = "ai.onnx"
    assert [site.where for site in sites(model)] == ["pool"]


def test_average_pools_are_found_only_where_asked_for():
    model = graph(
        "[max] a = MaxPool <kernel_shape = [2, 2]>(x) [mean] b = AveragePool <kernel_shape = [2, 2]>(a) "
        "[all] c = GlobalAveragePool(b) [most] y = GlobalMaxPool(b)"
    )
    assert [site.where for site in found(model)] == ["max", "most"]
    assert [site.where for site in found(model, pools="all")] == ["max", "mean", "all", "most"]
    assert [site.spec.kind for site in sites(model, pools="all")] == ["max", "average", "average", "max"]


@pytest.mark.parametrize(
    ("only", "skip", "names"),
    [
        ((), (), ["a/1", "a/2", "b/1", "MaxPool#3"]),
        (("a/*",), (), ["a/1", "a/2"]),
        (("a/?", "b/1"), ("*2",), ["a/1", "b/1"]),
        ((), ("*/1",), ["a/2", "MaxPool#3"]),
        (("MaxPool#3",), (), ["MaxPool#3"]),
        (("A/1",), (), []),
    ],
)
def test_patterns_select_by_name(only, skip, names):
    model = graph(" ".join(f"{n} = MaxPool <kernel_shape = [1, 1]>({x})" for n, x in ["px", "qp", "rq", "yr"]))
    for node, name in zip(model.graph.node, ["a/1", "a/2", "b/1", ""], strict=True):
        node.name = name
    assert [site.where for site in sites(model, only=only, skip=skip)] == names


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("y = Relu(p)", True),
        ("a = Relu(p) b = Relu(p) y = Add(a, b)", True),
        ("a = Relu(p) y = Add(a, p)", False),
        ("y = LeakyRelu(p)", False),
        ("y = Neg(x)", False),
    ],
)
def test_what_follows_a_pool(nodes, expected):
    (site,) = sites(graph(f"[pool] p = MaxPool <{PADDED}>(x) {nodes}"))
    assert site.facts.relu_follows is expected


def test_a_pool_that_is_an_output_too_is_not_followed_by_relus_alone():
    (site,) = sites(graph(f"[pool] p = MaxPool <{PADDED}>(x) y = Relu(p)", y=f"{X8} y, {X8} p"))
    assert site.facts.relu_follows is False


def test_a_pool_read_inside_a_branch_is_not_followed_by_relus_alone():
    text = f"""{HEAD} g ({X8} x, bool c) => ({X8} y, {X8} z) {{
        [pool] p = MaxPool <{PADDED}>(x) z = Relu(p)
        y = If (c) <
            then_branch = t () => ({X8} a) {{ a = Neg(p) }},
            else_branch = e () => ({X8} b) {{ b = Neg(x) }}> }}"""
    (site,) = sites(parser.parse_model(text))
    assert site.facts.relu_follows is False


def test_a_relu_of_another_domain_does_not_count():
    (site,) = sites(graph(f"[pool] p = MaxPool <{PADDED}>(x) y = mine.Relu(p)", head=MINE))
    assert site.facts.relu_follows is False


def test_facts_of_a_relu_before_and_of_nothing():
    (site,) = sites(graph(f"r = Relu(x) [pool] y = MaxPool <{PADDED}>(r)"))
    assert (site.facts.lower, site.facts.upper, site.facts.declared) == (0.0, inf, False)
    assert site.facts.reason
    (site,) = sites(maxpool(PADDED))
    assert (site.facts.lower, site.facts.upper, site.facts.declared) == (-inf, inf, False)


def test_declared_facts_are_marked_as_such():
    (site,) = sites(maxpool(PADDED), ranges=(("", (-2.0, 3.0)),))
    assert (site.facts.lower, site.facts.upper, site.facts.declared) == (-2.0, 3.0, True)
    (site,) = sites(maxpool(PADDED), ranges=(("x", (0.0, 1.0)),))
    assert (site.facts.lower, site.facts.upper, site.facts.declared) == (0.0, 1.0, True)
    (site,) = sites(maxpool(PADDED), nonnegative=True)
    assert (site.facts.lower, site.facts.upper, site.facts.declared) == (0.0, inf, True)
    assert "assume-nonnegative" in site.facts.reason
    (site,) = sites(graph(f"r = Relu(x) [pool] y = MaxPool <{PADDED}>(r)"), nonnegative=True)
    assert site.facts.declared is False


def test_sizes_and_channels():
    (site,) = sites(maxpool("kernel_shape = [2, 2]", x="float[N,3,h,9]"))
    assert (site.channels, site.sizes, site.dtype) == (3, (None, 9), "float32")
    assert (site.source, site.output, site.scope.path) == ("x", "y", "")


def test_channels_that_fill_no_block_have_a_plan_of_fewer_taps():
    """2x2/2 as one chain reads four taps each time; axis by axis two. Each is copied where channels fill no block."""
    stages = {}
    for channels in (8, 42):
        (site,) = sites(maxpool("kernel_shape = [2, 2], strides = [2, 2]", x=f"float[1,{channels},8,8]"))
        stages[channels] = [stage.window.kernel_shape for stage in plan_site(site, Choice()).plan.stages]
    assert stages == {8: [(2, 2)], 42: [(2, 1), (1, 2)]}


def test_where_opset_6_takes_another_form_the_channels_are_known_too():
    for channels in (8, 3):
        (site,) = sites(maxpool("kernel_shape = [2, 2]", x=f"float[1,{channels},8,8]", head=opset(6)))
        made = plan_site(site, Choice())
        assert (made.form, made.aligned) == ("concat", channels == 8)


@pytest.mark.parametrize(
    ("attributes", "phrase"),
    [
        ("kernel_shape = [2, 2], pads = [1, 1]", "do not fit"),
        ("kernel_shape = [2, 2], strides = [1]", "do not fit"),
        ("kernel_shape = [0, 2]", "positive"),
        ("kernel_shape = [2, 2], pads = [-1, 0, 0, 0]", "not negative"),
        ('kernel_shape = [2, 2], auto_pad = "SAME"', "'SAME' is unknown"),
    ],
)
def test_contradictory_attributes(attributes, phrase):
    (left,) = found(maxpool(attributes))
    assert left.refusal.code == "ATTRIBUTES"
    assert phrase in left.refusal.reason
