"""Targets as data: the presets and their evidence, files of the user's own, and what `depool targets` prints."""

import ast
import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from oracle import draw, pool

import depool
from depool.choice import Choice
from depool.choose import choose
from depool.cli import app
from depool.errors import FileError, Refused, UsageError
from depool.facts import InputFacts
from depool.geometry import PoolSpec
from depool.program import Add, Concat, Conv
from depool.target import GENERIC, PORTABLE, PRESETS, Target, named, preset, read

ROOT = Path(__file__).resolve().parent.parent
NAMES = ["generic", "portable", "marabou", "auto_lirpa", "nnenum", "omlt", "onnxruntime", "pytorch", "keras", "litert"]


def depool_targets(capsys, *words):
    code = app(["targets", *words], result_action="return_value")
    found = capsys.readouterr()
    return code, found.out, found.err


def test_the_presets():
    assert list(PRESETS) == NAMES
    assert (GENERIC.form, GENERIC.channels, PORTABLE.form, PORTABLE.channels) == (
        "branched", "grouped", "sequential", "dense",
    )  # fmt: skip
    assert preset("omlt") is PRESETS["omlt"]


def functions(path):
    return {node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if hasattr(node, "name")}


@pytest.mark.parametrize("name", NAMES)
def test_evidence_names_a_test_or_says_why_there_is_none(name):
    target = PRESETS[name]
    assert target.evidence
    for entry in target.evidence:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry.date)
        assert re.search(r"\d", entry.consumer) or "written for the tests" in entry.consumer
        if entry.test.startswith("not run here: "):
            assert "by hand" in entry.ran
            continue
        path, _, function = entry.test.partition("::")
        assert function in functions(ROOT / path)


def test_consumers_quotes_every_preset():
    """docs/consumers.md has each message that a preset knows, so that a search for it ends there."""
    text = " ".join((ROOT / "docs" / "consumers.md").read_text(encoding="utf-8").split())
    for name, target in PRESETS.items():
        assert f"`{name}`" in text
        for said in target.messages.values():
            quoted = said.partition("; ")[0].removesuffix(".")
            assert "without a text" in said or quoted in text, said


POOLS = [
    (PoolSpec((2, 2), (2, 2)), (6, 5)),
    (PoolSpec((3, 3), (2, 2), ((1, 1), (1, 1))), (6, 5)),
    (PoolSpec((3, 3), (1, 1), ((2, 2), (0, 1)), (2, 1)), (6, 7)),
    (PoolSpec((3, 2), (2, 2), auto_pad="SAME_UPPER"), (7, 6)),
    (PoolSpec((6, 6), (1, 1), ((3, 2), (2, 3))), (7, 7)),
    (PoolSpec((2, 3), (2, 1), ((0, 1), (1, 1))), (5, 6)),
    (PoolSpec((3,), (2,), ((1, 1),)), (7,)),
]
REFUSED = {("omlt", 1), ("omlt", 2), ("omlt", 3), ("omlt", 4), ("omlt", 5), ("omlt", 6), ("auto_lirpa", 5)}


@pytest.mark.parametrize("fact", ["nonneg", "lower"])
@pytest.mark.parametrize("number", range(len(POOLS)))
@pytest.mark.parametrize("name", NAMES)
def test_every_preset_gets_what_it_takes(name, number, fact):
    """By the program's own nodes, and by the nested-loop pool; what cannot be said in its terms is refused."""
    target, (spec, sizes) = PRESETS[name], POOLS[number]
    rng = np.random.default_rng(number)
    for kind in ("normal", "negative", "spike"):
        x = draw(rng, (1, 2, *sizes), kind, "float32")
        x = np.abs(x) if fact == "nonneg" else x
        facts = InputFacts(lower=min(float(x.min()), 0.0), reason="test")
        if (name, number) in REFUSED:
            with pytest.raises(Refused, match=r"^TARGET_LACKS: "):
                choose(spec, sizes, facts, Choice(target=name), "float32")
            continue
        made = choose(spec, sizes, facts, Choice(target=name), "float32")
        bound = made.program.error_bound(pool(np.abs(x), spec).astype(np.float64), "float32")
        assert (np.abs(made.program(x).astype(np.float64) - pool(x, spec)) <= bound).all()
        check_limits(made.program, target)


