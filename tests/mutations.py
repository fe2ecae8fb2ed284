"""Does a test fail for every rule that is broken? One mutation per rule, each with the tests that must notice.

    python tests/mutations.py                     all of them, after the same tests on the unbroken source
    python tests/mutations.py shift mask          those whose name contains a word

Each mutation is made in a temporary copy of src, which the tests then import in place of the installed package
(conftest.py sees to it). A mutation whose text is no longer found exactly once is STALE, one that breaks more than
a test (the import, the collection) is BROKEN; both count as failures, like SURVIVED.

To cover another part of the source, add a tuple of mutations beside CORE, and add it to MUTATIONS.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import bench_mutations
import folded_mutations
import frontend_mutations
import object_mutations
import page_mutations
import speed_mutations
import terminal_mutations
import torch_mutations

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Mutation:
    """One broken rule.

    Attributes:
        name: what is broken.
        file: under src/depool.
        old, new: the text and what replaces it; `old` occurs once.
        tests: pytest's node ids, relative to the repository; few and quick.
        also: further (file, old, new), where one change alone would be noticed by an assertion of the source.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    also: tuple[tuple[str, str, str], ...] = ()


def case(*ids: str) -> tuple[str, ...]:
    """Cases of the table in lowering/test_programs.py."""
    return tuple(f"tests/lowering/test_programs.py::test_every_rule_form_scheme_and_gate[{i}]" for i in ids)


def lowering(*names: str) -> tuple[str, ...]:
    """Tests of lowering/test_programs.py."""
    return tuple(f"tests/lowering/test_programs.py::test_{name}" for name in names)


def geometry(*names: str) -> tuple[str, ...]:
    """Tests of test_geometry.py."""
    return tuple(f"tests/test_geometry.py::test_{name}" for name in names)


def plans(*names: str) -> tuple[str, ...]:
    """Tests of plan/test_plans.py."""
    return tuple(f"tests/plan/test_plans.py::test_{name}" for name in names)


def numerics(*names: str) -> tuple[str, ...]:
    """Tests of test_numerics.py."""
    return tuple(f"tests/test_numerics.py::test_{name}" for name in names)


def cost(*names: str) -> tuple[str, ...]:
    """Tests of test_cost.py."""
    return tuple(f"tests/test_cost.py::test_{name}" for name in names)


def targets(*names: str) -> tuple[str, ...]:
    """Tests of test_targets.py."""
    return tuple(f"tests/test_targets.py::test_{name}" for name in names)


def caveats(*names: str) -> tuple[str, ...]:
    """Tests of onnx/test_caveats.py."""
    return tuple(f"tests/onnx/test_caveats.py::test_{name}" for name in names)


def with_relu(*names: str) -> tuple[str, ...]:
    """Tests of lowering/test_with_relu.py."""
    return tuple(f"tests/lowering/test_with_relu.py::test_{name}" for name in names)


