"""Mutations of the ONNX frontend and of the verification, for mutations.py.

Each is (name, file under src/depool, old text that occurs once, new text, pytest's node ids that must fail), in the
order of `mutations.Mutation`'s fields.
"""

from __future__ import annotations


def tests(file: str, *names: str) -> tuple[str, ...]:
    """Tests of one file."""
    return tuple(f"tests/{file}.py::test_{name}" for name in names)


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
        tests("onnx/test_convert", "any_other_pad_is_data"),
    ),
    (
        "the axes of a Pad are not read",
        "onnx/padding.py",
        "if len(node.input) > 3 and node.input[3]:",
        "if len(node.input) > 4:",
        tests("onnx/test_convert", "a_pad_of_the_lowest_number_becomes_part_of_the_pool"),
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
        "windows that no runtime computes are counted",
        "onnx/shapes.py",
        "if opset >= 22 or not _correct_first(light, inferred):",
        "if opset >= 1 or not _correct_first(light, inferred):",
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
        tests("onnx/test_convert", "opset_6_in_every_layout"),
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
        'return _window(node.window) | {"group": conv.group}',
        "return _window(node.window)",
        tests("onnx/test_convert", "exact_is_exact"),
    ),
    (
        "symbolic SAME pads are left out",
        "onnx/splice.py",
        'return found | {"auto_pad": window.pads}',
        "return found",
        tests("onnx/test_convert", "a_dynamic_model_keeps_pads_that_only_the_runtime_knows"),
    ),
    (
        "Concat joins along the axis before",
        "onnx/splice.py",
        'return {"axis": 1 + node.axis}',
        'return {"axis": node.axis}',
        tests("onnx/test_convert", "what_licenses_a_border_of_zeros"),
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
        "onnx/convert.py",
        "if name not in scope.outputs and all(",
        "if all(",
        tests("onnx/test_convert", "an_absorbed_pad_stays_for_its_other_readers"),
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
        tests("onnx/test_convert", "a_window_too_many_is_no_longer_declared"),
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

VERIFICATION = [
    (
        "a lower bound needs no licence",
        "verification/pools.py",
        "facts.lower > site.facts.lower or ",
        "",
        tests("verification/test_verify", "a_record_that_lies"),
    ),
    (
        "not a number passes",
        "verification/pools.py",
        "wrong = ~(apart <= bound)",
        "wrong = apart > bound",
        tests("verification/test_verify", "not_a_number_is_not_equal"),
    ),
    (
        "a replacement may hold any operator",
        "verification/pools.py",
        "    if foreign:\n",
        "    if not model:\n",
        tests("verification/test_verify", "a_region_replaced_by_another_pool"),
    ),
    (
        "the convolutions are not run as users run them",
        "verification/pools.py",
        "for optimised in (False, True)]",
        "for optimised in (False,)]",
        tests("verification/test_verify", "the_oracle_runs_without_optimisations_and_the_convolutions_with_both"),
    ),
    (
        "the oracle runs with optimisations",
        "verification/oracle.py",
        "level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL",
        "level.ORT_ENABLE_ALL",
        tests("verification/test_verify", "the_oracle_runs_without_optimisations_and_the_convolutions_with_both"),
    ),
    (
        "one side's NaN is no difference",
        "verification/compare.py",
        "apart[np.isnan(apart)] = np.inf",
        "apart[np.isnan(apart)] = 0",
        tests("verification/test_compare", "what_is_not_finite"),
    ),
    (
        "bfloat16 is measured in float16's last places",
        "verification/compare.py",
        "2.0 ** (exponent - 7)",
        "2.0 ** (exponent - 10)",
        tests("verification/test_compare", "one_unit_in_the_last_place"),
    ),
    (
        "weights elsewhere are not compared",
        "onnx/ensures.py",
        "            yield from _changed_weights(scope, other)\n",
        "            yield from ()\n",
        tests("verification/test_verify", "a_weight_changed_elsewhere"),
    ),
    (
        "verify forgets the shapes that were fixed",
        "verification/verify.py",
        "prepared(original.model, given.shapes, given.opset)",
        "prepared(original.model, (), given.opset)",
        tests("onnx/test_convert", "shapes_fix_the_declared_input"),
    ),
    (
        "spikes are as low as the rest",
        "verification/inputs.py",
        "values[(row, *lattice)] = high",
        "values[(row, *lattice)] = low",
        tests("verification/test_inputs", "spikes_stand_once_in_every_window_at_every_place"),
    ),
    (
        "spikes stand on a lattice too narrow",
        "verification/inputs.py",
        "min((k - 1) * d + 1 + s, n)",
        "min(k, n)",
        tests("verification/test_inputs", "spikes_stand_once_in_every_window_at_every_place"),
    ),
    (
        "inputs leave the declared range",
        "verification/inputs.py",
        "np.clip(np.clip(values, -top, top), record.facts.lower, record.facts.upper)",
        "np.clip(values, -top, top)",
        tests("verification/test_inputs", "inputs_stay_inside_the_facts"),
        (("verification/inputs.py", "np.where(outside, np.clip(folded, low, high), values)", "values"),),
    ),
    (
        "a stated tolerance is not applied",
        "verification/judge.py",
        "if any(c.within is False for c in checks):",
        "if any(c.within is None for c in checks):",
        tests("verification/test_verify", "models_without_records_are_compared_at_a_tolerance"),
    ),
    (
        "data outside the declared range pass for equal",
        "verification/judge.py",
        "if any(record.facts.declared for record, _ in broken_assumptions(records, whole.given or whole.ranges)):",
        "if not records and not checks:",
        tests("verification/test_verify", "data_outside_the_declared_range_break_an_assumption_not_the_conversion"),
        (("verification/judge.py", "if whole.undeclared:", "if not records and not checks:"),),
    ),
    (
        "given data are not held against the declared range of the inputs",
        "verification/judge.py",
        "if whole.undeclared:",
        "if not records and not checks:",
        tests("onnx/test_safety", "given_data_are_held_against_the_declared_range"),
    ),
    (
        "drawn inputs outside what was declared pass for equal",
        "verification/judge.py",
        "broken_assumptions(records, whole.given or whole.ranges)):",
        "broken_assumptions(records, whole.given)):",
        tests("onnx/test_safety", "a_declaration_that_does_not_hold_is_never_called_equal"),
    ),
    (
        "a link is replaced by the file",
        "onnx/files.py",
        "written[-1].replace(path.resolve())",
        "written[-1].replace(path)",
        tests("onnx/test_safety", "a_link_stays_and_what_it_points_to_is_written"),
    ),
]

KERAS = [
    (
        "a leaky ReLU counts as one",
        "keras/facts.py",
        "return op.negative_slope == 0 and op.threshold >= 0 and not cut",
        "return op.threshold >= 0 and not cut",
        tests("keras/test_keras_facts", "what_is_not_known_is_signed[leaky]"),
    ),
    (
        "a constant beside the tensors of a graph is not seen",
        "keras/graph.py",
        "if _reads_more(node):",
        "if not node.input_tensors:",
        tests("keras/test_keras_facts", "what_is_not_known_is_signed[times a constant]"),
    ),
    (
        "one call speaks for all",
        "keras/find.py",
        "joined([call.facts for call in calls])",
        "calls[0].facts",
        tests("keras/test_keras_facts", "what_is_not_known_is_signed[nested]"),
    ),
    (
        "a mask before an average is not seen",
        "keras/find.py",
        "if found.averages_a_mask and any(call.masked for call in calls):",
        "if found.averages_a_mask and not calls:",
        tests("keras/test_keras_convert", "a_refusal_names_code_layer_and_remedy[MASKED]"),
    ),
    (
        "a pool computes in the type of its input, whatever its policy",
        "keras/find.py",
        'return str(found.op.compute_dtype) if layer and "float" in call.dtype else call.dtype',
        "return call.dtype if layer else str(call.dtype)",
        tests("keras/test_keras_convert", "dtype_policies_are_kept_and_constants_fit_them[float16]"),
    ),
    (
        "a layer's own code calls its pool with the sizes seen, and no others",
        "keras/convert.py",
        "if site.inside and any(site.sizes):",
        "if site.inside and not site.sizes:",
        tests("keras/test_keras_convert", "a_subclassed_model_gets_its_layers_exchanged"),
    ),
    (
        "the pools' kernels are trained with the rest",
        "keras/rebuild.py",
        "        made.trainable = False\n",
        "        made.trainable = True\n",
        tests("keras/test_keras_convert", "trainable_flags_are_kept[frozen3]"),
    ),
    (
        "what a class writes into files is not copied",
        "keras/rebuild.py",
        "        _same_state(a, b)\n",
        "        _same_state(a, a)\n",
        tests("keras/test_keras_copies", "adapted_means_are_kept"),
    ),
    (
        "a copy that computes something else is taken",
        "keras/equality.py",
        "    if not _same(wanted, got) and _same(",
        "    if got is None and _same(",
        tests("keras/test_keras_copies", "a_copy_that_computes_something_else_is_refused[a call replaced-static]"),
    ),
    (
        "looking at a copy moves the model's random seeds",
        "keras/equality.py",
        "with keras.StatelessScope():",
        "with keras.name_scope(model.name):",
        tests("keras/test_keras_copies", "looking_at_a_copy_changes_nothing_and_asks_for_nothing_impossible"),
    ),
    (
        "a pool whose call was replaced counts as Keras' own",
        "keras/find.py",
        'if "call" in vars(found.op):',
        'if "call" in vars(type(found)):',
        tests("keras/test_keras_copies", "a_pool_with_a_call_of_its_own_is_refused_and_keeps_it"),
    ),
    (
        "the second conversion forgets the first",
        "keras/convert.py",
        "(*earlier.records, *(",
        "(*earlier.records[:0], *(",
        tests("keras/test_keras_convert", "a_second_conversion_tells_of_both"),
    ),
    (
        "pads at the two ends change places",
        "keras/build.py",
        'return "valid", window.pads',
        'return "valid", tuple(pair[::-1] for pair in window.pads)',
        tests("keras/test_keras_convert", "nested_and_shared_models_keep_their_structure"),
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

MUTATIONS = (*FIND, *SPLICE, *FILES, *VERIFICATION, *KERAS, *FOLD)
