"""Mutations of how model objects, and files of them, are verified; rows in the order of `Mutation`'s fields."""

from __future__ import annotations

from mutants.mutation import tests

LAYOUTS = [
    (
        "the first layout that fits is taken",
        "verification/layouts.py",
        "if len(orders) > 1:",
        "if len(orders) > 9:",
        tests("verification/test_layouts", "what_shapes_do_not_settle_is_asked"),
    ),
    (
        "inputs are always matched by order",
        "verification/layouts.py",
        "if sorted(names) == sorted(port.name for port in other):",
        "if names == [port.name for port in other]:",
        tests("verification/test_layouts", "names_decide_where_they_are_the_same"),
    ),
]
OBJECTS = [
    (
        "nobody looks whether anything but the pools was changed",
        "verification/around.py",
        "if not _same(results, paired(",
        "if not results and not _same(results, paired(",
        tests("verification/test_objects", "a_forward_that_asks_for_the_class_of_a_pool_is_noticed"),
    ),
    (
        "a lifted forward is not held against the original",
        "verification/around.py",
        "if self.base is not self.original and not",
        "if self.base is self.original and not",
        tests("verification/test_objects", "another_weight_is_a_change"),
    ),
    (
        "a pool of an object may be off by any amount",
        "verification/objects.py",
        "bound = record.rounding_bound(size.astype(np.float64), dtype)",
        "bound = record.rounding_bound(size.astype(np.float64), dtype) + np.inf",
        tests("verification/test_objects", "a_wrong_pool_is_named_and_saved"),
    ),
    (
        "what a pool was assumed to get is not watched",
        "torch/subject.py",
        "seen(path, to_array(args[0]).astype(np.float64))",
        "seen(path, np.zeros(1))",
        tests("verification/test_objects", "a_broken_assumption_is_no_proof"),
    ),
    (
        "models are compared in training",
        "torch/subject.py",
        "module.training = False",
        "module.training = True",
        tests("verification/test_objects", "models_are_compared_in_evaluation"),
    ),
]
EXPORTED = [
    (
        "sizes in a file are evaluated whatever they say",
        "torch/archive.py",
        'if key == "expr_str" and not _is_size(entry):',
        'if key == "expr_str" and not entry:',
        tests("torch/test_exported", "bad_files_are_refused_and_nothing_in_them_runs[code as a size]"),
    ),
    (
        "guards from a file are run",
        "torch/exported.py",
        "program.module(check_guards=False)",
        "program.module()",
        tests("torch/test_exported", "guards_are_code_and_never_run"),
    ),
    (
        "pickled example inputs are loaded",
        "torch/archive.py",
        "torch.load(io.BytesIO(content), weights_only=True)",
        "io.BytesIO(content)",
        tests("torch/test_exported", "bad_files_are_refused_and_nothing_in_them_runs[pickled example inputs]"),
    ),
    (
        "pickled weights are loaded",
        "torch/archive.py",
        'entry.get("use_pickle", True) or not',
        "not",
        tests("torch/test_exported", "bad_files_are_refused_and_nothing_in_them_runs[pickled weights]"),
    ),
    (
        "dynamic sizes of an exported program are frozen",
        "torch/exported.py",
        "return known[expression]",
        "return torch.export.Dim.STATIC",
        tests("torch/test_exported", "dynamic_sizes_stay_dynamic"),
    ),
    (
        "indices that are read are passed over",
        "torch/exported.py",
        "user.target is operator.getitem and user.args[1] == 0",
        "user.target is operator.getitem",
        tests("torch/test_exported", "indices_that_are_read_are_refused"),
    ),
]

MUTATIONS = (*LAYOUTS, *OBJECTS, *EXPORTED)
