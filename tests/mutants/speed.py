"""Mutations of Horner plans, of costs, and of what is left out for speed; rows in the order of `Mutation`'s fields."""

from __future__ import annotations

from mutants.mutation import tests

HORNER = tests("plan/test_horner", "plans_for_any_size_are_right_at_every_size")
TRAP = tests("plan/test_horner", "windows_of_9_of_windows_of_5_by_two_taps_are_wrong_near_the_border")

PLANS = [
    ("borders are not looked at", "plan/borders.py", "_covered(lines, length) != wanted", "not wanted", TRAP),
    (
        "only sizes without borders are looked at",
        "plan/borders.py",
        "first = max(1, extent - begin - end)",
        "first = last",
        TRAP,
    ),
    (
        "a tap beyond the previous result reads its last element",
        "plan/borders.py",
        "before[at] if 0 <= at < len(before) else 0",
        "before[min(max(at, 0), len(before) - 1)]",
        TRAP,
    ),
    (
        "gaps wider than the windows, and there is no proof",
        "plan/horner.py",
        "if gap <= before]",
        "]",
        tests("plan/test_horner", "fewest_passes"),
    ),
    (
        "results are not widened, so that some plans are none",
        "plan/horner.py",
        "dict.fromkeys((0, dilation, 2 * dilation, begin + end))",
        "(0,)",
        tests("plan/test_horner", "plans_for_one_size_are_right_at_that_size"),
    ),
    (
        "a recalled plan is not proved",
        "plan/horner.py",
        'return Plan(window, "horner", tuple(made), sizes)',
        'return Plan(made[0].window, "horner", tuple(made[:1]), sizes)',
        tests("plan/test_horner", "a_plan_is_recalled_and_proved_anew"),
    ),
]