GEOMETRY = (
    Mutation(
        "ceil mode keeps a window that starts beyond the input",
        "geometry.py",
        "    if (out - 1) * stride >= size + begin:\n        out -= 1\n",
        "",
        geometry("known_values"),
    ),
    Mutation(
        "SAME_UPPER and SAME_LOWER swapped",
        "geometry.py",
        '(small, total - small) if auto_pad == "SAME_UPPER"',
        '(small, total - small) if auto_pad == "SAME_LOWER"',
        geometry("known_values"),
    ),
    Mutation(
        "SAME_* rounds the output down",
        "geometry.py",
        "    out = -(-size // stride)\n    total",
        "    out = size // stride\n    total",
        geometry("known_values"),
    ),
    Mutation(
        "SAME_* pads may be negative",
        "geometry.py",
        "total = max((out - 1) * stride + extent - size, 0)",
        "total = (out - 1) * stride + extent - size",
        geometry("known_values"),
    ),
    Mutation(
        "dilation left out of the pads",
        "geometry.py",
        "extent = (spec.kernel_shape[axis] - 1) * dilation + 1",
        "extent = spec.kernel_shape[axis]",
        geometry("static_resolution_is_the_oracle[2]"),
    ),
    Mutation(
        "dilation left out of the extent",
        "geometry.py",
        "(k - 1) * d + 1 for k, d in zip(self.kernel_shape",
        "k + 0 * d for k, d in zip(self.kernel_shape",
        geometry("known_values"),
    ),
    Mutation(
        "dynamic ceil pads too much",
        "geometry.py",
        "return begin, stride - 1",
        "return begin, stride",
        geometry("known_values"),
    ),
    Mutation(
        "dynamic ceil without its condition",
        "geometry.py",
        "if end == 0 and extent >= stride:",
        "if end >= 0:",
        geometry("refusal_codes"),
    ),
    Mutation(
        "dynamic SAME_* made explicit although its pads vary",
        "geometry.py",
        "if len(begins) == 1 and (begin",
        "if (begin",
        geometry("dynamic_same_is_explicit_only_where_begin_never_varies"),
    ),
    Mutation(
        "SAME_* with dilations accepted",
        "geometry.py",
        "and max(self.dilations) > 1:",
        "and max(self.dilations) > 9:",
        geometry("refusal_codes"),
    ),
    Mutation(
        "a window of padding alone accepted",
        "geometry.py",
        "            if empty:\n",
        "            if empty and size == -1:\n",
        geometry("refusal_codes"),
    ),
    Mutation(
        "padding between the taps not noticed",
        "geometry.py",
        "all(not 0 <= start + j * d < size for j in range(k))",
        "start + (k - 1) * d < 0 or start >= size",
        geometry("refusal_codes"),
    ),
    Mutation(
        "an average that excludes its padding accepted",
        "geometry.py",
        "(self.count_include_pad and declared)",
        "declared",
        geometry("whether_all_windows_of_an_average_divide_by_the_same_number"),
    ),
    Mutation(
        "an average that counts the end padding of ceil mode accepted",
        "geometry.py",
        "(self.count_include_pad and declared)",
        "self.count_include_pad",
        geometry("whether_all_windows_of_an_average_divide_by_the_same_number"),
    ),
)

