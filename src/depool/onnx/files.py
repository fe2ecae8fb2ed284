"""Read and write ONNX files: external data carried along unread, nothing half-written."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import helper

from depool.errors import FileError
from depool.onnx.graph import standard_opset

STANDARD_IO = "-"
"""A path that means standard input or output."""


@dataclass(frozen=True, eq=False)
class Source:
    """A model as read.

    Attributes:
        model: the protobuf, external tensors still references.
        folder: where its external data lies.
        name: for messages.
    """

    model: onnx.ModelProto
    folder: Path
    name: str


def read(path: str | os.PathLike[str]) -> Source:
    """Read a model without its external data.

    Raises:
        FileError: where it is missing, unreadable, truncated, no ONNX model, newer than the installed onnx,
            or refers to external data that is missing, too short or outside its folder.
    """
    name = "standard input" if str(path) == STANDARD_IO else str(path)
    try:
        data = sys.stdin.buffer.read() if str(path) == STANDARD_IO else Path(path).read_bytes()
    except FileNotFoundError:
        raise FileError(f"{name}: no such file") from None
    except ValueError as error:  # a zero byte
        raise FileError(f"{name!r}: cannot be read ({error})") from error
    except OSError as error:
        raise FileError(f"{name}: cannot be read ({error.strerror or error})") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise FileError(f"{name}: is not an ONNX model, or is cut off") from None
    folder = Path.cwd() if str(path) == STANDARD_IO else Path(path).absolute().parent
    check_known(model, name)
    source = Source(model, folder, name)
    for location, length in _external_files(model).items():
        _check_external(source, location, length)
    return source


def check_known(model: onnx.ModelProto, name: str) -> None:
    """Refuse what is no model, or is newer than the installed onnx.

    Raises:
        FileError: says which.
    """
    if model.ir_version < 1 or not model.HasField("graph"):
        raise FileError(f"{name}: is not an ONNX model, or is cut off")
    opset, newest = standard_opset(model.opset_import), onnx.defs.onnx_opset_version()
    if opset > newest:
        raise FileError(f"{name}: uses opset {opset}; the installed onnx knows opsets up to {newest}: upgrade onnx")
    if model.ir_version > onnx.IR_VERSION:
        raise FileError(f"{name}: uses IR version {model.ir_version}; the installed onnx knows {onnx.IR_VERSION}")


def check_there(path: str) -> None:
    """Refuse a path that is no file, before a framework is loaded to read it.

    Raises:
        FileError: says so.
    """
    try:
        with Path(path).open("rb"):
            pass
    except FileNotFoundError as error:
        raise FileError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise FileError(f"{path}: is a folder; name a file") from error
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def check_target(path: Path, source: str, *, force: bool, option: str = "--output") -> None:
    """Refuse a target that exists, is the input itself, or has no folder, before any work is done.

    Raises:
        FileError: says which, and what to do.
    """
    try:
        path.stat()
    except (OSError, ValueError) as error:  # a name too long, or with a zero byte
        if not isinstance(error, FileNotFoundError):
            raise FileError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from error
    if path.is_dir():
        raise FileError(f"{path}: is a folder; name a file")
    if path.exists() and not path.is_file():
        raise FileError(f"{path}: is not a regular file; name one, or - for standard output")
    if not path.absolute().parent.is_dir():
        raise FileError(f"{path}: its folder does not exist; create it first")
    if path.exists() and source != STANDARD_IO and Path(source).exists() and path.samefile(source):
        raise FileError(f"{path}: is the input itself; give another {option}")
    if path.exists() and not force:
        raise FileError(f"{path}: exists; give --force to overwrite it, or another {option}")


@contextmanager
def staged(source: Source, model: onnx.ModelProto, path: Path, *, force: bool = False) -> Iterator[Path]:
    """Write a model to a temporary folder beside `path`; move it there when the block ends well.

    External files of the source are copied, byte for byte, as `<name>.data`, none over an existing file that
    `force` does not cover, and never over one that the source itself reads.

    Yields:
        The temporary file, complete with its external data, for checks.

    Raises:
        FileError: where it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".depool-", dir=path.absolute().parent) as scratch:
            written = write(source, model, Path(scratch) / path.name)
            own = [(source.folder / location).resolve() for location in external_locations(source.model)]
            for data in (path.absolute().parent / file.name for file in written[:-1]):
                if data.resolve() in own:
                    raise FileError(f"{data}: is read by the input itself; give another --output")
                if data.exists() and not force:
                    raise FileError(f"{data}: exists; give --force to overwrite it, or another --output")
            yield written[-1]
            for file in written[:-1]:
                file.replace(path.absolute().parent / file.name)
            written[-1].replace(path.resolve())  # a link stays, and what it points to is written
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror or error})") from error


