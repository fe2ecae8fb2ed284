"""Programs against the nested-loop pool: every border rule, form, scheme and gate, on data meant to break them."""

from dataclasses import dataclass
from itertools import cycle, product
from math import inf

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from oracle import DTYPES, KINDS, draw, empty, pool, run

from depool.choice import Choice
from depool.choose import choose, synthesize
from depool.cost import work
from depool.errors import Refused, UsageError
from depool.facts import InputFacts
from depool.geometry import PoolSpec, Window
from depool.lowering.adapt import without_add
from depool.numerics import Rounding, largest, safe
from depool.program import Add, Concat, Conv, Program, Relu, sources
from depool.target import GENERIC, PORTABLE, Target

ORDERS = ("reversed", "shuffled", "wide")
POINT = Window((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))


def known(fact, x):
    """x as the fact has it, and the fact."""
    if fact == "nonneg":
        return np.abs(x), InputFacts(lower=0.0, reason="test")
    if fact == "lower":
        return x, InputFacts(lower=min(float(x.min()), 0.0), reason="test")
    return x, InputFacts(relu_follows=fact == "relu")


def check(conversion, x, order, relu_follows=False):
    """The program's result is the oracle's: equal where it promises so, else within its bound, in any order."""
    program, spec = conversion.program, conversion.spec
    expected, most = pool(x, spec).astype(np.float64), pool(np.abs(x), spec)
    bound = program.error_bound(most.astype(np.float64), x.dtype)
    for result in (program(x), run(program, x, order)):
        assert result.dtype == x.dtype
        assert result.shape == expected.shape
        wide = result.astype(np.float64)
        if relu_follows:
            wide, expected = np.maximum(wide, 0), np.maximum(expected, 0)
        if program.rounding.bit_exact:
            assert np.array_equal(wide, expected)
        else:
            assert (np.abs(wide - expected) <= bound).all()


def within(conversion, dtype):
    """The range of |x|, as a fraction of MAX, for which the promise is made; a shift adds |L| <= |x| to it."""
    fraction = safe(conversion.program.rounding, dtype) / largest(dtype)
    return fraction / 2 if conversion.border.rule == "shift" else fraction


def no_dead_nodes(program):
    read = {ref for node in program.nodes for ref in sources(node)}
    return read >= set(range(1, len(program.nodes)))


@dataclass(frozen=True)
class Case:
    """One border rule in one form, scheme and gate."""

    rule: str
    name: str
    form: str
    scheme: str
    gate: str
    spec: PoolSpec
    sizes: tuple[int, ...]
    known: tuple[int | None, ...]
    fact: str

    @property
    def exact(self):
        """Whether an exact gate has to be asked for: a mask needs it, and is taken where no guard can be."""
        guarded = (self.form, self.scheme) == ("branched", "horner")
        return self.gate != "pair" and (self.rule != "mask" or guarded)

    def __str__(self):
        return f"{self.rule}-{self.name}-{self.form}-{self.scheme}-{self.gate}"


