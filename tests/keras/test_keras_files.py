"""Files: read in safe mode, written whole, loaded where depool is not; one clear line for each thing that is wrong."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import numpy as np
import pytest
from keras_backend import BACKEND, keras, pools_in, run

from depool.errors import FileError, NotConverted
from depool.keras import load
from depool.keras.files import RECORDS, read_records
from depool.objects import Wishes
from depool.saved import convert_saved

layers = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, while it saves


class Unknown(layers.Layer):
    """A class that only this file knows."""

    def call(self, x):
        return x


def model(*more):
    return keras.Sequential(
        [keras.Input((8, 8, 2)), layers.Conv2D(2, 3), *more, layers.MaxPooling2D(3, 2, "same", name="pool")],
        name="small",
    )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "small.keras"
    model().save(path)
    return path


def convert_file(path, output=None, *, force=False):
    made = convert_saved(str(path), output and str(output), "keras", Wishes(), verify=False, force=force)
    return made, made.path


def members(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def rewritten(path, **changes):
    """The file with other members; None leaves one out."""
    kept = members(path) | {name.replace("__", "."): value for name, value in changes.items()}
    with zipfile.ZipFile(path, "w") as file:
        for name, value in kept.items():
            if value is not None:
                file.writestr(name, value)


def test_a_converted_file_is_loaded_by_keras_alone(saved):
    made, path = convert_file(saved)
    assert path == saved.with_suffix(".depool.keras")
    assert sorted(p.name for p in saved.parent.iterdir()) == ["small.depool.keras", "small.keras"]
    x = (np.random.default_rng(0).normal(size=(2, 8, 8, 2)) - 1).astype(np.float32)
    np.save(saved.parent / "x.npy", x)
    code = (
        "import sys, keras, numpy as np\n"
        f"m = keras.saving.load_model({str(path)!r})\n"
        f"y = m.predict(np.load({str(saved.parent / 'x.npy')!r}), verbose=0)\n"
        f"np.save({str(saved.parent / 'y.npy')!r}, y)\n"
        "assert not any(name.partition('.')[0] == 'depool' for name in sys.modules)\n"
        "assert not any('Pool' in type(layer).__name__ for layer in m._flatten_layers())\n"
        "assert not m.get_layer('pool').trainable and not m.get_layer('pool').trainable_variables\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(saved.parent / "y.npy"), run(load(str(saved)), x), rtol=1e-5, atol=1e-6)
    assert read_records(str(path)) == made.records
    assert read_records(str(saved)) == ()


def test_records_of_earlier_conversions_are_kept(saved):
    _, path = convert_file(saved)
    again, second = convert_file(path, saved.parent / "again.keras")
    assert not again.records
    assert [record.where for record in read_records(str(second))] == ["pool"]


def spoil(path, what):
    if what == "missing":
        path.unlink()
    elif what == "cut off":
        path.write_bytes(path.read_bytes()[:1000])
    elif what == "text":
        path.write_text("no model")
    elif what == "no config":
        rewritten(path, config__json=None)
    elif what == "bad config":
        rewritten(path, config__json=b"{")
    elif what == "bad weights":
        rewritten(path, model__weights__h5=b"none")
    elif what == "code":
        model(layers.Lambda(lambda x: x + 1)).save(path)
    elif what == "class":
        model(Unknown()).save(path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras', while it fails
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("missing", "no such file"),
        ("cut off", "is not a .keras file, or is cut off"),
        ("text", "is not a .keras file, or is cut off"),
        ("no config", "cannot be read"),
        ("bad config", "cannot be read"),
        ("bad weights", "cannot be read"),
        ("code", "holds Python code"),
        ("class", "needs Unknown"),
    ],
)
def test_bad_files_get_one_clear_line_and_no_result(saved, what, words):
    spoil(saved, what)
    before = sorted(saved.parent.iterdir())
    with pytest.raises(FileError) as caught:
        convert_file(saved)
    assert words in str(caught.value)
    assert str(saved) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(saved.parent.iterdir()) == before


def test_nothing_is_overwritten_unless_asked(saved):
    target = saved.with_suffix(".depool.keras")
    target.write_text("mine")
    with pytest.raises(FileError, match="exists; give --force"):
        convert_file(saved)
    assert target.read_text() == "mine"
    convert_file(saved, force=True)
    assert not pools_in(load(str(target)))
    with pytest.raises(FileError, match="is the input itself"):
        convert_file(saved, saved, force=True)
    with pytest.raises(FileError, match=r"must end in \.keras"):
        convert_file(saved, saved.with_suffix(".h5"))


def test_a_refusal_writes_nothing(tmp_path):
    path = tmp_path / "dynamic.keras"
    keras.Sequential([keras.Input((None, 8, 2)), layers.GlobalMaxPooling2D()]).save(path)
    with pytest.raises(NotConverted, match="DYNAMIC_GLOBAL"):
        convert_file(path)
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_records_are_told(saved):
    _, path = convert_file(saved)
    for damage in (b"{}", b"[", b'{"pools": [1]}', b'{"pools": [{"where": 1}]}'):
        rewritten(path, **{RECORDS.replace(".", "__"): damage})
        with pytest.raises(FileError, match="damaged"):
            read_records(str(path))
    assert keras.backend.backend() == BACKEND
