"""Mutations of lowering and choosing."""

from __future__ import annotations

from mutants.mutation import Mutation, case, lowering

MUTATIONS = (
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
        "ranking.py",
        "tuple(sorted(found, key=itemgetter(0))[:RANKED])",
        "tuple(sorted(found, key=itemgetter(0))[::-1][:RANKED])",
        lowering("auto"),
    ),
)