PROGRAMS = "lowering/test_programs", "every_rule_form_scheme_and_gate"
LOWERING = [
    (
        "a kernel longer than its taps is accepted",
        "plan/model.py",
        "if any(extent[axis] != window.extent[axis]",
        "if any(extent[axis] < window.extent[axis]",
        tests("plan/test_plans", "the_coverage_proof_rejects"),
    ),
    (
        "a chain's differences the wrong way round",
        "lowering/horner.py",
        "combine([(1, x[j]), (-1, x[j - 1]), *inner])",
        "combine([(-1, x[j]), (1, x[j - 1]), *inner])",
        tests(*PROGRAMS),
    ),
    (
        "a signed chain rounds like one of inputs >= 0",
        "lowering/horner.py",
        "(2.0, 3.0, 2.0) if signed else",
        "(1.0, 1.0, 1.0) if signed else",
        tests("test_numerics", "a_horner_chain"),
    ),
    (
        "a zero in front is cut off without its padding",
        "lowering/adapt.py",
        "low, cut = min(ends[0], begin // d)",
        "low, cut = ends[0]",
        tests(*PROGRAMS),
    ),
    (
        "a convolution with pads is called a copy",
        "lowering/adapt.py",
        "plain = set(node.window.strides) == {1} and not node.window.padded and",
        "plain = set(node.window.strides) == {1} and",
        tests("lowering/test_adapt", "copies_are_left_out"),
    ),
    (
        "a frame without its pads",
        "torch/framing.py",
        "(begin + ring * d, end + ring * d)",
        "(begin, end)",
        tests("torch/test_framing", "the_sums_stay_and_no_pads_reach_beyond_the_kernel[2]"),
    ),
    (
        "a sum at a distance begins with what is added",
        "torch/framing.py",
        "if summed and np.count_nonzero(node.kernel[0]) > 1:",
        "if False:",
        tests("torch/test_framing", "nothing_is_summed_at_a_distance"),
    ),
    (
        "a distance with long pads",
        "torch/framing.py",
        "return made if max(made.window.explicit_pads(())[-1]) <= LAST_PAD else _ringed(bare)",
        "return made",
        tests("torch/test_framing", "long_pads_along_the_last_axis_have_no_distance"),
    ),
    (
        "a call that rounds otherwise is taken",
        "torch/steps.py",
        "if alike and y.numel() >= LEAST else None",
        "if y.numel() >= LEAST else None",
        tests("torch/test_onednn", "order_of_sums_is_tried_on_numbers_that_show_it"),
    ),
    (
        "vmap gets a call that it does not know",
        "torch/onednn.py",
        "_wrapped(x) or ",
        "",
        tests("torch/test_onednn", "where_somebody_looks_on_nothing_is_fused[vmap]"),
    ),
    (
        "a dispatch mode gets a call that it does not know",
        "torch/onednn.py",
        "_overridden() or ",
        "",
        tests("torch/test_onednn", "where_somebody_looks_on_nothing_is_fused[a dispatch mode]"),
    ),
    (
        "a call loses forward gradients",
        "torch/onednn.py",
        " or forward_ad._current_level >= 0)",
        ")",
        tests("torch/test_onednn", "where_somebody_looks_on_nothing_is_fused[forward gradients]"),
    ),
    (
        "a call under autocast",
        "torch/onednn.py",
        'torch.is_autocast_enabled("cpu") or ',
        "",
        tests("torch/test_onednn", "where_somebody_looks_on_nothing_is_fused[autocast]"),
    ),
    (
        "a call loses gradients",
        "torch/onednn.py",
        "(x.requires_grad or ",
        "(",
        tests("torch/test_onednn", "where_somebody_looks_on_nothing_is_fused[gradients]"),
    ),
    (
        "a call is made with fewer digits",
        "torch/onednn.py",
        ' or shortened("cpu"))',
        ")",
        tests("torch/test_onednn", "shortened_convolutions_are_not_called"),
    ),
    (
        "a kernel loses zeros that make a window",
        "torch/onednn.py",
        "while room + dilation < stride and",
        "while room < stride and",
        tests("torch/test_onednn", "kernels_lose_only_zeros_that_no_window_needs"),
    ),
    (
        "a call for every shape is kept",
        "torch/pool.py",
        "next(NUMBERS) if len(self.seen) < SHAPES else 0",
        "next(NUMBERS)",
        tests("torch/test_onednn", "only_some_shapes_are_kept"),
    ),
    (
        "two shapes share their calls",
        "torch/pool.py",
        "next(NUMBERS) if",
        "len(self.seen) + 1 if",
        tests("torch/test_onednn", "shapes_that_come_at_once_have_calls_of_their_own"),
    ),
    (
        "what is added is read from memory",
        "cost.py",
        "0.0 if len(found.reads) > 1 else FRESH * written",
        "FRESH * written",
        tests("test_cost", "passes_and_work_of_a_horner_chain"),
    ),
    (
        "channels that fill no block cost the same",
        "onnx/find.py",
        "given, stages, site.channels)",
        "given, stages)",
        tests("onnx/test_find", "channels_that_fill_no_block_have_a_plan_of_fewer_taps"),
    ),
    (
        "what others need for all channels has one",
        "layout.py",
        "if i not in alike and not isinstance(node, Conv):",
        "if False:",
        tests("onnx/test_convert", "what_is_alike_in_all_channels_has_one_where_they_fill_no_block[3-True]"),
    ),
    (
        "what differs between channels has one",
        "layout.py",
        "zeros = isinstance(node, Conv) and not node.kernel.any()",
        "zeros = isinstance(node, Conv)",
        tests("onnx/test_convert", "what_is_alike_in_all_channels_has_one_where_they_fill_no_block[3-False]"),
    ),
    (
        "a sum is written over what something else reads",
        "torch/steps.py",
        "for one in order if readers[one.nodes[-1] + 1] == 1}",
        "for one in order}",
        tests("torch/test_steps", "what_is_read_again_is_not_written_over"),
    ),
    (
        "a sum is written over where gradients are recorded",
        "torch/steps.py",
        "not (x.requires_grad or recorded())",
        "not recorded()",
        tests("torch/test_torch_pool", "every_step_takes_backward_hooks"),
    ),
    (
        "an exported graph writes over its tensors",
        "torch/steps.py",
        "not (x.requires_grad or recorded())",
        "not x.requires_grad",
        tests("torch/test_torch_pool", "exported_and_traced_graphs_hold_the_program_alone"),
    ),
    (
        "a trace reorders its images",
        "torch/pool.py",
        "(self.folded or self.strided or recorded())",
        "(self.folded or self.strided)",
        tests("torch/test_torch_pool", "exported_and_traced_graphs_hold_the_program_alone"),
    ),
    (
        "images are reordered for a strided pool",
        "torch/pool.py",
        "(self.folded or self.strided or recorded())",
        "(self.folded or recorded())",
        tests("torch/test_torch_pool", "only_images_that_are_read_whole_are_reordered"),
    ),
    (
        "the result is not given back in the order of its input",
        "torch/pool.py",
        "return y.contiguous() if reordered else y",
        "return y",
        tests("torch/test_torch_pool", "nothing_that_others_read_is_written_over"),
    ),
]

CHOICE = [
    (
        "nodes out of order are accepted",
        "onnx/ensures.py",
        "if name in scope.producers and name not in made:",
        "if not scope.producers:",
        tests("onnx/test_siblings", "nodes_out_of_order_are_no_conversion"),
    ),
    (
        "an Add is fused twice",
        "cost.py",
        "(isinstance(behind, Add) and len(reads) > 1)",
        "False",
        tests("test_cost", "work_of_what_is_not_fused"),
    ),
    (
        "rows that are skipped are read",
        "cost.py",
        "* _rows(node)",
        "",
        tests("test_cost", "strides_skip_rows_but_not_columns"),
    ),
    (
        "what is there already is paid for again",
        "ranking.py",
        "paid = there if i >= len(plans) else (0.0, 0.0)",
        "paid = (0.0, 0.0)",
        tests("onnx/test_siblings", "a_pyramid_computes_each_maximum_once"),
    ),
    (
        "nodes that are shared stand where the larger pool was",
        "onnx/place.py",
        "first = min(shared.pools",
        "first = max(shared.pools",
        tests("onnx/test_siblings", "a_pyramid_computes_each_maximum_once"),
    ),
    (
        "what was measured is forgotten",
        "bench/tune.py",
        "_write(self.path, self._known)",
        "_write(self.path, {})",
        tests("bench/test_tune", "a_choice_is_remembered_under_all_it_depends_on"),
    ),
    (
        "wrong candidates are timed",
        "bench/tune.py",
        "<= 2 * reach",
        ">= 0",
        tests("bench/test_tune", "what_computes_something_else_is_not_timed"),
    ),
]

MUTATIONS = [*PLANS, *LOWERING, *CHOICE]
