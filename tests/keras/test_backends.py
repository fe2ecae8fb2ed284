"""The same on Keras' other backends: a process has one, so each of the others gets a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from keras_backend import BACKEND

ROOT = Path(__file__).resolve().parents[2]
SUITE, CONVERT, TRAINING, FOLDED = (
    f"tests/{name}.py::test_"
    for name in (
        "suites/test_keras_pooling",
        "keras/test_keras_convert",
        "keras/test_keras_training",
        "keras/test_keras_folded",
    )
)
CHECKS = {
    "tensorflow": [SUITE + "forms", FOLDED + "both_data_formats"],
    "jax": [
        SUITE + "forms",
        SUITE + "adaptive[Max-outputs1-channels_last]",
        CONVERT + "dtype_policies_are_kept_and_constants_fit_them",
        CONVERT + "float64_that_is_none_is_refused",
        TRAINING + "at_ties_the_gradient_goes_to_one_element",
        FOLDED + "both_data_formats",
        FOLDED + "the_layout_follows_the_backend",
    ],
    "torch": [
        SUITE + "forms",
        CONVERT + "nested_and_shared_models_keep_their_structure",
        CONVERT + "a_subclassed_model_gets_its_layers_exchanged",
        TRAINING + "training_reduces_the_loss_and_leaves_the_pools_alone",
        FOLDED + "both_data_formats",
        "tests/keras/test_keras_files.py::test_a_converted_file_is_loaded_by_keras_alone",
    ],
}
"""All run on all, in minutes: KERAS_BACKEND=jax python3 -m pytest tests/keras tests/suites/test_keras_pooling.py"""


def on(backend, *command):
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(  # noqa: S603 - our own words
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("backend", sorted({"tensorflow", "jax", "torch"} - {BACKEND}))
def test_the_checks_hold_on_the_other_backends(backend):
    pytest.importorskip(backend, reason=f"Keras' backend {backend} is not installed")
    done = on(backend, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CHECKS[backend])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "passed" in done.stdout


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_the_published_network_is_the_pool(backend):
    pytest.importorskip(backend, reason=f"Keras' backend {backend} is not installed")
    done = on(backend, "examples/keras_maxpool.py")
    assert done.returncode == 0, done.stderr
    for words in ('Model: "published"', "p [[1, -1], [0, 0]]", "X:", "Y:", f"all equal on {backend}"):
        assert words in done.stdout
