"""Mutations of border rules."""

from __future__ import annotations

from mutants.mutation import Mutation, case, lowering

MUTATIONS = (
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
