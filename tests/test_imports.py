"""Importing depool, and asking for help, loads no framework."""

import subprocess
import sys

import pytest

import depool

HEAVY = ("torch", "keras", "tensorflow", "jax", "z3", "onnxruntime", "onnx")


@pytest.mark.parametrize(
    "code",
    [
        "import depool",
        "import depool.cli",
        "import sys, depool.cli; sys.argv = ['depool', '--help']; depool.cli.main()",
        "import sys, depool.cli; sys.argv = ['depool', 'convert', '--help']; depool.cli.main()",
        "import depool; depool.synthesize(depool.PoolSpec((2, 2), (2, 2)))",
    ],
)
def test_no_framework_is_imported(code):
    told = f"import atexit, sys; atexit.register(lambda: print('loaded:', *(sys.modules.keys() & set({HEAVY}))))"
    command = [sys.executable, "-c", f"{told}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    assert done.stdout.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize("name", depool.__all__)
def test_public_names_resolve(name):
    assert getattr(depool, name) is not None


def test_no_other_name_resolves():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = depool.nothing
    assert set(depool._HOMES) | {"__version__"} == set(depool.__all__)
