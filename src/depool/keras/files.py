"""Read and write .keras files: safe mode on, nothing half-written, the records kept inside."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path

import keras

from depool import __version__
from depool.errors import DepoolError, FileError
from depool.keras.convert import convert_model
from depool.objects import Wishes
from depool.onnx.files import check_target
from depool.onnx.records import plain, record_from
from depool.record import Record

RECORDS = "depool.json"
"""The member of a converted .keras file that holds its records; Keras does not read it."""


def load(path: str) -> keras.Model:
    """Read a model without running any code that it may hold.

    Raises:
        FileError: where it is missing, cut off, no .keras file, holds code, or needs classes that are not Keras' own.
    """
    try:
        if not Path(path).exists():
            raise FileError(f"{path}: no such file")
        if not zipfile.is_zipfile(path):
            raise FileError(
                f"{path}: is not a .keras file, or is cut off; Keras writes one with model.save(NAME.keras)"
            )
        return keras.saving.load_model(path, safe_mode=True)
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or _line(error)})") from error
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError, zipfile.BadZipFile) as error:
        raise FileError(f"{path}: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    text = str(error)
    if "Lambda" in text or "unsafe" in text:
        return "holds Python code (a Lambda layer), which is not run; load it yourself and call depool.keras.convert"
    missing = re.search(r"Could not locate (?:class|function) '([^']+)'", text)
    if missing:
        return f"needs {missing[1]}, which is not Keras' own; load it yourself and call depool.keras.convert"
    return f"cannot be read ({_line(error)})"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def read_records(path: str) -> tuple[Record, ...]:
    """The records of a converted file; none where it has none.

    Raises:
        FileError: where they are not what depool writes.
    """
    try:
        with zipfile.ZipFile(path) as file:
            if RECORDS not in file.namelist():
                return ()
            return tuple(record_from(item) for item in json.loads(file.read(RECORDS))["pools"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, zipfile.BadZipFile, DepoolError) as error:
        raise FileError(f"{path}: its {RECORDS} is damaged ({_line(error)}); convert the original again") from error


def convert_file(path: str, output: str | None, wishes: Wishes, force: bool = False) -> tuple[keras.Model, Path]:
    """Convert a .keras file into another.

    Args:
        path: the model.
        output: the new file; by default `model.depool.keras` beside it.
        wishes: how.
        force: overwrite an existing file.

    Returns:
        The converted model, and where it is.

    Raises:
        NotConverted: where a selected pool was refused and `allow_partial` is not given; nothing is written.
        FileError: where a file cannot be read or written.
    """
    target = Path(output) if output is not None else Path(path).with_suffix(".depool.keras")
    if target.suffix != ".keras":
        raise FileError(f"{target}: Keras writes files whose names end in .keras; give such an --output")
    check_target(target, path, force=force)
    model = convert_model(load(path), wishes)
    save(model, target, (*read_records(path), *model.depool.records))
    return model, target


def save(model: keras.Model, target: Path, records: tuple[Record, ...]) -> None:
    """Write a converted model with its records; it appears once it is complete and can be loaded again.

    Raises:
        FileError: where it cannot be written.
    """
    kept = {"version": __version__, "pools": [plain(asdict(record)) for record in records]}
    try:
        with tempfile.TemporaryDirectory(prefix=".depool-", dir=target.absolute().parent) as scratch:
            written = Path(scratch) / target.name
            model.save(written)
            with zipfile.ZipFile(written, "a", zipfile.ZIP_DEFLATED) as file:
                file.writestr(RECORDS, json.dumps(kept, separators=(",", ":")))
            load(str(written))
            written.replace(target.resolve())
    except OSError as error:
        raise FileError(f"{target}: cannot be written ({error.strerror or error})") from error
