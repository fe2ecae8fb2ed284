"""Mutations of the verification; rows in the order of `Mutation`'s fields."""

from __future__ import annotations

from mutants.mutation import tests

VERIFICATION = [
    (
        "a lower bound needs no licence",
        "verification/pools.py",
        "facts.lower > site.facts.lower or ",
        "",
        tests("verification/test_records", "a_record_that_lies"),
    ),
    (
        "not a number passes",
        "verification/pools.py",
        "wrong = ~(apart <= bound)",
        "wrong = apart > bound",
        tests("verification/test_regions", "not_a_number_is_not_equal"),
    ),
    (
        "a replacement may hold any operator",
        "verification/pools.py",
        "    if foreign:\n",
        "    if not model:\n",
        tests("verification/test_regions", "a_region_replaced_by_another_pool"),
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
        "yield from _changed_weights(",
        "yield from (lambda *_: ())(",
        tests("verification/test_verify", "a_weight_changed_elsewhere"),
    ),
    (
        "verify forgets the shapes that were fixed",
        "verification/verify.py",
        "prepared(original.model, given.shapes, given.opset)",
        "prepared(original.model, (), given.opset)",
        tests("onnx/test_facts", "shapes_fix_the_declared_input"),
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
        tests("verification/test_data", "data_outside_the_declared_range_break_an_assumption_not_the_conversion"),
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

MUTATIONS = (*VERIFICATION,)
