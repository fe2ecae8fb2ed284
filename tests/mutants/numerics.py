"""Mutations of error bounds and costs."""

from __future__ import annotations

from mutants.mutation import Mutation, case, cost, lowering, numerics

MUTATIONS = (
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
        "total += FRESH * written + READ * sum(elements[ref] for ref in found.reads)",
        "total += FRESH * written",
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
