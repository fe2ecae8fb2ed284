"""Mutations of the layout `folded`; rows in the order of `Mutation`'s fields."""

from __future__ import annotations

from mutants.mutation import tests

ONNX = [
    (
        "a fold writes the sizes down",
        "onnx/splice.py",
        "[-1, channels, *[0] * rank]",
        "[-1, channels, 4, *[0] * (rank - 1)]",
        tests("onnx/test_folded", "dynamic_sizes_and_batch[2/2-False]"),
    ),
    (
        "folded kernels are repeated for every channel",
        "layout.py",
        'channels = 1 if layout == "folded" else channels',
        "channels = channels + 0",
        tests("onnx/test_folded", "pools_on_integers[int8]"),
    ),
    (
        "the cost of folded kernels grows with the channels",
        "onnx/inspect.py",
        '1 if conversion.channels == "folded" else channels, wide',
        "channels, wide",
        tests("onnx/test_folded", "its_cost_does_not_grow_with_the_channels"),
    ),
    (
        "any target gets a Reshape",
        "choice.py",
        'if choice.channels == "folded" and not target.reshape:',
        'if choice.channels == "folded" and not target.name:',
        tests("onnx/test_folded", "targets_that_take_no_reshape_say_so[portable]"),
    ),
    (
        "a Reshape is allowed in every layout",
        "verification/pools.py",
        'ALLOWED | {"Reshape"} if record.layout == "folded" else ALLOWED',
        'ALLOWED | {"Reshape"}',
        tests("onnx/test_folded", "a_reshape_that_nobody_told_of_is_seen"),
    ),
    (
        "any number of Reshapes is allowed",
        "onnx/ensures.py",
        "count <= 2 * sum(",
        "count <= 3 * sum(",
        tests("onnx/test_folded", "a_reshape_that_nobody_told_of_is_seen"),
    ),
]
PROOF = [
    (
        "sizes may go into the batch",
        "proof/region.py",
        "if batch != -1 or channels < 1 or sizes != [0] * self.rank:",
        "if batch != -1 or channels < 1 or len(sizes) != self.rank:",
        tests("proof/test_tampering", "a_fold_that_is_none[sizes into the batch]"),
    ),
    (
        "a 0 that means 0 is overlooked",
        "proof/region.py",
        'if shape is None or found.get("allowzero", 0):',
        "if shape is None:",
        tests("proof/test_tampering", "a_fold_that_is_none[allowzero]"),
    ),
    (
        "channels that do not go into the batch evenly",
        "proof/execution.py",
        "if count % op.channels:",
        "if count < 0:",
        tests("proof/test_tampering", "a_fold_that_is_none[more channels back]"),
    ),
    (
        "a result may stay in the batch",
        "proof/pools.py",
        "if result.items > 1 or not",
        "if not",
        tests("proof/test_tampering", "a_fold_that_is_none[no channels back]"),
    ),
    (
        "what is in the batch is added to what is not",
        "proof/joining.py",
        "    _alike(one, other)\n",
        "",
        tests("proof/test_tampering", "a_sum_of_what_is_in_the_batch_and_what_is_not"),
    ),
    (
        "Concat of folded tensors joins all channels of the one, then of the other",
        "proof/joining.py",
        "np.concatenate([part.reshape(items, -1) for part in parts], axis=1).reshape(-1)",
        "np.concatenate(parts)",
        tests("proof/test_certificates", "forms_schemes_and_layouts[tree-concat-folded]"),
    ),
]
KERAS = [
    (
        "a border's Concat joins along the axis of the channels",
        "keras/folded.py",
        "if isinstance(node, Concat) and node.axis > axis:",
        "if isinstance(node, Concat) and node.axis > axis + 1:",
        tests("keras/test_keras_folded", "a_further_axis_changes_nothing[tree-branched]"),
    ),
    (
        "elements that nobody reads are not cropped",
        "keras/folded.py",
        "_cropped(build, source, axis, max(-begin, 0), max(-end, 0))",
        "_cropped(build, source, axis, max(-begin, 0), 0)",
        tests("keras/test_keras_folded", "short_kernels_give_the_very_same_values"),
    ),
    (
        "a dilation together with a stride",
        "keras/folded.py",
        "(gap == 1 or max(window.strides) == 1)",
        "gap",
        tests("keras/test_keras_folded", "taps_that_no_one_kernel_holds"),
    ),
    (
        "a bias is added with each tap",
        "keras/folded.py",
        "replace(node, bias=None)",
        "node",
        tests("keras/test_keras_folded", "taps_that_no_one_kernel_holds"),
    ),
    (
        "chains are folded where XLA is slow at them",
        "keras/fast.py",
        "rank <= MOST_AXES and not chain and _on_cpu()",
        "rank <= MOST_AXES and _on_cpu()",
        tests("keras/test_backends", "the_checks_hold_on_the_other_backends[jax]"),
    ),
    (
        "four axes are promised to Keras",
        "keras/convert.py",
        'if wanted.channels == "folded" and len(site.sizes) > MOST_AXES:',
        'if wanted.channels == "folded" and len(site.sizes) > 3:',
        tests("keras/test_keras_folded", "three_axes_are_refused_and_left_to_groups"),
    ),
]

MUTATIONS = (*ONNX, *PROOF, *KERAS)
