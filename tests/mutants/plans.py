"""Mutations of plans and their coverage proof."""

from __future__ import annotations

from mutants.mutation import Mutation, case, lowering, plans

REJECTS = plans("the_coverage_proof_rejects")
MUTATIONS = (
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
