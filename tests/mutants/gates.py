"""Mutations of gates."""

from __future__ import annotations

from mutants.mutation import Mutation, case, lowering, numerics

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

MUTATIONS = (*GATES, *WIDE_GATES)
