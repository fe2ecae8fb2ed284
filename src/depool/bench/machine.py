"""The facts of a machine without which a time means little."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

VECTORS = ("avx2", "avx512f", "avx512_vnni", "amx_tile", "asimd", "sve")
"""Names that Linux gives to the vector instructions which decide how fast convolutions are."""


@dataclass(frozen=True)
class Machine:
    """Where something was timed.

    Attributes:
        cpu: the processor's name, or its architecture where the system does not tell.
        cpus: how many of them this process may use.
        vectors: the vector instructions among `VECTORS` that it has.
        system: the operating system.
        python, onnxruntime: versions.
    """

    cpu: str
    cpus: int
    vectors: tuple[str, ...]
    system: str
    python: str
    onnxruntime: str


def machine() -> Machine:
    """This one."""
    import onnxruntime

    told = _told(Path("/proc/cpuinfo"))
    flags = told.get("flags", told.get("Features", "")).split()
    return Machine(
        cpu=told.get("model name", platform.machine()),
        cpus=cpus(),
        vectors=tuple(name for name in VECTORS if name in flags),
        system=platform.system(),
        python=platform.python_version(),
        onnxruntime=onnxruntime.__version__,
    )


def cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _told(path: Path) -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    try:
        first = path.read_text(encoding="utf-8").split("\n\n")[0]
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
