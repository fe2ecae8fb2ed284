"""What a .pt2 archive may hold, so that loading it runs nothing that stands in it.

PyTorch unpickles what such a file declares to be pickled, loads machine code from it, evaluates its symbolic sizes as
Python, looks operators up by any dotted name, and imports modules that its structures name. Whatever is not known to be
harmless is refused before PyTorch sees the file: a list of what is allowed, not of what is not.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

SPACES = "aten|prims|quantized|_quantized|quantized_decomposed|higher_order|torchvision"
OPERATOR = re.compile(rf"torch\.ops\.(?:{SPACES})\.(?!_?from_file|_?save)(?!__)\w+(?:\.(?!__)\w+)?")
OTHER = {
    *(f"_operator.{name}" for name in (
        "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "neg", "pos", "abs", "eq", "ne", "lt", "le", "gt",
        "ge", "and_", "or_", "not_", "getitem",
    )),
    *(f"math.{name}" for name in ("ceil", "floor", "trunc", "sqrt")),
    *(f"torch.sym_{name}" for name in ("int", "float", "max", "min", "not", "ite", "sum", "sqrt")),
}  # fmt: skip
"""Functions on sizes that a graph may call."""
SYMPY = {
    "Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Pow", "Max", "Min", "Mod", "Abs", "floor", "ceiling",
    "FloorDiv", "CeilDiv", "CleanDiv", "ModularIndexing", "PythonMod", "Where", "IntTrueDiv", "FloatTrueDiv", "ToFloat",
    "TruncToInt", "TruncToFloat", "RoundToInt", "RoundDecimal", "PowByNatural", "Identity", "Eq", "Ne", "Lt", "Le",
    "Gt", "Ge", "Equality", "Unequality", "StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan", "And", "Or",
    "Not",
}  # fmt: skip
"""Functions that a symbolic size may be written with."""
PLAIN = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.Call,
    ast.keyword, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip
IMPORTS = {"default_factory_module", "__enum__"}
"""Keys of structures for which PyTorch imports a module."""


def unsafe(archive: ZipFile) -> str:
    """Why loading this archive might run something, or nothing."""
    if archive.testzip() is not None:
        raise BadZipFile
    names = archive.namelist()
    inner = {name.partition("/")[2] for name in names}
    if "archive_format" not in inner:
        if {"data.pkl", "constants.pkl"} & inner:
            return "is a pickle, which runs code when it is loaded; save the model with torch.export.save"
        return "is not a model saved by torch.export.save of this or a newer PyTorch; export it again"
    if any("aotinductor/" in name for name in names):
        return "holds compiled machine code; save the exported program itself (torch.export.save)"
    for name in names:
        said = _member(name, archive.read(name)) if name.endswith((".json", ".pt")) else ""
        if said:
            return f"{name} {said}"
    return ""


def _member(name: str, content: bytes) -> str:
    if name.endswith(".pt"):
        return "" if not content or _loads(content) else "holds pickled objects, which run code when they are loaded"
    parsed = json.loads(content)
    if name.endswith("_config.json"):
        return "asks for pickled objects, which run code when they are loaded" if _pickled(parsed) else ""
    return next(_strange(parsed), "")


def _loads(content: bytes) -> bool:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # noqa: BLE001 - whatever the safe loader does not take
        return False
    return True


def _pickled(config: Any) -> bool:
    raw = ("weight_", "tensor_")
    entries = config["config"].values()
    return any(entry.get("use_pickle", True) or not entry["path_name"].startswith(raw) for entry in entries)


def _strange(value: Any) -> Iterator[str]:
    """What in a model's description is not known to be harmless; texts that are JSON themselves are looked into."""
    if isinstance(value, list):
        for entry in value:
            yield from _strange(entry)
    elif isinstance(value, dict):
        for key, entry in value.items():
            if key in IMPORTS:
                yield "names Python modules to import; build its inputs of tuples, lists and dicts"
            if key == "expr_str" and not _is_size(entry):
                yield f"holds {str(entry)[:60]!r} as a size"
            if key == "target" and "inputs" in value and not _is_operator(entry):
                yield f"calls {str(entry)[:60]!r}, which is none of the operators known to be harmless"
            yield from _strange(entry)
    elif isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
        try:
            inner = json.loads(value)
        except ValueError:
            return
        yield from _strange(inner)


def _is_operator(target: Any) -> bool:
    return isinstance(target, str) and (target in OTHER or OPERATOR.fullmatch(target) is not None)


def _is_size(text: Any) -> bool:
    """Whether an expression is arithmetic on symbols."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if not isinstance(node, PLAIN) or (isinstance(node, ast.Name) and "__" in node.id):
            return False
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in SYMPY):
            return False
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not node.value.isidentifier():
            return False
    return True
