"""Read and write .keras files: safe mode on, nothing half-written, the records kept inside."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import asdict
from pathlib import Path

import keras

from depool import __version__
from depool.errors import DepoolError, FileError
from depool.objects import Converted
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


def converted(path: str) -> Converted | None:
    """What was done to make a file, as far as it says."""
    records = read_records(path)
    return Converted(records, (), (), ()) if records else None


def save(model: keras.Model, path: Path, records: tuple[Record, ...]) -> None:
    """Write a converted model with the records of all its conversions."""
    kept = {"version": __version__, "pools": [plain(asdict(record)) for record in records]}
    model.save(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr(RECORDS, json.dumps(kept, separators=(",", ":")))
