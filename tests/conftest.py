"""Shared by all tests: fixed hypothesis settings, and the guard of the mutation tests."""

import os
from pathlib import Path

import hypothesis
import pytest

import depool

hypothesis.settings.register_profile("depool", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("depool")


def pytest_configure():
    """Under mutations.py the mutated copy must be what is tested, not the installed package."""
    root = os.environ.get("DEPOOL_MUTANT")
    if root and not Path(depool.__file__).is_relative_to(root):
        raise pytest.UsageError(f"the tests import {depool.__file__}, not the mutant under {root}")
