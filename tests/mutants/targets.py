"""Mutations of targets and what they impose."""

from __future__ import annotations

from mutants.mutation import Mutation, caveats, cost, targets, with_relu

MUTATIONS = (
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
        'if target.minimise == "relus" else',
        'if target.minimise == "" else',
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
        "ranking.py",
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
