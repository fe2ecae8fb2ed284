"""depool rewrites the pooling layers of a trained network as convolutions, and proves the result equal.

    import depool
    result = depool.convert("model.onnx")
    program = depool.synthesize(depool.PoolSpec((2, 2), (2, 2)))

Importing it imports no framework; each public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depool.api import convert, inspect, verify
    from depool.choose import synthesize
    from depool.errors import DepoolError, FileError, NotConverted, NotEqual, Refusal, Refused, UsageError
    from depool.geometry import PoolSpec
    from depool.program import Program
    from depool.target import Target
    from depool.verification.verdict import Verdict

__version__ = "0.1.0"

_HOMES = {
    "convert": "depool.api",
    "inspect": "depool.api",
    "verify": "depool.api",
    "synthesize": "depool.choose",
    "PoolSpec": "depool.geometry",
    "Program": "depool.program",
    "Target": "depool.target",
    "Verdict": "depool.verification.verdict",
    "DepoolError": "depool.errors",
    "FileError": "depool.errors",
    "NotConverted": "depool.errors",
    "NotEqual": "depool.errors",
    "Refusal": "depool.errors",
    "Refused": "depool.errors",
    "UsageError": "depool.errors",
}

__all__ = [
    "DepoolError",
    "FileError",
    "NotConverted",
    "NotEqual",
    "PoolSpec",
    "Program",
    "Refusal",
    "Refused",
    "Target",
    "UsageError",
    "Verdict",
    "__version__",
    "convert",
    "inspect",
    "synthesize",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in {"bench", "torch", "keras"}:  # packages of their own; the frontends need their frameworks
        return import_module(f"depool.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'depool' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
