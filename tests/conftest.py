"""Shared by all tests: fixed hypothesis settings, the guard of the mutation tests, and the command line in a folder."""

import os
import shutil
import sys
from pathlib import Path

import hypothesis
import pytest

import depool

ROOT = Path(__file__).resolve().parent.parent

hypothesis.settings.register_profile("depool", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("depool")


def pytest_configure():
    """Under mutations.py the mutated copy must be what is tested, not the installed package."""
    root = os.environ.get("DEPOOL_MUTANT")
    if root and not Path(depool.__file__).is_relative_to(root):
        raise pytest.UsageError(f"the tests import {depool.__file__}, not the mutant under {root}")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A fresh folder with the example model, 80 columns wide."""
    shutil.copy(ROOT / "examples" / "digits.onnx", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture(name="depool")
def command_line(monkeypatch, capsys):
    """Run a command in this process: (exit code, standard output, standard error)."""
    from depool.cli import main

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["depool", *map(str, args)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return (stopped.value.code, *capsys.readouterr())

    return run
