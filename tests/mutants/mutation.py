"""One broken rule, and the names of the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial


@dataclass(frozen=True)
class Mutation:
    """One broken rule.

    Attributes:
        name: what is broken.
        file: under src/depool.
        old, new: the text and what replaces it; `old` occurs once.
        tests: pytest's node ids, relative to the repository; few and quick.
        also: further (file, old, new), where one change alone would be noticed by an assertion of the source.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    also: tuple[tuple[str, str, str], ...] = ()


def tests(file: str, *names: str) -> tuple[str, ...]:
    """Tests of one file."""
    return tuple(f"tests/{file}.py::test_{name}" for name in names)


def case(*ids: str) -> tuple[str, ...]:
    """Cases of the table in lowering/test_programs.py."""
    return tuple(f"tests/lowering/test_programs.py::test_every_rule_form_scheme_and_gate[{i}]" for i in ids)


lowering = partial(tests, "lowering/test_programs")
geometry = partial(tests, "test_geometry")
plans = partial(tests, "plan/test_plans")
numerics = partial(tests, "test_numerics")
cost = partial(tests, "test_cost")
targets = partial(tests, "test_targets")
caveats = partial(tests, "onnx/test_caveats")
with_relu = partial(tests, "lowering/test_with_relu")