REJECTS = plans("the_coverage_proof_rejects")
PLANS = (
    Mutation(
        "the proof does not compare offsets",
        "plan/model.py",
        "if covered != wanted:",
        "if wanted < covered:",
        REJECTS,
    ),
    Mutation(
        "the proof accepts extra offsets", "plan/model.py", "if covered != wanted:", "if wanted - covered:", REJECTS
    ),
    Mutation(
        "the proof ignores taps outside a kernel",
        "plan/model.py",
        "all(0 <= i < k for tap in taps",
        "all(i < 9 * k for tap in taps",
        REJECTS,
    ),
    Mutation(
        "the proof ignores the strides", "plan/model.py", "if strides != window.strides:", "if not strides:", REJECTS
    ),
    Mutation(
        "the proof ignores a stride that comes too early",
        "plan/model.py",
        "if moves and strides[axis] != 1:",
        "if moves and strides[axis] < 1:",
        REJECTS,
    ),
    Mutation(
        "the proof ignores late padding",
        "plan/model.py",
        "if padded and touched[axis]:",
        "if padded and not stage:",
        REJECTS,
    ),
    Mutation(
        "the proof ignores the pads",
        "plan/model.py",
        "elif ours != theirs:",
        "elif not window:",
        REJECTS,
    ),
    Mutation(
        "SAME_* in one stage of several accepted",
        "plan/model.py",
        "return symbolic[0] if len(stages) == 1 else",
        "return symbolic[0] if stages else",
        REJECTS,
    ),
    Mutation(
        "the last doubling step does not overlap: the proof notices",
        "plan/separable.py",
        "last = width + gap == k",
        "last, gap = 2 * width >= k, width",
        plans("the_last_doubling_step_overlaps"),
    ),
    Mutation(
        "the last doubling step does not overlap, and there is no proof",
        "plan/separable.py",
        "last = width + gap == k",
        "last, gap = 2 * width >= k, width",
        case("none-dilated-branched-separable-pair"),
        also=(("plan/model.py", "if covered != wanted:", "if not wanted:"),),
    ),
    Mutation(
        "a stage without its stride, and there is no proof",
        "plan/separable.py",
        "Window((k,), (stride,),",
        "Window((k,), (1,),",
        case("none-plain-branched-separable-pair"),
        also=(("plan/model.py", "if strides != window.strides:", "if not strides:"),),
    ),
    Mutation(
        "an axis's padding not taken off after its first stage",
        "plan/separable.py",
        "(pads if width == 1 else (0, 0),)",
        "(pads,)",
        plans("planners_cover_by_simulation"),
    ),
    Mutation(
        "never doubling",
        "plan/separable.py",
        "if (k - 1) / stride <= doubling:",
        "if doubling >= 0:",
        plans("separable_gates"),
    ),
    Mutation(
        "the axes in the wrong order",
        "plan/separable.py",
        "(-window.strides[axis], -axis)",
        "(window.strides[axis], -axis)",
        plans("the_axis_that_shrinks_most_comes_first"),
    ),
    Mutation(
        "a chain where a tree is promised",
        "plan/tree.py",
        "values = paired + list(values[len(paired) * 2 :])",
        "values = [paired[0], *values[2:]]",
        plans("a_tree_has_the_fewest_levels"),
    ),
    Mutation(
        "five groups joined crosswise",
        "plan/shallow.py",
        "Max((arms[0], arms[2])), Max((arms[1], arms[3]))",
        "Max((arms[0], arms[1])), Max((arms[2], arms[3]))",
        case("none-dilated-branched-shallow-pair"),
    ),
    Mutation(
        "overlapping groups joined crosswise",
        "plan/shallow.py",
        "_shallow(x0 + x2), _shallow(x1 + x3)",
        "_shallow(x0 + x1), _shallow(x2 + x3)",
        lowering("a_kernel_as_large_as_the_input[shallow-branched]"),
    ),
    Mutation(
        "the reach of layers understated",
        "plan/shallow.py",
        "2 * below + below // 2",
        "2 * below",
        plans("the_reach_of_layers"),
    ),
    Mutation("two pairings swapped", "plan/tree.py", '"abcd".index', '"abdc".index', plans("pairings")),
)

GATES = (
    Mutation(
        "a tap's sign flipped in the pair gate",
        "gates.py",
        '"p": {"a": 1, "b": -1}}, keep={"b": {"b": 1}}),)',
        '"p": {"a": 1, "b": 1}}, keep={"b": {"b": 1}}),)',
        lowering("the_published_network"),
    ),
    Mutation(
        "the pair gate keeps the wrong element",
        "gates.py",
        'keep={"b": {"b": 1}}),)',
        'keep={"b": {"a": 1}}),)',
        lowering("the_published_network"),
    ),
    Mutation(
        "gate Y without t",
        "gates.py",
        '{"m0": 1, "e": 1, "t": -1}',
        '{"m0": 1, "e": 1}',
        numerics("gate_y_is_exact_on_all_pairs[branched-float16]"),
    ),
    Mutation(
        "gate Y without e",
        "gates.py",
        '{"m0": 1, "e": 1, "t": -1}',
        '{"m0": 1, "t": -1}',
        numerics("gate_y_is_exact_on_all_pairs[branched-float16]"),
    ),
    Mutation(
        "gate Y without s in t",
        "gates.py",
        '{"m0": 1, "a": -1, "s": -2}',
        '{"m0": 1, "a": -1}',
        numerics("gate_y_is_exact_on_all_pairs[branched-float16]"),
    ),
    Mutation(
        "gate Y with half of s in t",
        "gates.py",
        '"s": -2}',
        '"s": -1}',
        numerics("gate_y_is_exact_on_all_pairs[branched-bfloat16]", "gate_y_is_exact_in_a_tree_and_in_any_order"),
    ),
)