PADDED = PoolSpec((3, 3), (2, 1), ((1, 1), (1, 0)))
DILATED = PoolSpec((2, 3), (1, 2), ((1, 0), (2, 2)), (2, 1))
UPPER = PoolSpec((3, 2), (2, 2), auto_pad="SAME_UPPER")
LOWER = PoolSpec((2, 3), (2, 1), auto_pad="SAME_LOWER")
FORMS, SCHEMES = ("branched", "concat", "sequential"), ("tree", "separable", "horner", "shallow")
TREE, GATES, POSITIVE = ("tree", "shallow"), ("pair", "Y"), ("pair", "K")
D2 = (None, None)
ROWS = [  # rule, name, spec, sizes, known sizes, fact, forms, schemes, gates
    ("none", "plain", PoolSpec((2, 3), (2, 1)), (5, 6), (5, 6), "unknown", FORMS, SCHEMES, GATES),
    ("none", "end-unread", PoolSpec((2,), (2,), ((0, 1),)), (6,), (6,), "unknown", FORMS, SCHEMES, GATES),
    ("none", "dilated", PoolSpec((5,), dilations=(2,)), (11,), (11,), "unknown", FORMS, SCHEMES, GATES),
    ("none", "volume", PoolSpec((2, 1, 2), (2, 2, 1)), (4, 3, 3), (4, None, 3), "unknown", FORMS, SCHEMES, GATES),
    ("zero", "nonneg", PADDED, (5, 4), D2, "nonneg", FORMS, SCHEMES, POSITIVE),
    ("zero", "relu", PADDED, (5, 4), (5, 4), "relu", FORMS, SCHEMES, GATES),
    ("zero", "dilated", DILATED, (4, 5), D2, "nonneg", FORMS, SCHEMES, POSITIVE),
    ("zero", "ceil", PoolSpec((3,), (2,), ceil_mode=True), (6,), (None,), "nonneg", FORMS, SCHEMES, POSITIVE),
    ("zero", "same", UPPER, (5, 4), D2, "nonneg", FORMS, TREE, POSITIVE),
    ("zero", "same-relu", LOWER, (5, 4), D2, "relu", FORMS, TREE, GATES),
    ("edge", "both-axes", PADDED, (5, 4), (5, 4), "unknown", FORMS[:2], SCHEMES, GATES),
    ("edge", "end", PoolSpec((3,), (3,), ceil_mode=True), (7,), (7,), "unknown", FORMS[:2], SCHEMES, GATES),
    ("edge", "one-element", PoolSpec((3,), (1,), ((2, 1),)), (1,), (1,), "unknown", FORMS[:2], SCHEMES, GATES),
    ("edge", "same", LOWER, (5, 4), (5, 4), "unknown", FORMS[:2], SCHEMES, GATES),
    ("mask", "dynamic", PADDED, (5, 4), D2, "unknown", FORMS[:2], SCHEMES, ("Y",)),
    ("mask", "dilated", DILATED, (4, 5), (4, 5), "unknown", FORMS[:2], SCHEMES, ("Y",)),
    ("mask", "upper", UPPER, (5, 4), D2, "unknown", FORMS[:2], TREE, ("Y",)),
    ("mask", "lower", LOWER, (4, 3), (None, 3), "unknown", FORMS[:2], TREE, ("Y",)),
    ("guard", "dynamic", PADDED, (5, 4), D2, "unknown", FORMS[:1], ("horner",), ("pair",)),
    (
        "guard",
        "dilated",
        PoolSpec((2, 3), (1, 2), ((0, 1), (2, 2)), (2, 2)),
        (4, 5),
        (4, 5),
        "unknown",
        FORMS[:1],
        ("horner",),
        ("pair",),
    ),
    ("guard", "stages", PoolSpec((7,), (1,), ((3, 3),)), (9,), (None,), "unknown", FORMS[:1], ("horner",), ("pair",)),
    (
        "guard",
        "volume",
        PoolSpec((2, 1, 3), (2, 2, 1), ((0, 1), (0, 0), (1, 1))),
        (4, 3, 4),
        (None, 3, None),
        "unknown",
        FORMS[:1],
        ("horner",),
        ("pair",),
    ),
    ("shift", "static", PADDED, (5, 4), (5, 4), "lower", FORMS[2:], SCHEMES, ("pair",)),
    ("shift", "dilated", DILATED, (4, 5), D2, "lower", FORMS[2:], SCHEMES, ("pair",)),
    ("shift", "same", UPPER, (5, 4), D2, "lower", FORMS[2:], TREE, ("pair",)),
]
CASES = [
    Case(rule, name, form, scheme, gate, spec, sizes, sizes_known, fact)
    for rule, name, spec, sizes, sizes_known, fact, forms, schemes, gates in ROWS
    for form, scheme, gate in product(forms, schemes, gates)
    if scheme != "shallow" or gate == "pair"
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_rule_form_scheme_and_gate(case):
    rng, orders = np.random.default_rng(7), cycle(ORDERS)
    choice = Choice(case.scheme, case.form, exact=case.exact)
    for dtype in DTYPES:
        _, facts = known(case.fact, np.array([-2.0]))
        conversion = choose(case.spec, case.known, facts, choice, dtype)
        assert (conversion.border.rule, conversion.form, conversion.scheme) == (case.rule, case.form, case.scheme)
        assert conversion.gate == case.gate
        assert conversion.program.rounding.bit_exact == (case.gate != "pair")
        for kind in KINDS:
            x, facts = known(case.fact, draw(rng, (1, 2, *case.sizes), kind, dtype, within(conversion, dtype)))
            if case.fact == "lower":
                conversion = choose(case.spec, case.known, facts, choice, dtype)
            check(conversion, x, next(orders), case.fact == "relu")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_calling_a_program_is_evaluating_its_nodes(case):
    choice = Choice(case.scheme, case.form, exact=case.exact)
    x, facts = known(case.fact, draw(np.random.default_rng(4), (2, 3, *case.sizes), "mixed", "float32"))
    program = choose(case.spec, case.known, facts, choice, "float32").program
    assert np.array_equal(program(x), run(program, x, "forward"))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_is_computed_in_vain(case):
    choice = Choice(case.scheme, case.form, exact=case.exact)
    _, facts = known(case.fact, np.array([-2.0]))
    assert no_dead_nodes(choose(case.spec, case.known, facts, choice, "float32").program)


@pytest.mark.parametrize("case", [c for c in CASES if c.form == "sequential"], ids=str)
@pytest.mark.parametrize("target", ["generic", "portable"])
def test_sequential_is_one_chain(case, target):
    _, facts = known(case.fact, np.array([-2.0]))
    choice = Choice(case.scheme, "sequential", target=target, exact=case.exact)
    if target == "portable" and "same" in case.name:
        with pytest.raises(Refused, match="DYNAMIC_SAME"):
            choose(case.spec, case.known, facts, choice, "float32")
        return
    nodes = choose(case.spec, case.known, facts, choice, "float32").program.nodes
    assert [type(node) for node in nodes] == [Conv, Relu] * (len(nodes) // 2) + [Conv]
    assert [sources(node) for node in nodes] == [(i,) for i in range(len(nodes))]


@pytest.mark.parametrize("case", [c for c in CASES if c.form == "sequential" and "same" not in c.name], ids=str)
def test_portable(case):
    rng = np.random.default_rng(8)
    for kind in ("normal", "negative", "spike"):
        x, facts = known(case.fact, draw(rng, (1, 2, *case.sizes), kind, "float32"))
        choice = Choice(case.scheme, target="portable", exact=case.exact)
        conversion = choose(case.spec, case.known, facts, choice, "float32")
        assert (conversion.form, conversion.channels) == ("sequential", "dense")
        convolutions = [node for node in conversion.program.nodes if isinstance(node, Conv)]
        for node in convolutions:
            assert set(node.window.dilations) == {1}
            assert all(begin == end for begin, end in node.window.pads)
        biased = [node.bias is not None for node in convolutions]
        if conversion.border.rule == "shift":
            lower = facts.lower
            assert biased == [True] + [False] * (len(biased) - 2) + [True]
            assert (convolutions[0].bias, convolutions[-1].bias) == ((-lower,), (lower,))
        else:
            assert not any(biased)
        check(conversion, x, "shuffled", case.fact == "relu")


@pytest.mark.parametrize("case", [c for c in CASES if c.form != "sequential"], ids=str)
def test_depthwise_and_without_add(case):
    rng = np.random.default_rng(9)
    x, facts = known(case.fact, draw(rng, (1, 2, *case.sizes), "normal", "float32"))
    choice = Choice(case.scheme, case.form, "depthwise", exact=case.exact)
    conversion = choose(case.spec, case.known, facts, choice, "float32")
    kernels = [node.kernel for node in conversion.program.nodes if isinstance(node, Conv)]
    assert {kernel.shape[:2] for kernel in kernels} == {(1, 1)}
    assert set(conversion.program.maps) == {1}
    check(conversion, x, "shuffled", case.fact == "relu")
    for channels in ("grouped", "depthwise"):
        choice = Choice(case.scheme, case.form, channels, exact=case.exact)
        program = choose(case.spec, case.known, facts, choice, "float32").program
        no_add = without_add(program)
        assert not any(isinstance(node, Add) for node in no_add.nodes)
        assert np.array_equal(no_add(x), program(x))


@st.composite
def pools(draw_from):
    rank = draw_from(st.integers(1, 3))
    most = {1: 7, 2: 4, 3: 2}[rank]
    kernel = tuple(draw_from(st.integers(1, most)) for _ in range(rank))
    strides = tuple(draw_from(st.integers(1, 3)) for _ in kernel)
    dilations = tuple(draw_from(st.integers(1, 2)) for _ in kernel) if draw_from(st.booleans()) else ()
    auto_pad = draw_from(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    pads = tuple((draw_from(st.integers(0, k - 1)), draw_from(st.integers(0, k - 1))) for k in kernel)
    sizes = tuple(draw_from(st.integers(1, 6 if rank < 3 else 4)) for _ in kernel)
    ceil = auto_pad == "NOTSET" and draw_from(st.booleans())
    return PoolSpec(kernel, strides, pads if auto_pad == "NOTSET" else (), dilations, ceil, auto_pad), sizes


def attempt(spec, sizes, facts, choice, dtype="float32"):
    """The conversion, or None and the code of its refusal."""
    try:
        return choose(spec, sizes, facts, choice, dtype), ""
    except Refused as error:
        return None, error.refusal.code


def licensed(code, spec, dynamic, fact, choice):
    """Whether a refusal has its reason."""
    same = spec.auto_pad.startswith("SAME")
    return {
        "SAME_DILATED": same and max(spec.dilations) > 1,
        "DYNAMIC_CEIL": dynamic and spec.ceil_mode,
        "DYNAMIC_SAME": dynamic and same and (choice.scheme in {"separable", "horner"} or choice.target == "portable"),
        "NEEDS_INPUT_RANGE": fact == "unknown" and choice.form == "sequential",
        "SHALLOW_NOT_EXACT": choice.scheme == "shallow" and (choice.exact or fact in {"unknown", "lower"}),
        "EXACT_NEEDS_BRANCHES": fact in {"lower", "unknown"} and choice.form == "sequential" and choice.exact,
    }[code]


@settings(max_examples=400)
@given(
    pools(),
    st.sampled_from(["nonneg", "lower", "unknown", "relu"]),
    st.sampled_from(["auto", "tree", "separable", "horner", "shallow"]),
    st.sampled_from(["branched", "concat", "sequential"]),
    st.sampled_from(["auto", "depthwise", "dense"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(DTYPES),
    st.sampled_from(KINDS),
    st.integers(0, 2**20),
)
def test_any_pool(pool_and_sizes, fact, scheme, form, channels, portable, exact, dtype, kind, seed):
    spec, sizes = pool_and_sizes
    assume(not empty(spec, sizes))
    rng = np.random.default_rng(seed)
    portable = portable and form == "sequential" and channels != "depthwise"
    choice = Choice(scheme, form, channels, "portable" if portable else "generic", exact)
    seen = tuple(None if rng.random() < 0.4 else size for size in sizes)
    _, facts = known(fact, np.array([-2.0]))
    conversion, refused = attempt(spec, seen, facts, choice, dtype)
    if refused:
        event(refused)
        assert licensed(refused, spec, None in seen, fact, choice)
        return
    event(f"{conversion.border.rule} {conversion.form} {conversion.gate}")
    x, facts = known(fact, draw(rng, (1, 2, *sizes), kind, dtype, within(conversion, dtype)))
    conversion = choose(spec, seen, facts, choice, dtype)
    assert exact <= conversion.program.rounding.bit_exact
    assert scheme in {"auto", conversion.scheme}
    assert no_dead_nodes(conversion.program)
    check(conversion, x, ORDERS[seed % 3], fact == "relu")


KERNELS = {  # for each pairing: r(first) of both pairs, then the two elements that are carried on
    "ab|cd": [((1, -1), (0, 0)), ((0, 0), (1, -1)), ((0, 1), (0, 0)), ((0, 0), (0, 1))],
    "ac|bd": [((1, 0), (-1, 0)), ((0, 1), (0, -1)), ((0, 0), (1, 0)), ((0, 0), (0, 1))],
    "ad|bc": [((1, 0), (0, -1)), ((0, 1), (-1, 0)), ((0, 0), (0, 1)), ((0, 0), (1, 0))],
}


@pytest.mark.parametrize("pairing", KERNELS)
@pytest.mark.parametrize("lower_bound", [-inf, 0.0])
def test_the_published_network(pairing, lower_bound):
    program = synthesize(
        PoolSpec((2, 2), (2, 2)), "tree", "concat", sizes=(4, 4), lower_bound=lower_bound, pairing=pairing
    )
    half = Window((2, 2), (2, 2), (1, 1), ((0, 0), (0, 0)))
    order = [Conv, Relu, Conv, Relu, Conv, Conv, Concat, Conv, Relu, Conv, Add]
    assert [type(node) for node in program.nodes] == order
    reads = [(0,), (1,), (0,), (3,), (0,), (0,), (2, 4, 5, 6), (7,), (8,), (7,)]
    assert [sources(node) for node in program.nodes[:-1]] == reads
    assert set(sources(program.nodes[-1])) == {9, 10}
    convolutions = [node for node in program.nodes if isinstance(node, Conv)]
    assert [node.kernel[0, 0].tolist() for node in convolutions[:4]] == [[*map(list, k)] for k in KERNELS[pairing]]
    assert [node.kernel.ravel().tolist() for node in convolutions[4:]] == [[1, -1, 1, -1], [0, 1, 0, 1]]
    assert [node.kernel.shape for node in convolutions] == [(1, 1, 2, 2)] * 4 + [(1, 4, 1, 1)] * 2
    assert [node.window for node in convolutions] == [half] * 4 + [POINT] * 2
    assert all(node.bias is None for node in convolutions)
    x = np.array([[3, -1, -5, -7], [2, 9, -4, -6], [0, 0, 8, 1], [0, -1, 2, 8.5]], np.float32)
    assert program(x[None, None])[0, 0].tolist() == [[9, -4], [0, 8.5]]


@pytest.mark.parametrize(
    ("scheme", "kernel", "nonneg", "signed", "branched", "depth"),
    [
        ("tree", 2, 6, 9, 3, 2),
        ("tree", 3, 19, 30, 8, 4),
        ("tree", 5, 51, 78, 24, 5),
        ("shallow", 2, 6, 9, 3, 2),
        ("shallow", 3, 26, 33, 17, 3),
        ("shallow", 5, 102, 114, 78, 4),
    ],
)
def test_relu_counts_and_depth(scheme, kernel, nonneg, signed, branched, depth):
    spec = PoolSpec((kernel,) * 2, (kernel,) * 2)
    for lower_bound, count in ((0.0, nonneg), (-inf, signed)):
        program = synthesize(spec, scheme, "sequential", lower_bound=lower_bound)
        assert (program.relus_per_output, program.relu_layers) == (count, depth)
        for form in ("branched", "concat"):
            program = synthesize(spec, scheme, form, lower_bound=lower_bound)
            assert (program.relus_per_output, program.relu_layers) == (branched, depth)


def test_a_shifted_chain_carries_values_once():
    """After the shift nothing is below zero: 1 + 2 (a - b, b) ReLUs for a pair, not 1 + 3."""
    spec = PoolSpec((2,), (2,), ((1, 1),))
    assert synthesize(spec, form="sequential", lower_bound=-3.0).relus_per_output == 2 + 2
    assert synthesize(PoolSpec((2,), (2,)), form="sequential", lower_bound=-3.0).relus_per_output == 3


def test_branched_programs_share_a_convolution_per_tensor():
    program = synthesize(PoolSpec((2, 2), (2, 2)), "tree", "branched")
    assert [type(node) for node in program.nodes] == [Conv, Relu, Conv, Add] * 2
    assert program.maps == (1, 2, 2, 2, 2, 1, 1, 1, 1)
    assert [program.nodes[i].kernel.ravel().tolist() for i in (4, 6)] == [[1, -1], [0, 1]]


@pytest.mark.parametrize(("form", "target"), [*((form, "generic") for form in FORMS), ("sequential", "portable")])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_kernel_of_one_subsamples(form, scheme, target):
    program = synthesize(PoolSpec((1, 1), (2, 3)), scheme, form, target)
    (node,) = program.nodes
    assert node.kernel.tolist() == [[[[1.0]]]]
    assert node.window.strides == (2, 3)
    assert program.rounding.bit_exact
    x = np.arange(-10, 25, dtype=np.float32).reshape(1, 1, 5, 7)
    assert np.array_equal(program(x), x[:, :, ::2, ::3])


def whole_input(scheme, form, exact):
    """A window over the whole of a 4 x 3 input: twelve elements, as many as three shallow layers reach."""
    rng = np.random.default_rng(5)
    for kind in KINDS:
        conversion = choose(
            PoolSpec((4, 3), (1, 2)), (4, 3), InputFacts(), Choice(scheme, form, exact=exact), "float32"
        )
        x = draw(rng, (2, 3, 4, 3), kind, "float32", within(conversion, "float32"))
        assert conversion.program(x).shape == (2, 3, 1, 1)
        check(conversion, x, "shuffled")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_kernel_as_large_as_the_input(form, scheme):
    whole_input(scheme, form, exact=False)


@pytest.mark.parametrize("form", FORMS)
def test_a_kernel_as_large_as_the_input_exactly(form):
    whole_input("separable", form, exact=True)


AVERAGES = [
    (PoolSpec((2, 2), (2, 2), kind="average"), (4, 5)),
    (PoolSpec((3, 2), (1, 2), dilations=(2, 1), kind="average"), (6, 4)),
    (PoolSpec((3,), (2,), ((1, 1),), kind="average", count_include_pad=True), (5,)),
    (PoolSpec((3, 3), (2, 1), auto_pad="SAME_UPPER", kind="average", count_include_pad=True), (6, 4)),
    (PoolSpec((2, 3), (2, 1), auto_pad="SAME_LOWER", kind="average", count_include_pad=True), (5, 4)),
    (PoolSpec((2, 2, 2), kind="average"), (3, 2, 3)),
]


def test_an_average_over_single_elements_is_the_identity():
    """A window of 3x3 on a map of one element, as at the end of small images."""
    spec = PoolSpec((3, 3), (1, 1), auto_pad="SAME_UPPER", kind="average")
    x = np.float32([[[[-2.5]], [[7.0]]]])
    assert np.array_equal(choose(spec, (1, 1), InputFacts(), Choice(), "float32").program(x), x)


@pytest.mark.parametrize(("spec", "sizes"), AVERAGES)
def test_average_pools(spec, sizes):
    rng = np.random.default_rng(6)
    targets = [("generic", sizes), ("generic", (None,) * spec.rank), ("portable", sizes)]
    for (target, seen), dtype, kind in product(targets, DTYPES, KINDS):
        conversion = choose(spec, seen, InputFacts(), Choice(target=target), dtype)
        (node,) = conversion.program.nodes
        n = np.prod(spec.kernel_shape)
        assert sorted(node.kernel[node.kernel != 0]) == [1 / n] * n
        assert (conversion.scheme, conversion.gate, node.bias) == ("average", "none", None)
        x = draw(rng, (1, 2, *sizes), kind, dtype)
        check(conversion, x, "shuffled")
        if n == 4 and kind in {"integers", "ties"}:
            # only the rounding of a sum of four integers / 4 is left: exact in float32
            assert dtype in {"float16", "bfloat16"} or np.array_equal(conversion.program(x), pool(x, spec))


LOWER_KNOWN, CHAIN, CHAIN_OF = InputFacts(lower=-1.0), Choice(form="sequential"), PoolSpec((3,), pads=((1, 1),))
AVERAGE_SAME = PoolSpec((3, 2), (2, 2), auto_pad="SAME_UPPER", kind="average", count_include_pad=True)


@pytest.mark.parametrize(
    ("spec", "sizes", "facts", "choice", "code"),
    [
        (CHAIN_OF, (5,), InputFacts(), CHAIN, "NEEDS_INPUT_RANGE"),
        (CHAIN_OF, (None,), InputFacts(), Choice(target="portable"), "NEEDS_INPUT_RANGE"),
        (CHAIN_OF, (5,), LOWER_KNOWN, Choice(form="sequential", exact=True), "EXACT_NEEDS_BRANCHES"),
        (CHAIN_OF, (5,), LOWER_KNOWN, Choice("shallow", exact=True), "SHALLOW_NOT_EXACT"),
        (CHAIN_OF, (None,), InputFacts(), Choice("shallow"), "SHALLOW_NOT_EXACT"),
        (UPPER, D2, InputFacts(lower=0.0), Choice("separable"), "DYNAMIC_SAME"),
        (UPPER, D2, InputFacts(lower=0.0), Choice(target="portable"), "DYNAMIC_SAME"),
        (AVERAGE_SAME, D2, InputFacts(), Choice(target="portable"), "DYNAMIC_SAME"),
        # and the nearest pools that are not refused
        (CHAIN_OF, (5,), InputFacts(), Choice(form="concat"), ""),
        (CHAIN_OF, (5,), LOWER_KNOWN, Choice(form="branched", exact=True), ""),
        (CHAIN_OF, (5,), InputFacts(lower=0.0), Choice(form="sequential", exact=True), ""),
        (CHAIN_OF, (5,), InputFacts(), Choice("shallow"), ""),
        (UPPER, (5, 4), InputFacts(lower=0.0), Choice("separable"), ""),
        (UPPER, (5, 4), InputFacts(lower=0.0), Choice(target="portable"), ""),
        (UPPER, D2, InputFacts(lower=0.0), Choice("tree"), ""),
        (AVERAGE_SAME, (5, 4), InputFacts(), Choice(target="portable"), ""),
        (AVERAGE_SAME, D2, InputFacts(), Choice(), ""),
    ],
)
def test_refusals(spec, sizes, facts, choice, code):
    assert attempt(spec, sizes, facts, choice)[1] == code


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        (InputFacts(lower=-1.0), "shift"),
        (InputFacts(lower=0.0), "zero"),
        (InputFacts(lower=0.5), "zero"),
        (InputFacts(relu_follows=True), "zero"),
        (InputFacts(lower=-1.0, relu_follows=True), "zero"),
    ],
)
def test_the_facts_that_license_a_chain(facts, rule):
    padded = PoolSpec((3,), pads=((1, 1),))
    border = choose(padded, (5,), facts, Choice(form="sequential"), "float32").border
    assert (border.rule, border.shift) == (rule, facts.lower if rule == "shift" else 0.0)
    # an end padding that no window reads needs no license
    unread = PoolSpec((2,), (2,), ((0, 1),))
    assert choose(unread, (6,), facts, Choice(form="sequential"), "float32").border.rule == "none"
    assert choose(unread, (5,), facts, Choice(form="sequential"), "float32").border.rule == rule


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        (Choice(scheme="spiral"), "unknown scheme 'spiral'"),
        (Choice(form="zigzag"), "unknown form 'zigzag'"),
        (Choice(channels="mixed"), "unknown channel layout 'mixed'"),
        (Choice(target="toaster"), "unknown target 'toaster'; choose one of generic, portable"),
        (Choice(target="portable", form="concat"), "takes no branches"),
        (Choice(target="portable", channels="grouped"), "takes no groups"),
        (Choice(target="portable", channels="folded"), "takes no Reshape; use --channels dense, or leave it out"),
        (Choice(pairing="ac|bd"), "windows of four elements, not 9"),
    ],
)
def test_usage_errors(choice, says):
    with pytest.raises(UsageError, match=says):
        choose(PoolSpec((3, 3)), (5, 5), InputFacts(), choice, "float32")


def test_auto():
    def scheme(spec, form="auto", sizes=(28, 28)):
        return choose(spec, sizes, InputFacts(lower=0.0), Choice(form=form), "float32").scheme

    assert scheme(PoolSpec((13, 13), pads=((6, 6), (6, 6)))) == "horner"
    assert scheme(PoolSpec((7, 7), (7, 7))) == "horner"
    assert scheme(PoolSpec((7, 7), (7, 7)), form="sequential") == "separable"
    assert scheme(UPPER, sizes=D2) == "tree"
    for spec in (PoolSpec((2, 2), (2, 2)), PoolSpec((3, 3), (2, 2)), PoolSpec((3, 3))):
        found = choose(spec, (28, 28), InputFacts(), Choice(), "float32")
        assert (found.form, found.channels, found.gate) == ("branched", "grouped", "pair")
        costs = {
            name: work(choose(spec, (28, 28), InputFacts(), Choice(name), "float32").program, (28, 28))
            for name in ("tree", "separable", "horner")
        }
        assert costs[found.scheme] == min(costs.values())
        assert work(found.program, (28, 28)) == min(costs.values())


def test_a_target_that_takes_branches_but_no_dilation():
    plain = Target("plain", "no dilation, symmetric pads", dilation=False, asymmetric_pads=False)
    rng = np.random.default_rng(3)
    for spec, facts in ((DILATED, InputFacts()), (PADDED, InputFacts()), (PADDED, InputFacts(lower=-9.0))):
        conversion = choose(spec, (5, 5), facts, Choice(target=plain), "float32")
        for node in conversion.program.nodes:
            if isinstance(node, Conv):
                assert set(node.window.dilations) == {1}
                assert all(begin == end for begin, end in node.window.pads)
        check(conversion, draw(rng, (1, 2, 5, 5), "negative", "float32"), "reversed")
    assert (GENERIC.branches, PORTABLE.branches) == (True, False)


def test_program_usage_errors():
    one, two = np.ones((1, 1, 1, 1)), np.ones((2, 1, 1, 1))
    for nodes, says in [
        ((), "must end in one map"),
        ((Relu(1),), "does not exist yet"),
        ((Conv(0, two, POINT),), "must end in one map"),
        ((Conv(0, two, POINT), Conv(1, one, POINT)), "does not fit 2 maps"),
        ((Conv(0, np.ones((1, 1, 2, 1)), POINT),), "does not fit 1 maps"),
        ((Conv(0, one, POINT, (1.0, 2.0)),), "2 biases for 1 maps"),
        ((Conv(0, two, POINT), Add(0, 1)), "joins tensors of"),
        ((Conv(0, two, POINT), Concat((0, 1), axis=1)), "joins tensors of"),
    ]:
        with pytest.raises(UsageError, match=says):
            Program(2, nodes, Rounding())
    with pytest.raises(UsageError, match="2 spatial axes"):
        Program(2, (Relu(0),), Rounding())(np.zeros((1, 1, 3)))
