"""Mutations of the ONNX frontend; rows in the order of `Mutation`'s fields."""

from __future__ import annotations

from mutants.mutation import tests

FIND = [
    (
        "a pool that is an output too counts as followed by ReLUs alone",
        "onnx/find.py",
        "relu = bool(readers) and output not in scope.outputs",
        "relu = bool(readers)",
        tests("onnx/test_find", "a_pool_that_is_an_output_too_is_not_followed_by_relus_alone"),
    ),
    (
        "positions that are read are not looked for",
        "onnx/find.py",
        "if len(node.output) > 1 and _read(scope, node.output[1]):",
        "if len(node.output) > 2:",
        tests("onnx/test_find", "a_refusal_names_code_node_reason_and_remedy[INDICES_USED]"),
    ),
    (
        "a max pool of another domain is passed over",
        "onnx/find.py",
        "or not _is_max_pool(node.op_type):",
        "or node.domain:",
        tests("onnx/test_find", "a_max_pool_of_another_domain_is_selected_and_refused"),
    ),
    (
        "a Pad of zeros becomes part of the pool",
        "onnx/padding.py",
        "if value is None or not _is_lowest(value",
        "if value is None or value > 0 and not _is_lowest(value",
        tests("onnx/test_pads", "any_other_pad_is_data"),
    ),
    (
        "the axes of a Pad are not read",
        "onnx/padding.py",
        "if len(node.input) > 3 and node.input[3]:",
        "if len(node.input) > 4:",
        tests("onnx/test_pads", "a_pad_of_the_lowest_number_becomes_part_of_the_pool"),
    ),
    (
        "a default value that can be overridden counts as constant",
        "onnx/graph.py",
        "for tensor in container.initializer if tensor.name not in inputs}",
        "for tensor in container.initializer}",
        tests("onnx/test_convert", "a_weight_that_can_be_overridden_is_no_fact"),
    ),
    (
        "what a subgraph reads is not seen",
        "onnx/graph.py",
        "yield from (name for name in reads(inner) if name not in own)",
        "yield from ()",
        tests("onnx/test_find", "a_pool_read_inside_a_branch_is_not_followed_by_relus_alone"),
    ),
    (
        "sizes behind a corrected pool are believed",
        "onnx/shapes.py",
        "if not stale.isdisjoint((*reads(node), *results)) or _corrected(",
        "if _corrected(",
        tests("onnx/test_linear", "a_pool_behind_a_corrected_one_waits_for_its_size"),
    ),
    (
        "pools are corrected one by one",
        "onnx/shapes.py",
        "or _corrected(node, types[path]):",
        "or (not stale and _corrected(node, types[path])):",
        tests("onnx/test_linear", "ceil_mode_pools_side_by_side_are_corrected_together"),
    ),
    (
        "windows that no runtime computes are counted",
        "onnx/shapes.py",
        "if opset >= 22 or not _correct(light, inferred):",
        "if opset >= 1 or not _correct(light, inferred):",
        tests("onnx/test_shapes", "a_correction_reaches_all_that_follows"),
    ),
    (
        "the first call of a function speaks for all",
        "onnx/shapes.py",
        "tuple(x if x == y else None for x, y in zip(a.dims, b.dims, strict=True))",
        "a.dims",
        tests("onnx/test_shapes", "a_function_body_has_what_its_calls_agree_on"),
    ),
]

SPLICE = [
    (
        "opset 6 gets an Add",
        "onnx/splice.py",
        "site.scope.opset > 6 else",
        "site.scope.opset > 5 else",
        tests("onnx/test_types", "opset_6_in_every_layout"),
    ),
    (
        "weights are repeated in the wrong order",
        "layout.py",
        "np.tile(node.kernel, (channels, *(1,) * (node.kernel.ndim - 1)))",
        "np.repeat(node.kernel, channels, axis=0)",
        tests("onnx/test_convert", "exact_is_exact"),
    ),
    (
        "the group is left out",
        "onnx/splice.py",
        'return window_attributes(node.window) | {"group": conv.group}',
        "return window_attributes(node.window)",
        tests("onnx/test_convert", "exact_is_exact"),
    ),
    (
        "symbolic SAME pads are left out",
        "onnx/splice.py",
        'return found | {"auto_pad": window.pads}',
        "return found",
        tests("onnx/test_facts", "a_dynamic_model_keeps_pads_that_only_the_runtime_knows"),
    ),
    (
        "Concat joins along the axis before",
        "onnx/splice.py",
        'return {"axis": 1 + node.axis}',
        'return {"axis": node.axis}',
        tests("onnx/test_facts", "what_licenses_a_border_of_zeros"),
    ),
    (
        "functions get initialisers",
        "onnx/splice.py",
        "if site.scope.is_function or ir_version < 4:",
        "if ir_version < 4:",
        tests("onnx/test_scopes", "a_function_holds_its_weights_in_constant_nodes_or_its_own_subgraphs"),
    ),
    (
        "only whole names count as taken",
        "onnx/splice.py",
        'name = name.rpartition("/")[0]',
        'name = ""',
        tests("onnx/test_convert", "names_that_the_model_has_already_are_not_used_again"),
    ),
    (
        "an absorbed Pad goes although it is an output",
        "onnx/place.py",
        "if name not in scope.outputs and all(",
        "if all(",
        tests("onnx/test_pads", "an_absorbed_pad_stays_for_its_other_readers"),
    ),
    (
        "earlier records are forgotten",
        "onnx/convert.py",
        "(*previous, *records)",
        "tuple(records)",
        tests("onnx/test_convert", "pools_converted_one_after_the_other_are_all_remembered"),
    ),
    (
        "wrong declarations stay",
        "onnx/convert.py",
        "        _correct_shapes(model)\n",
        "        pass\n",
        tests("onnx/test_types", "a_window_too_many_is_no_longer_declared"),
    ),
]