WIDE_GATES = (
    Mutation(
        "gate K with a smaller constant",
        "gates.py",
        "k = 1 / unit_roundoff(dtype)",
        "k = 1 / unit_roundoff(dtype) / 64",
        numerics("gate_k_is_exact_on_all_pairs_up_to_the_largest_number"),
    ),
    Mutation(
        "gate K never switches b off",
        "gates.py",
        '"B": {"b": 1, "p": -k}',
        '"B": {"b": 1}',
        numerics("gate_k_is_exact_on_all_pairs_up_to_the_largest_number"),
    ),
    Mutation(
        "gate K for signed inputs",
        "choice.py",
        "EXACT_Y if facts.signed else exact_k(dtype)",
        "exact_k(dtype)",
        lowering("a_kernel_as_large_as_the_input_exactly"),
    ),
    Mutation(
        "a term's sign flipped in the closing gate",
        "gates.py",
        '"odd": -0.5',
        '"odd": 0.5',
        case("none-dilated-branched-shallow-pair"),
    ),
    Mutation(
        "one e too few in the closing gate",
        "gates.py",
        '"e": -2}',
        '"e": -1}',
        case("none-dilated-branched-shallow-pair"),
    ),
)

BORDERS = (
    Mutation(
        "zero padding although the input is signed",
        "lowering/padding.py",
        "if not facts.signed:",
        "if not facts.relu_follows:",
        lowering("the_facts_that_license_a_chain"),
    ),
    Mutation(
        "edge rule pads with zeros",
        "lowering/padding.py",
        "ref = build.concat([first] * begin + [ref] + [last] * end, axis=1 + axis)",
        "ref = build.emit(Conv(ref, np.ones((1, 1, *build.point().kernel_shape)), replace(build.point(), pads=tuple("
        "(begin, end) if a == axis else (0, 0) for a in range(build.rank)))), 1)",
        case("edge-both-axes-branched-tree-pair"),
    ),
    Mutation(
        "values below -1 taken for values above zero",
        "facts.py",
        "self.lower < 0",
        "self.lower < -1",
        lowering("the_facts_that_license_a_chain"),
    ),
    Mutation(
        "zero padding for a ReLU not used",
        "lowering/padding.py",
        "if facts.relu_follows:",
        "if facts.relu_follows and exact:",
        lowering("the_facts_that_license_a_chain"),
    ),
    Mutation(
        "unread end padding not trimmed",
        "lowering/padding.py",
        "used = max(last + extent - size - begin, 0)",
        "used = max(end, last + extent - size - begin)",
        lowering("the_facts_that_license_a_chain"),
    ),
    Mutation(
        "read end padding trimmed",
        "lowering/padding.py",
        "used = max(last + extent - size - begin, 0)",
        "used = max(last + extent - size - begin - 1, 0)",
        lowering("the_facts_that_license_a_chain"),
    ),
    Mutation(
        "edge rule although dilated",
        "lowering/padding.py",
        "size is not None and dilation == 1 and",
        "size is not None and dilation and",
        case("mask-dilated-branched-tree-Y"),
    ),
    Mutation(
        "edge padding one short at the end",
        "lowering/padding.py",
        "[last] * end",
        "[last] * (end - 1)",
        case("edge-both-axes-branched-tree-pair"),
    ),
    Mutation(
        "edge padding one short at the beginning",
        "lowering/padding.py",
        "[first] * begin",
        "[first] * (begin - 1)",
        case("edge-both-axes-branched-tree-pair"),
    ),
    Mutation(
        "edge rule repeats the element of the other end",
        "lowering/padding.py",
        "index = tuple(tap if a == axis else 0",
        "index = tuple(1 - tap if a == axis else 0",
        case("edge-both-axes-branched-tree-pair"),
    ),
    Mutation(
        "mask without its bias -B",
        "lowering/padding.py",
        "(-big,) * len(taps)",
        "(0.0,) * len(taps)",
        case("mask-dynamic-branched-tree-Y"),
    ),
    Mutation(
        "mask smaller than the data can be",
        "lowering/padding.py",
        "big = largest(dtype) / 2",
        "big = largest(dtype) / 64",
        case("mask-dynamic-branched-tree-Y", "mask-upper-branched-tree-Y", "mask-dilated-branched-tree-Y"),
    ),
    Mutation(
        "mask larger than the gate takes",
        "lowering/padding.py",
        "big = largest(dtype) / 2",
        "big = largest(dtype)",
        case("mask-dynamic-branched-tree-Y"),
    ),
    Mutation(
        "mask with the plain gate",
        "choice.py",
        'choice.exact or edge.rule == "mask"',
        "choice.exact",
        case("mask-dynamic-branched-tree-Y"),
    ),
    Mutation(
        "masked input padded again",
        "choose.py",
        'edge.rule in {"edge", "mask"}',
        'edge.rule in {"edge"}',
        case("mask-dynamic-branched-tree-Y"),
    ),
    Mutation(
        "shift without the + L",
        "lowering/stages.py",
        "    if constant:\n",
        "    if constant > 0:\n",
        case("shift-static-sequential-tree-pair"),
    ),
    Mutation(
        "shift by the wrong sign",
        "lowering/lower.py",
        "1.0),), -edge.shift)",
        "1.0),), edge.shift)",
        case("shift-static-sequential-tree-pair"),
    ),
    Mutation(
        "a chain shifts by an unknown bound",
        "lowering/padding.py",
        "if not isfinite(facts.lower):",
        "if isfinite(facts.upper):",
        lowering("refusals"),
    ),
    Mutation(
        "a chain shifts although it must be exact",
        "lowering/padding.py",
        "    if exact:\n",
        "    if exact and facts.lower == 0:\n",
        lowering("refusals"),
    ),
)

