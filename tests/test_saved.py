"""`depool convert` and `depool verify` on .pt2 and .keras files, as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from importlib.util import find_spec

import pytest

import depool
from depool.errors import FileError, NotEqual, UsageError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
torch_there = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
keras_there = pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
BOTH = [pytest.param(".pt2", marks=torch_there), pytest.param(".keras", marks=keras_there)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A small network with a padded max pool on signed data and an average pool, in each format that can be made."""
    folder = tmp_path_factory.mktemp("models")
    if find_spec("torch"):
        import torch
        from torch import nn

        torch.manual_seed(0)
        layers = (nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(3, 2, 1), nn.Tanh(), nn.AvgPool2d(2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(nn.Sequential(*layers).eval(), (torch.randn(2, 3, 12, 12),))
            torch.export.save(program, folder / "net.pt2")
    if find_spec("keras"):
        code = (
            "import keras; from keras import layers as L; keras.utils.set_random_seed(0);"
            "keras.Sequential([keras.Input((12, 12, 3)), L.Conv2D(4, 3, padding='same'), L.MaxPooling2D(3, 2, 'same'),"
            f"L.Activation('tanh'), L.AveragePooling2D(2)]).save({str(folder / 'net.keras')!r})"
        )
        assert python("-c", code).returncode == 0
    return folder


def python(*args, cwd=None):
    return subprocess.run(  # noqa: S603 - our own words
        [sys.executable, *map(str, args)], capture_output=True, text=True, check=False, cwd=cwd
    )


def run(*args):
    return python("-m", "depool", *args)


@pytest.mark.parametrize("ending", BOTH)
def test_convert_then_verify(ending, models, tmp_path):
    original, target = models / f"net{ending}", tmp_path / f"out{ending}"
    made = run("convert", original, "-o", target, "--pools", "all", "--json")
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    said = json.loads(made.stdout)
    assert [pool["border"] for pool in said["pools"]] == ["edge", "zero"]
    assert said["verdict"]["equal"] is True
    assert "2 pools keep their promise, and nothing else was changed" in said["verdict"]["summary"]
    assert said["verdict"]["outputs"][0]["noticed"] is True
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    checked = run("verify", original, target)
    assert checked.returncode == 0, checked.stderr
    assert "equal" in checked.stdout


@pytest.mark.parametrize("ending", BOTH)
def test_max_pools_only_is_the_default_of_files(ending, models, tmp_path):
    made = depool.convert(models / f"net{ending}", tmp_path / f"out{ending}", verify=False)
    assert [record.spec.kind for record in made.records] == ["max"]
    assert made.verdict is None


@pytest.mark.parametrize("ending", BOTH)
def test_the_default_name_and_force(ending, models, tmp_path):
    model = tmp_path / f"net{ending}"
    model.write_bytes((models / f"net{ending}").read_bytes())
    made = depool.convert(model, verify=False)
    assert made.path == tmp_path / f"net.depool{ending}"
    with pytest.raises(FileError, match="exists; give --force"):
        depool.convert(model, verify=False)
    assert depool.convert(model, verify=False, force=True).path == made.path


@pytest.mark.parametrize("ending", BOTH)
def test_a_wrong_conversion_leaves_no_file(ending, models, tmp_path, monkeypatch):
    from depool.verification import objects

    monkeypatch.setattr(objects, "compared", broken(objects.compared))
    with pytest.raises(NotEqual, match="not written: 2 of 2 pools break their promise"):
        depool.convert(models / f"net{ending}", tmp_path / f"out{ending}", pools="all")
    assert [path.name for path in tmp_path.iterdir()] == ["out.counterexample.npz"]


def broken(compared):
    """A comparison that meets one wrong value in each pool."""

    def wrong(check, kind, expected, got, bound):
        got = got.copy()
        got.flat[0] += 1 + abs(got.flat[0])
        return compared(check, kind, expected, got, bound)

    return wrong


@pytest.mark.parametrize("ending", BOTH)
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("convert", "MODEL", "-o", "x.onnx"), 5, "must end in"),
        (("convert", "MODEL", "--opset", "17"), 2, "opset is for ONNX files only"),
        (("convert", "MODEL", "--input-range", "0,1"), 2, "input_range is for ONNX files only"),
        (("convert", "MODEL", "--only", "nothing"), 2, "no pool is named like nothing"),
        (("convert", "none.keras"), 5, "none.keras: no such file"),
        (("convert", "none.pt2"), 5, "none.pt2: no such file"),
        (("inspect", "MODEL"), 2, "inspect reads ONNX files"),
        (("verify", "MODEL", "MODEL", "--layouts", "up,down"), 2, "give two of NHWC and NCHW"),
        (("verify", "MODEL", "MODEL", "--nonfinite"), 2, "nonfinite is for ONNX files only"),
    ],
)
def test_mistakes_get_one_line(ending, arguments, code, said, models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run(*(models / f"net{ending}" if word == "MODEL" else word for word in arguments))
    assert (found.returncode, found.stdout) == (code, "")
    assert found.stderr.count("\n") == 1
    assert said in found.stderr
    assert list(tmp_path.iterdir()) == []


@torch_there
@keras_there
def test_two_frameworks_whose_shapes_tell_the_layout(models):
    """The weights differ, so the models do: what matters is that they could be compared."""
    verdict = depool.verify(models / "net.keras", models / "net.pt2")
    assert verdict.equal is False
    assert verdict.outputs[0].difference.max_abs < 10


@pytest.mark.parametrize("backend", [None, "jax"])
def test_a_missing_framework_is_named(tmp_path, monkeypatch, backend):
    """The backend stands in the line where one was asked for: it may be what is missing."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)  # other tests of this process choose one
    if backend:
        monkeypatch.setenv("KERAS_BACKEND", backend)
    (tmp_path / "keras.py").write_text("raise ImportError('not here')")
    (tmp_path / "model.keras").write_bytes(b"x")
    code = "import sys; sys.path.insert(0, '.'); import depool; depool.convert('model.keras')"
    found = python("-c", code, cwd=tmp_path)
    keras = f"Keras with KERAS_BACKEND={backend}" if backend else "Keras"
    assert f"UsageError: {keras} cannot be imported (not here); python3 -m pip install 'depool[keras]'" in found.stderr


def test_an_object_is_not_a_path():
    with pytest.raises(UsageError, match="a path is needed, not dict"):
        depool.convert({})