FILES = [
    (
        "external data are not looked at",
        "onnx/files.py",
        "        _check_external(source, location, length)\n",
        "        pass\n",
        tests("onnx/test_files", "external_data_that_are_missing_or_short"),
    ),
    (
        "the file is not moved into place",
        "onnx/files.py",
        "written[-1].replace(path.resolve())",
        "written[-1].exists()",
        tests("onnx/test_files", "the_default_output_stands_beside_the_model"),
    ),
    (
        "an existing file is overwritten unasked",
        "onnx/files.py",
        "    if path.exists() and not force:\n",
        "    if path.exists() and not path.exists():\n",
        tests("onnx/test_files", "an_existing_file_is_not_overwritten_unless_forced"),
    ),
    (
        "the input may be the output",
        "onnx/files.py",
        "Path(source).exists() and path.samefile(source)",
        "not Path(source).exists()",
        tests("onnx/test_files", "the_input_is_never_overwritten"),
    ),
]

FOLD = [
    (
        "composed taps stand as if the first had no strides",
        "onnx/compose.py",
        "(i * d + j * d2 * stride) // step",
        "(i * d + j * d2) // step",
        tests("onnx/test_fold", "two_convolutions_are_one_for_every_geometry"),
    ),
    (
        "the first convolution's bias is lost",
        "onnx/compose.py",
        "if first.bias is not None:\n        more",
        "if first.bias is None and first.group < 0:\n        more",
        tests("onnx/test_fold", "two_convolutions_are_one_for_every_geometry"),
    ),
    (
        "padding between two convolutions is composed whatever it pads",
        "onnx/compose.py",
        "if two.padded and (first.bias is not None or one.padded or max(one.kernel_shape) > 1):",
        "if two.padded and one.padded:",
        tests("onnx/test_fold", "where_the_law_does_not_hold_nothing_is_composed"),
    ),
    (
        "a pool with several readers is folded",
        "onnx/fold.py",
        "if name in scope.outputs or len(readers) != 1 or",
        "if name in scope.outputs or not readers or",
        tests("onnx/test_fold", "what_cannot_or_need_not_be_folded_stays[two readers]"),
    ),
    (
        "a pool that is an output is folded",
        "onnx/fold.py",
        "if name in scope.outputs or len(readers)",
        "if len(readers)",
        tests("onnx/test_fold", "a_pool_that_is_an_output_stays"),
    ),
    (
        "more work is no reason not to fold",
        "onnx/fold.py",
        "if both.weight.size * (prod(after) + 1) > apart:",
        "if not both.weight.size:",
        tests("onnx/test_fold", "what_cannot_or_need_not_be_folded_stays[more work]"),
    ),
    (
        "a pointwise convolution becomes a slow one",
        "onnx/fold.py",
        "if not fast or fast & _fast(both) else None",
        "if fast is not None else None",
        tests("onnx/test_fold", "what_cannot_or_need_not_be_folded_stays"),
    ),
    (
        "the bound of a folded pool is a thousand times too large",
        "verification/folded.py",
        "own, other = gamma(user.terms + 1, u), gamma(both.terms + 3, u)",
        "own, other = 1e3 * gamma(user.terms + 1, u), 1e3 * gamma(both.terms + 3, u)",
        tests("onnx/test_fold", "a_wrong_fold_is_noticed"),
    ),
    (
        "a folded pool is compared without its convolution's rounding",
        "verification/folded.py",
        "own, other = gamma(user.terms + 1, u), gamma(both.terms + 3, u)",
        "own, other = 0.0, 0.0",
        tests("onnx/test_fold", "random_weights_stay_within_the_derived_bound"),
    ),
    (
        "a record may call any convolution folded",
        "verification/folded.py",
        "if not before and node.input[0] != record.output:",
        "if False:",
        tests("onnx/test_fold", "what_a_record_claims_is_looked_up_in_the_original[z-does not stand next to it]"),
    ),
    (
        "a ReLU goes in front of a chain whatever reads it",
        "choose.py",
        "return facts.signed and facts.relu_follows and not asked",
        "return facts.signed and not asked",
        tests("lowering/test_relu_first", "elsewhere_there_is_no_relu_in_front"),
    ),
    (
        "behind a ReLU in front the chain goes on from the input",
        "choose.py",
        "(shifted(node, 2) for node in program.nodes)",
        "(shifted(node, 2 if i else 0) for i, node in enumerate(program.nodes))",
        tests("lowering/test_relu_first", "the_result_behind_the_relus_is_the_pools"),
    ),
    (
        "a folded convolution's weight goes although others read it",
        "onnx/fold.py",
        "freed - kept - ",
        "freed - ",
        tests("onnx/test_fold", "a_weight_that_others_read_stays"),
    ),
]

MUTATIONS = (
    *FIND,
    *SPLICE,
    *FILES,
    *FOLD,
)