def serialized(model: onnx.ModelProto) -> bytes:
    """The same bytes for the same model.

    Raises:
        FileError: where it is larger than protobuf's 2 GB.
    """
    try:
        data: bytes = model.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise FileError(f"the model cannot be written as one file ({error}); try --channels grouped") from error
    return data


def write_text(text: str, path: Path) -> None:
    """Write a small text file whole or not at all.

    Raises:
        FileError: where it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".depool-", dir=path.absolute().parent) as scratch:
            part = Path(scratch) / path.name
            part.write_text(text, encoding="utf-8")
            part.replace(path.resolve())
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror or error})") from error


def write(source: Source, model: onnx.ModelProto, path: Path) -> list[Path]:
    """Write a model and copies of its external files; their paths, the model's last."""
    locations = external_locations(model)
    names = {old: f"{path.name}.data{i or ''}" for i, old in enumerate(locations)}
    renamed = model
    if locations:
        renamed = onnx.ModelProto()
        renamed.CopyFrom(model)
        for tensor in _tensors(renamed):
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = names[entry.value]
    written = []
    for old, new in names.items():
        shutil.copyfile(source.folder / old, path.parent / new)
        written.append(path.parent / new)
    path.write_bytes(serialized(renamed))
    return [*written, path]


def external_locations(model: onnx.ModelProto) -> list[str]:
    """The files, relative to the model, that hold external data."""
    return list(_external_files(model))


def _external_files(model: onnx.ModelProto) -> dict[str, int]:
    """Bytes needed by location."""
    found: dict[str, int] = {}
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            numbers = [entries.get("offset", "0"), entries.get("length") or str(_size(tensor))]
            if not all(number.isdecimal() for number in numbers):
                raise FileError(f"the external data of {tensor.name!r} has no valid place: {dict(entries)}")
            end = sum(map(int, numbers))
            location = entries.get("location", "")
            found[location] = max(found.get(location, 0), end)
    return found


def _size(tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor that does not say; types of less than a byte are packed two by two."""
    packed = {onnx.TensorProto.INT4, onnx.TensorProto.UINT4, onnx.TensorProto.FLOAT4E2M1}
    known = tensor.data_type in helper.get_all_tensor_dtypes()
    item = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize if known else 0
    return int(prod(tensor.dims) * item) // (2 if tensor.data_type in packed else 1)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    stack: list[Any] = [model.graph, *model.functions]
    while stack:
        body = stack.pop()
        if isinstance(body, onnx.GraphProto):
            yield from body.initializer
        for node in body.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                if attribute.type == onnx.AttributeProto.GRAPH:
                    stack.append(attribute.g)
                stack += attribute.graphs


def _check_external(source: Source, location: str, length: int) -> None:
    path = source.folder / location
    if not location or Path(location).is_absolute() or not path.resolve().is_relative_to(source.folder.resolve()):
        raise FileError(f"{source.name}: its external data {location!r} lies outside the model's folder; not followed")
    if not path.is_file():
        raise FileError(f"{source.name}: its external data {location!r} is missing")
    if path.stat().st_size < length:
        raise FileError(f"{source.name}: its external data {location!r} is cut off ({length} bytes are needed)")
