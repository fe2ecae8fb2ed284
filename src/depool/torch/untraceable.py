"""What a trace misses of a forward: contexts, random numbers, attributes that change, questions about types.

torch.fx passes over these without a word, so they are looked for from outside, and refused.
"""

from __future__ import annotations

import dis
import gc
import random
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import torch
from torch import nn

LIBRARY = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<frozen")
PYTHON = str(Path(dis.__file__).parent)
MODES = {
    "is_grad_enabled", "is_inference_mode_enabled", "is_autocast_enabled", "is_autocast_cpu_enabled",
    "get_autocast_dtype",
}  # fmt: skip
"""Functions that tell how the model is run, besides `training`."""


class NotTraceable(Exception):
    """A graph would say something else than the forward."""


@contextmanager
def watched(root: nn.Module) -> Iterator[None]:
    """Raise NotTraceable afterwards if a trace of `root` missed something; its modules are as they were in any case."""
    state, drawn, before = {m: _state(m) for m in root.modules()}, _random(), sys.getprofile()
    calls, collects = _Calls(), gc.isenabled()
    gc.disable()  # what it calls is no part of the forward
    sys.setprofile(calls)
    try:
        yield
    finally:
        sys.setprofile(before if callable(before) else None)
        if before is not None and not callable(before):
            before.enable()  # cProfile's, which cannot be handed over
        if collects:
            gc.enable()
        changed = [name for module, was in state.items() if (name := _restore(module, was))]
    if changed:
        raise NotTraceable(f"it makes tensors of its own, or changes its own attributes, while it runs ({changed[0]})")
    if drawn != _random():
        raise NotTraceable("it draws random numbers that no tensor takes part in")
    if calls.modes:
        raise NotTraceable(f"it asks for a mode ({calls.modes[0]}), which may be another from call to call")
    if calls.contexts:
        raise NotTraceable(f"it opens a context ({calls.contexts[0]})")
    for code in calls.codes:
        if why := _asks(code):
            raise NotTraceable(f"{code.co_name} {why}, which may be another from call to call")


class _Calls:
    """A profile function: the user's functions that were called, the modes they asked for, the contexts opened."""

    def __init__(self) -> None:
        self.codes: set[CodeType] = set()
        self.modes: list[str] = []
        self.contexts: list[str] = []

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        code, back = frame.f_code, frame.f_back
        if event == "c_call" and getattr(arg, "__name__", "") in MODES and not _of_library(code):
            self.modes.append(arg.__name__)
        if event != "call":
            return
        if not _of_library(code):
            self.codes.add(code)
        entered = back is not None and not _of_library(back.f_code)
        modes = code.co_filename.endswith(("grad_mode.py", "autocast_mode.py"))
        if code.co_name == "__enter__" and (modes or entered):
            self.contexts.append(code.co_qualname.removesuffix(".__enter__"))


def _of_library(code: CodeType) -> bool:
    file = code.co_filename
    return file.startswith(LIBRARY) or (file.startswith(PYTHON) and "-packages" not in file)


def _random() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - the state that others may draw from
    return random.getstate(), torch.get_rng_state().numpy().tobytes(), name, np.asarray(keys).tobytes(), rest


def _state(module: nn.Module) -> dict[str, tuple[Any, Any, Any]]:
    """Each attribute, what it holds, and how often it was written to."""
    return {name: (value, _content(value), getattr(value, "_version", 0)) for name, value in vars(module).items()}


def _content(value: Any) -> Any:
    return value.copy() if isinstance(value, list | dict | set | deque) else None


def _same(value: Any, content: Any) -> bool:
    if isinstance(value, dict):
        return list(value) == list(content) and all(value[key] is content[key] for key in value)
    if isinstance(value, list | deque):
        return len(value) == len(content) and all(a is b for a, b in zip(value, content, strict=True))
    return bool(value == content)


def _restore(module: nn.Module, state: dict[str, tuple[Any, Any, Any]]) -> str:
    """The name of an attribute that is not what it was, or nothing."""
    found = ""
    now = vars(module)
    for name in list(now.keys() - state.keys()):
        found = name
        del now[name]
    for name, (value, content, version) in state.items():
        if now.get(name) is not value or getattr(value, "_version", 0) != version:
            found = name
            now[name] = value
        elif content is not None and not _same(value, content):
            found = name
            _refill(value, content)
    return found


def _refill(value: Any, content: Any) -> None:
    value.clear()
    (value.extend if isinstance(value, list | deque) else value.update)(content)


def _asks(code: CodeType) -> str:
    """What a function asks of a placeholder that it cannot answer, by its bytecode.

    `self.attribute is None` is fine, since that is no placeholder.
    """
    steps = [step for step in dis.get_instructions(code) if step.opname not in {"CACHE", "PUSH_NULL", "TO_BOOL"}]
    for i, step in enumerate(steps):
        if step.opname == "IS_OP" and not (steps[i - 1].opname == "LOAD_CONST" and _of_self(steps[: i - 1])):
            return "asks whether something is something"
        if step.opname.endswith(("IF_NONE", "IF_NOT_NONE")) and not _of_self(steps[:i]):
            return "asks whether something is None"
        asked = step.opname == "LOAD_GLOBAL" and step.argval in {"isinstance", "type", "callable", "hasattr", "getattr"}
        if asked and not _is_self(steps[i + 1]):
            return f"calls {step.argval}"
        if step.argval == "is_tensor" or step.opname == "MATCH_CLASS":
            return "asks for a type"
        if step.opname == "PUSH_EXC_INFO":  # it may pass over what torch.fx raises
            return "catches errors"
    return ""


def _of_self(steps: list[dis.Instruction]) -> bool:
    """Whether the value on top is an attribute of self, or of an attribute of self."""
    i = len(steps) - 1
    while i > 0 and steps[i].opname == "LOAD_ATTR":
        i -= 1
    return i < len(steps) - 1 and _is_self(steps[i])


def _is_self(step: dis.Instruction) -> bool:
    return step.opname.startswith("LOAD_FAST") and step.argval == "self"