LOWERING = (
    Mutation(
        "the shallow scheme takes a mask",
        "choice.py",
        '        if choice.scheme == "shallow":\n            raise Refused(',
        '        if choice.scheme == "shallow" and choice.exact:\n            raise Refused(',
        lowering("refusals"),
    ),
    Mutation(
        "a chain carries x without - r(-x)",
        "lowering/styles.py",
        "(_row(combine([(-1, form)]), rows), -1.0)]",
        "(_row(combine([(-1, form)]), rows), 0.0)]",
        case("none-plain-sequential-tree-pair"),
    ),
    Mutation(
        "a chain carries signed values as they are",
        "lowering/lower.py",
        'signed = facts.signed and edge.rule != "shift"',
        "signed = False",
        case("none-plain-sequential-tree-pair"),
    ),
    Mutation(
        "a shifted chain carries values twice",
        "lowering/lower.py",
        'signed = facts.signed and edge.rule != "shift"',
        "signed = facts.lower < 0",
        lowering("a_shifted_chain_carries_values_once"),
    ),
    Mutation(
        "the tap of a term lost",
        "lowering/forms.py",
        "*(term.tap or (0,) * self.rank)",
        "*(0,) * used.extent.__len__()",
        lowering("the_published_network"),
    ),
    Mutation(
        "kernels extended by zeros at the wrong end",
        "lowering/adapt.py",
        "[(most - begin, most - end) for most",
        "[(most - end, most - begin) for most",
        lowering("portable"),
    ),
    Mutation(
        "kernels extended by one zero too many",
        "lowering/adapt.py",
        "[(most - begin, most - end) for most",
        "[(most - begin + 1, most - end) for most",
        lowering("portable"),
    ),
    Mutation(
        "the portable target keeps dilations",
        "targets.toml",
        'signed border"\ngroups = false\ndilation = false\n',
        'signed border"\ngroups = false\n',
        lowering("portable"),
    ),
    Mutation(
        "the portable target keeps asymmetric pads",
        "targets.toml",
        'signed border"\ngroups = false\ndilation = false\nasymmetric_pads = false\n',
        'signed border"\ngroups = false\ndilation = false\n',
        lowering("portable"),
    ),
    Mutation(
        "depthwise convolutions lose their bias",
        "lowering/adapt.py",
        "first_bias = bias if total is None else None",
        "first_bias = None",
        lowering("depthwise_and_without_add[mask-dynamic-branched-tree-Y]"),
    ),
    Mutation(
        "an Add said as Concat loses one side",
        "lowering/adapt.py",
        "np.concatenate([np.eye(maps), np.eye(maps)], axis=1)",
        "np.concatenate([np.eye(maps), 0 * np.eye(maps)], axis=1)",
        lowering("depthwise_and_without_add[none-plain-branched-tree-pair]"),
    ),
    Mutation(
        "an average's divisor one too large",
        "averages.py",
        "np.full((1, 1, *window.kernel_shape), 1 / (spec.divisor or n))",
        "np.full((1, 1, *window.kernel_shape), 1 / (spec.divisor or n + 1))",
        lowering("average_pools"),
    ),
    Mutation(
        "the dearest plan chosen",
        "choose.py",
        "sorted(found, key=itemgetter(0))[:RANKED]",
        "sorted(found, key=itemgetter(0))[::-1][:RANKED]",
        lowering("auto"),
    ),
)

