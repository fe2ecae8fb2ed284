"""Mutations of the timing of models; rows in the order of `Mutation`'s fields."""

from __future__ import annotations

from mutants.mutation import tests

MUTATIONS = [
    (
        "a pool that is wrong is timed",
        "bench/candidates.py",
        "if wrong.any():",
        "if wrong.all():",
        tests("bench/test_bench", "a_wrong_conversion_is_not_timed"),
    ),
    (
        "a given file is timed unverified",
        "bench/comparison.py",
        "if verdict.equal is False:",
        "if verdict.equal is False and not records:",
        tests("bench/test_bench", "a_given_file_is_verified_first"),
    ),
    (
        "pools that differ in sign are timed as one",
        "bench/candidates.py",
        'replace(record, where="", scope="", source="", output="", inner=(), facts=facts, reason="")',
        "(record.spec, record.sizes, record.channels)",
        tests("bench/test_bench", "pools_that_are_alike_are_timed_once"),
    ),
    (
        "a ratio is that of the medians",
        "bench/timing.py",
        "return Spread.of([t / b for t, b in zip(self.seconds[name], self.seconds[base], strict=True)])",
        "return Spread.of([self.time(name).median / self.time(base).median])",
        tests("bench/test_timing", "ratio_is_taken_within_each_round"),
    ),
    (
        "every round has the same order",
        "bench/timing.py",
        "Random(done)",
        "Random(0)",
        tests("bench/test_timing", "every_round_has_each_candidate_once_and_an_order_of_its_own"),
    ),
    (
        "an interruption spoils a round",
        "bench/timing.py",
        "found[name].append(median(times))",
        "found[name].append(sum(times) / len(times))",
        tests("bench/test_timing", "an_interruption_spoils_one_block_only"),
    ),
]