def check_limits(program, target):
    for node in program.nodes:
        if isinstance(node, Conv):
            window = node.window
            pads = list(window.pads)
            assert target.dilation or set(window.dilations) == {1}
            assert target.asymmetric_pads or all(begin == end for begin, end in pads)
            assert target.padding or not any(map(any, pads))
            assert target.mixed_axes or (len(set(window.strides)) == 1 and len(set(pads)) == 1)
            assert target.bias or node.bias is None
            assert target.large_constants or abs(node.kernel).max() < 100
        assert target.branches or not isinstance(node, Add | Concat)
        assert target.spatial_concat or not isinstance(node, Concat) or node.axis == 0


def test_a_bounder_gets_no_constants_of_the_size_of_max():
    """A dilated, padded pool on signed input needs the mask, or a lower bound and a shift."""
    spec = PoolSpec((2, 2), (1, 1), ((1, 1), (1, 1)), (2, 2))
    masked = choose(spec, (5, 5), InputFacts(lower=-3.0), Choice(), "float32")
    shifted = choose(spec, (5, 5), InputFacts(lower=-3.0), Choice(target="auto_lirpa"), "float32")
    assert (masked.border.rule, shifted.border.rule) == ("mask", "shift")
    with pytest.raises(Refused, match="NEEDS_INPUT_RANGE"):
        choose(spec, (5, 5), InputFacts(), Choice(target="auto_lirpa"), "float32")
    with pytest.raises(Refused, match="EXACT_NEEDS_BRANCHES"):
        choose(spec, (5, 5), InputFacts(lower=-3.0), Choice(target="auto_lirpa", exact=True), "float32")


def test_a_shift_with_branches_counts_its_roundings():
    """x - L and m + L are rounded once each, beside what the gates round; no ReLU is spent on the shift."""
    spec = PoolSpec((3, 3), (1, 1), ((1, 1), (1, 1)))
    rng = np.random.default_rng(0)
    for lower in (-1.0, -1e6):
        made = choose(spec, (6, 6), InputFacts(lower=lower), Choice(target="auto_lirpa"), "float32").program
        x = np.clip(rng.normal(size=(4, 3, 6, 6)), lower, None).astype(np.float32)
        off = np.abs(made(x).astype(np.float64) - pool(x, spec))
        most = pool(np.abs(x), spec).astype(np.float64)
        assert (off <= made.error_bound(most, "float32")).all()
        assert off.max() > 0 or lower == -1.0
    single = choose(
        PoolSpec((2,), (1,), ((1, 0),)), (6,), InputFacts(lower=-3.0), Choice(target="auto_lirpa"), "float32"
    )
    shift, gate, back = single.program.rounding.steps
    assert (shift.sums, gate.ulps, back.sums) == (((2, 1),), 1, ((2, 1.0),))
    chain = choose(spec, (6, 6), InputFacts(lower=-1.0), Choice(target="marabou"), "float32").program
    assert made.relus_per_output == 4
    assert chain.relus_per_output == 1 + 10


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "size", "live"),
    [(13, 1, 6, 4, 7), (3, 2, 1, 2, 2), (3, 2, 1, 1, 1), (3, 2, 1, 4, 3), (5, 1, 2, 2, 3), (3, 3, 1, 2, 2)],
)
def test_taps_that_are_always_padding_cost_nothing(kernel, stride, pad, size, live):
    """By hand: the taps -pad ... of each window that can fall inside 0 ... size - 1."""
    spec = PoolSpec((kernel,), (stride,), ((pad, pad),))
    starts = range(-pad, size + pad - kernel + 1, stride)
    assert len({k for k, start in product(range(kernel), starts) if 0 <= start + k < size}) == live
    for lower in (0.0, -9.0):
        made = choose(spec, (size,), InputFacts(lower=lower), Choice("tree"), "float32")
        assert made.program.relus_per_output == live - 1
        x = np.random.default_rng(0).normal(size=(2, 3, size)).astype(np.float32)
        x = np.abs(x) if lower == 0 else x
        assert np.abs(made.program(x) - pool(x, spec)).max() <= made.program.error_bound(9.0, "float32")


