"""Mutations of the Keras frontend; rows in the order of `Mutation`'s fields."""

from __future__ import annotations

from mutants.mutation import tests

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

MUTATIONS = (*KERAS,)
