"""Does a test fail for every rule that is broken? One mutation per rule, each with the tests that must notice.

    python tests/mutations.py                     all of them, after the same tests on the unbroken source
    python tests/mutations.py shift mask          those whose name contains a word

Each mutation is made in a temporary copy of src, which the tests then import in place of the installed package
(conftest.py sees to it). A mutation whose text is no longer found exactly once is STALE, one that breaks more than
a test (the import, the collection) is BROKEN; both count as failures, like SURVIVED.

The tables are in mutants/, by what they break. To cover another part of the source, add a file there, and to TABLES.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mutants import (
    bench,
    borders,
    folded,
    gates,
    geometry,
    keras_frontend,
    lowering,
    numerics,
    objects,
    onnx_frontend,
    pages,
    plans,
    speed,
    targets,
    terminal,
    torch_frontend,
    verification,
)  # fmt: skip
from mutants.mutation import Mutation

ROOT = Path(__file__).resolve().parent.parent


TABLES = (
    geometry, plans, gates, borders, lowering, targets, numerics, speed, folded, onnx_frontend, torch_frontend,
    keras_frontend, objects, verification, bench, pages, terminal,
)  # fmt: skip
ROWS: tuple[Any, ...] = tuple(row for table in TABLES for row in table.MUTATIONS)
MUTATIONS = tuple(row if isinstance(row, Mutation) else Mutation(*row) for row in ROWS)


def attempt(mutation: Mutation, source: Path = ROOT / "src") -> str:
    """``caught``, or what went wrong: SURVIVED, STALE or BROKEN, with the end of pytest's output."""
    with tempfile.TemporaryDirectory(prefix="depool-mutant-") as folder:
        copy = _copied(source, folder)
        for file, old, new in ((mutation.file, mutation.old, mutation.new), *mutation.also):
            path = copy / "depool" / file
            text = path.read_text()
            if text.count(old) != 1:
                return f"STALE: {file} holds {old!r} {text.count(old)} times"
            path.write_text(text.replace(old, new))
        done = _pytest(copy, mutation.tests)
    if done.returncode == 1:
        return "caught"
    return f"{'BROKEN' if done.returncode else 'SURVIVED'}\n{done.stdout[-2000:]}{done.stderr[-500:]}"


def baseline(mutations: Sequence[Mutation], source: Path = ROOT / "src") -> str:
    """Nothing if the tests pass on the unbroken source, else the end of pytest's output."""
    tests = tuple(dict.fromkeys(test for mutation in mutations for test in mutation.tests))
    with tempfile.TemporaryDirectory(prefix="depool-mutant-") as folder:
        done = _pytest(_copied(source, folder), tests)
    return done.stdout[-4000:] + done.stderr[-500:] if done.returncode else ""


def _copied(source: Path, folder: str) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    return Path(shutil.copytree(source, Path(folder) / "src", ignore=ignored))


def _pytest(source: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(source), "DEPOOL_MUTANT": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603


def main() -> int:
    """Run the mutations that were asked for; 1 if any was not caught."""
    parser = argparse.ArgumentParser(description="Break each rule of the source, and see whether a test fails.")
    parser.add_argument("words", nargs="*", help="only mutations whose name contains one of these")
    parser.add_argument("--source", type=Path, default=ROOT / "src", help="the tree to copy")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    chosen = [m for m in MUTATIONS if not given.words or any(word in m.name for word in given.words)]
    if not chosen:
        sys.stdout.write("no such mutation\n")
        return 1
    if failed := baseline(chosen, given.source):
        sys.stdout.write(f"{failed}\nthe tests fail on the unbroken source\n")
        return 1
    with ThreadPoolExecutor(given.jobs) as pool:
        verdicts = list(pool.map(lambda mutation: attempt(mutation, given.source), chosen))
    for mutation, verdict in zip(chosen, verdicts, strict=True):
        sys.stdout.write(f"{verdict.splitlines()[0]:9} {mutation.file}: {mutation.name}\n")
    missed = [(m, verdict) for m, verdict in zip(chosen, verdicts, strict=True) if verdict != "caught"]
    for mutation, verdict in missed:
        sys.stdout.write(f"\n{mutation.name}\n{verdict}\n")
    sys.stdout.write(f"{len(chosen) - len(missed)} of {len(chosen)} caught\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