TARGETS = (
    Mutation(
        "OMLT gets biases",
        "targets.toml",
        "branches = false\nbias = false\n",
        "branches = false\n",
        targets("every_preset_gets_what_it_takes[omlt-0-nonneg]", "targets_by_name_and_as_json"),
    ),
    Mutation(
        "a shift with branches is checked as if it were none",
        "verification/pools.py",
        'BOUNDER if record.border == "shift"',
        'BOUNDER if record.border == ""',
        ("tests/onnx/test_portable.py::test_a_signed_border_is_shifted_for_a_bounder[auto]",),
    ),
    Mutation(
        "OMLT gets padding",
        "lowering/lower.py",
        "if not target.padding and any(node.window.padded for node in convs):",
        "if not target.padding and not convs:",
        targets("every_preset_gets_what_it_takes[omlt-1-nonneg]"),
    ),
    Mutation(
        "strides that differ between the axes are not refused",
        "lowering/lower.py",
        "len(set(node.window.strides)) > 1 for node",
        "len(set(node.window.strides)) > 9 for node",
        targets("every_preset_gets_what_it_takes[auto_lirpa-1-nonneg]"),
    ),
    Mutation(
        "pads that differ between the axes are not evened out",
        "lowering/adapt.py",
        "largest = largest if mixed_axes else [max(largest)] * len(largest)",
        "largest = list(largest)",
        targets("every_preset_gets_what_it_takes[auto_lirpa-4-nonneg]"),
    ),
    Mutation(
        "a bounder gets constants of the size of MAX",
        "target.py",
        'return self.bounds == "none"',
        'return self.bounds != ""',
        targets("a_bounder_gets_no_constants_of_the_size_of_max"),
    ),
    Mutation(
        "a bounder gets a Concat along a spatial axis",
        "choose.py",
        'form != "sequential" and target.spatial_concat',
        'form != "sequential"',
        targets("every_preset_gets_what_it_takes[auto_lirpa-1-lower]"),
    ),
    Mutation(
        "a shift with branches does not count its last rounding",
        "lowering/stages.py",
        "if constant or not (style.materialises or gates[2].exact):",
        "if not (style.materialises or gates[2].exact):",
        targets("a_shift_with_branches_counts_its_roundings"),
    ),
    Mutation(
        "a tap that is padding in all windows but one is dropped",
        "lowering/padding.py",
        "for at in range(first, last + 1, stride))",
        "for at in range(first, last, stride))",
        targets("taps_that_are_always_padding_cost_nothing"),
    ),
    Mutation(
        "solvers get the scheme with fewest elements",
        "cost.py",
        'if minimise == "relus" else',
        'if minimise == "" else',
        cost("effort_counts_what_the_target_minimises"),
    ),
    Mutation(
        "a Conv's bias that is dropped is not named",
        "onnx/caveats.py",
        "return bias is None or bool(np.any(bias))",
        "return bias is None",
        caveats("a_convolution_that_is_not_taken"),
    ),
    Mutation(
        "an operator that the target does not know is not named",
        "onnx/caveats.py",
        "if target.operators and not (standard and op in target.operators):",
        "if target.operators and not (standard or op in target.operators):",
        caveats("operators_branches_and_joins"),
    ),
    Mutation(
        "the ReLU at the end is left out",
        "choose.py",
        "if choice.relu and not plan.floored:",
        "if choice.relu and plan.floored:",
        with_relu("elsewhere_one_relu_ends_the_program"),
    ),
    Mutation(
        "the number 0 waits behind a neuron",
        "lowering/stages.py",
        "real = [form for form in keep if form != NOTHING]",
        "real = list(keep)",
        with_relu("a_relu_and_a_2x2_pool_take_two_layers"),
    ),
)

