"""One broken rule, and the names of the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass


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


def lowering(*names: str) -> tuple[str, ...]:
    """Tests of lowering/test_programs.py."""
    return tuple(f"tests/lowering/test_programs.py::test_{name}" for name in names)


def geometry(*names: str) -> tuple[str, ...]:
    """Tests of test_geometry.py."""
    return tuple(f"tests/test_geometry.py::test_{name}" for name in names)


def plans(*names: str) -> tuple[str, ...]:
    """Tests of plan/test_plans.py."""
    return tuple(f"tests/plan/test_plans.py::test_{name}" for name in names)


def numerics(*names: str) -> tuple[str, ...]:
    """Tests of test_numerics.py."""
    return tuple(f"tests/test_numerics.py::test_{name}" for name in names)


def cost(*names: str) -> tuple[str, ...]:
    """Tests of test_cost.py."""
    return tuple(f"tests/test_cost.py::test_{name}" for name in names)


def targets(*names: str) -> tuple[str, ...]:
    """Tests of test_targets.py."""
    return tuple(f"tests/test_targets.py::test_{name}" for name in names)


def caveats(*names: str) -> tuple[str, ...]:
    """Tests of onnx/test_caveats.py."""
    return tuple(f"tests/onnx/test_caveats.py::test_{name}" for name in names)


def with_relu(*names: str) -> tuple[str, ...]:
    """Tests of lowering/test_with_relu.py."""
    return tuple(f"tests/lowering/test_with_relu.py::test_{name}" for name in names)