def test_a_file_of_the_users_own(tmp_path):
    path = tmp_path / "npu.toml"
    text = '[my-npu]\nlike = "portable"\nabout = "our board"\nlargest_kernel = 3\nmessages = {groups = "E17"}\n'
    path.write_text(text)
    target = read(path)
    assert target == Target(
        "my-npu", "our board", groups=False, dilation=False, asymmetric_pads=False, auto_pad=False, branches=False,
        reshape=False, minimise="relus", largest_kernel=3, messages={"groups": "E17"},
    )  # fmt: skip
    assert named(str(path)) == target
    assert named(target) is target
    assert depool.synthesize(PoolSpec((2, 2), (2, 2)), target=str(path)).relu_layers == 2
    with pytest.raises(Refused, match="target my-npu takes no kernel longer than 3, and this pool needs 5"):
        depool.synthesize(PoolSpec((3, 3), (1, 1), (), (2, 2)), target=str(path), scheme="tree")


def test_nothing_is_copied_for_an_add_where_nothing_is_fused_or_calls_cost():
    assert [name for name in PRESETS if not named(name).copies] == ["pytorch", "keras"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must hold one table"),
        ('a = "b"', "must hold one table"),
        ("[a]\n[b]", "must hold one table"),
        ('[a]\nlike = "toaster"\nabout = "x"', r"\[a\] like = 'toaster' is no preset; choose one of generic, portable"),
        ('[a]\nabout = "x"\ngroup = false', r"\[a\] group: no target has this key; choose from about, operators"),
        ('[a]\nabout = "x"\ngroups = "no"', r"\[a\] groups = 'no': true or false is expected"),
        ('[a]\nabout = "x"\nlargest_kernel = 0', "a number of at least 1 is expected"),
        ('[a]\nabout = "x"\nlargest_kernel = true', "a number of at least 1 is expected"),
        ('[a]\nabout = "x"\nbatch = "two"', "choose one of any, symbolic, fixed"),
        ('[a]\nabout = "x"\noperators = "Conv"', "a list of texts is expected"),
        ('[a]\nabout = "x"\nmessages = "Conv"', "a table is expected"),
        ('[a]\nabout = "x"\n[[a.evidence]]\nran = "x"', "consumer, date, ran and test are expected"),
        ("[a]\ngroups = false", r"\[a\] about: say in one line what the target is"),
    ],
)
def test_a_file_that_makes_no_sense(text, words, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        read(tmp_path / "none.toml")
    (tmp_path / "half.toml").write_text("[a\n")
    with pytest.raises(FileError, match="is no TOML"):
        read(tmp_path / "half.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match="is no TOML"):
        read(tmp_path / "bytes.toml")


def test_an_unknown_name():
    with pytest.raises(UsageError, match=r"unknown target 'toaster'; choose one of generic, .*, or give a \.toml"):
        named("toaster")


def test_targets_are_listed_with_their_evidence(capsys):
    code, out, _ = depool_targets(capsys)
    assert code == 0
    flat = "".join(out.split())
    for name, target in PRESETS.items():
        assert f"\n{name}\n" in out
        for entry in target.evidence:
            assert "".join(f"{entry.consumer}, {entry.date}: {entry.ran}".split()) in flat
            assert "".join(entry.test.split()) in flat
        for what, said in (target.messages | target.silent).items():
            assert "".join(f"{what}: {said}".split()) in flat
    assert max(map(len, out.splitlines())) <= 80


def test_targets_by_name_and_as_json(capsys, tmp_path):
    (tmp_path / "npu.toml").write_text('[npu]\nlike = "omlt"\nabout = "like OMLT"\n')
    code, out, _ = depool_targets(capsys, "omlt", str(tmp_path / "npu.toml"), "--json")
    found = json.loads(out)
    assert (code, found["schema"], found["command"]) == (0, 1, "targets")
    first, second = found["targets"]
    assert (first["name"], first["form"], first["channels"], first["bias"]) == ("omlt", "sequential", "dense", False)
    assert first["evidence"][0]["date"] == "2026-11-26"
    assert (second["name"], second["evidence"]) == ("npu", [])
    assert {k: v for k, v in first.items() if k not in {"name", "about", "evidence"}} == {
        k: v for k, v in second.items() if k not in {"name", "about", "evidence"}
    }
    code, out, err = depool_targets(capsys, "toaster")
    assert (code, out) == (2, "")
    assert err.startswith("depool: unknown target 'toaster'")