NUMERICS = (
    Mutation(
        "the pair gate's bound halved",
        "numerics.py",
        "2 * u * step.ulps",
        "u * step.ulps",
        numerics("constructed_data_reaches_the_bound"),
    ),
    Mutation(
        "the pair gate's bound not counted",
        "lowering/stages.py",
        "steps.append(Step(ulps=1))",
        "steps.append(Step(ulps=0))",
        numerics("constructed_data_reaches_the_bound"),
    ),
    Mutation(
        "a sum's bound one term short",
        "numerics.py",
        "gamma(terms - 1, u)",
        "gamma(terms - 2, u)",
        numerics("bounds_by_hand"),
    ),
    Mutation(
        "merged levels not counted",
        "lowering/stages.py",
        "steps.append(style.sums(relu, [] if style.materialises else real, share, growth))",
        "steps.append(Step())",
        numerics("merged_levels_round_more_than_two_levels_of_pairs_promise"),
    ),
    Mutation(
        "the shift left out of the bound",
        "lowering/lower.py",
        "magnitude=abs(edge.shift)",
        "magnitude=0.0",
        case("shift-static-sequential-tree-pair"),
    ),
    Mutation(
        "errors that multiply not counted",
        "numerics.py",
        "error * step.growth",
        "error",
        numerics("bounds_by_hand"),
    ),
    Mutation(
        "the range of the promise too large for merged sums",
        "lowering/lower.py",
        "return max([2.0 if signed else 1.0, *(weight for step in steps for _, weight in step.sums)])",
        "return 2.0 if signed else 1.0",
        case("edge-both-axes-concat-tree-pair"),
    ),
    Mutation(
        "halves left out of what integers are exact",
        "numerics.py",
        "/ (2 if rounding.halves else 1)",
        "/ 1",
        numerics("exact_integers_by_hand"),
    ),
    Mutation(
        "an average called bit-exact",
        "numerics.py",
        "return self.products == 0 and not any(",
        "return not any(",
        numerics("bit_exact"),
    ),
    Mutation(
        "an average's underflow left out of its bound",
        "numerics.py",
        " + rounding.products * tiny",
        " + 0 * tiny",
        lowering("average_pools"),
    ),
    Mutation(
        "a bias not added",
        "program.py",
        "y += np.asarray(node.bias)",
        "y += 0 * np.asarray(node.bias)",
        case("shift-static-sequential-tree-pair"),
    ),
    Mutation(
        "ReLUs counted without their resolution",
        "program.py",
        "Fraction(self.maps[i + 1] * total, prod(strides[i + 1]))",
        "Fraction(self.maps[i + 1])",
        cost("counts_of_2x2"),
    ),
    Mutation(
        "a Concat reads nothing",
        "cost.py",
        "total += READ * sum(elements[ref] for ref in sources(node))",
        "total += 0",
        cost("a_spatial_concat_is_a_pass_too"),
    ),
    Mutation(
        "a tensor freed while it is read",
        "cost.py",
        "last[ref] = i + 1",
        "last[ref] = i",
        cost("counts_of_2x2"),
    ),
)

CORE = (*GEOMETRY, *PLANS, *GATES, *WIDE_GATES, *BORDERS, *LOWERING, *TARGETS, *NUMERICS)
TABLES = (
    bench_mutations, folded_mutations, frontend_mutations, object_mutations, page_mutations, speed_mutations,
    terminal_mutations, torch_mutations,
)  # fmt: skip
FRONTENDS = tuple(Mutation(*row) for table in TABLES for row in table.MUTATIONS)
MUTATIONS: tuple[Mutation, ...] = (*CORE, *FRONTENDS)


def attempt(mutation: Mutation, source: Path = ROOT / "src") -> str:
    """``caught``, or what went wrong: SURVIVED, STALE or BROKEN, with the end of pytest's output."""
    with tempfile.TemporaryDirectory(prefix="depool-mutant-") as folder:
        copy = _copied(source, folder)
        for file, old, new in ((mutation.file, mutation.old, mutation.new), *mutation.also):
            path = copy / "depool" / file
            text = path.read_text()
            if text.count(old) != 1:
                return f"STALE: {file} holds {old!r} {text.count(old)} times"
            path.write_text(text.replace(old, new))
        done = _pytest(copy, mutation.tests)
    if done.returncode == 1:
        return "caught"
    return f"{'BROKEN' if done.returncode else 'SURVIVED'}\n{done.stdout[-2000:]}{done.stderr[-500:]}"


def baseline(mutations: Sequence[Mutation], source: Path = ROOT / "src") -> str:
    """Nothing if the tests pass on the unbroken source, else the end of pytest's output."""
    tests = tuple(dict.fromkeys(test for mutation in mutations for test in mutation.tests))
    with tempfile.TemporaryDirectory(prefix="depool-mutant-") as folder:
        done = _pytest(_copied(source, folder), tests)
    return done.stdout[-4000:] + done.stderr[-500:] if done.returncode else ""


def _copied(source: Path, folder: str) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    return Path(shutil.copytree(source, Path(folder) / "src", ignore=ignored))


def _pytest(source: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(source), "DEPOOL_MUTANT": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603


def main() -> int:
    """Run the mutations that were asked for; 1 if any was not caught."""
    parser = argparse.ArgumentParser(description="Break each rule of the source, and see whether a test fails.")
    parser.add_argument("words", nargs="*", help="only mutations whose name contains one of these")
    parser.add_argument("--source", type=Path, default=ROOT / "src", help="the tree to copy")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    chosen = [m for m in MUTATIONS if not given.words or any(word in m.name for word in given.words)]
    if not chosen:
        sys.stdout.write("no such mutation\n")
        return 1
    if failed := baseline(chosen, given.source):
        sys.stdout.write(f"{failed}\nthe tests fail on the unbroken source\n")
        return 1
    with ThreadPoolExecutor(given.jobs) as pool:
        verdicts = list(pool.map(lambda mutation: attempt(mutation, given.source), chosen))
    for mutation, verdict in zip(chosen, verdicts, strict=True):
        sys.stdout.write(f"{verdict.splitlines()[0]:9} {mutation.file}: {mutation.name}\n")
    missed = [(m, verdict) for m, verdict in zip(chosen, verdicts, strict=True) if verdict != "caught"]
    for mutation, verdict in missed:
        sys.stdout.write(f"\n{mutation.name}\n{verdict}\n")
    sys.stdout.write(f"{len(chosen) - len(missed)} of {len(chosen)} caught\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
