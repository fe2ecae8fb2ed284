"""A forward as a graph: torch.fx, made to refuse what it would get wrong without a word.

A trace runs the forward once, with placeholders for the tensors. Left alone, torch.fx takes

    y += 1                      for y = y + 1, so that other names of the tensor keep the old value
    mask is None                for False whatever comes later, and isinstance(x, Tensor) too
    with torch.no_grad(): ...   for the statements inside
    random.random() < 0.1       for what was drawn that time
    self.seen.append(x)         for nothing

Here the first is kept, and the others raise NotTraceable.
"""

from __future__ import annotations

import dis
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.fx.proxy import Attribute

Leaf = Callable[[nn.Module], bool]
LIBRARY = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<frozen")
PYTHON = str(Path(dis.__file__).parent)


class NotTraceable(Exception):
    """A graph would say something else than the forward."""


def iadd(x: Any, y: Any) -> Any:
    """The statement x += y."""
    x += y
    return x


def isub(x: Any, y: Any) -> Any:
    """The statement x -= y."""
    x -= y
    return x


def imul(x: Any, y: Any) -> Any:
    """The statement x *= y."""
    x *= y
    return x


def itruediv(x: Any, y: Any) -> Any:
    """The statement x /= y."""
    x /= y
    return x


IN_PLACE = (iadd, isub, imul, itruediv)
"""In a graph they stand for the statements; torch.fx's own spelling of operator.iadd changes names of numbers too."""


class _InPlace(fx.Proxy):
    """A placeholder that notices statements which change it."""

    def __getattr__(self, name: str) -> Any:
        return _InPlaceAttribute(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in {"tracer", "node", "root", "attr", "_node"}:
            raise NotTraceable(f"it sets the attribute {name} of a tensor")
        super().__setattr__(name, value)

    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", iadd, (self, other), {})

    def __isub__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", isub, (self, other), {})

    def __imul__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", imul, (self, other), {})

    def __itruediv__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", itruediv, (self, other), {})

    def _unknown(self, other: Any) -> Any:
        del other
        raise NotTraceable("it changes a tensor in place by an operator other than += -= *= /=")

    __ifloordiv__ = __imod__ = __ipow__ = __imatmul__ = __iand__ = __ior__ = __ixor__ = _unknown
    __ilshift__ = __irshift__ = _unknown


class _InPlaceAttribute(_InPlace, Attribute):
    """The same for an attribute of a placeholder."""


class Tracer(fx.Tracer):
    """Buffers are placeholders too, so that no trace changes them; `leaf` says which modules are one step."""

    proxy_buffer_attributes = True

    def __init__(self, leaf: Leaf) -> None:
        super().__init__()
        self._leaf = leaf

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one step."""
        return self._leaf(m) or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """The placeholder of a node."""
        return _InPlace(node, self)


def traced(root: nn.Module, leaf: Leaf) -> list[fx.Graph]:
    """The graphs of a module's forward: in training; in evaluation; in training, with its children in evaluation.

    Args:
        root: is as it was afterwards.
        leaf: which of its modules are one step of the graph, besides those of torch.nn.

    Raises:
        NotTraceable: where a graph would not say the same.
        Exception: whatever torch.fx and the forward raise.
    """
    if any("forward" in vars(module) for module in root.modules()):
        raise NotTraceable("the forward of an object in it was replaced")
    modes = {module: module.training for module in root.modules()}
    graphs = []
    try:
        for own, rest in ((True, True), (False, False), (True, False)):
            for module in modes:
                module.training = own if module is root else rest
            with _watched(root):
                graphs.append(Tracer(leaf).trace(root))
    finally:
        for module, training in modes.items():
            module.training = training
    return graphs


@contextmanager
def _watched(root: nn.Module) -> Iterator[None]:
    """Raise NotTraceable afterwards if a trace of `root` missed something; `root` is as it was in any case."""
    codes: set[CodeType] = set()
    contexts: list[str] = []

    def profile(frame: FrameType, event: str, arg: object) -> None:
        del arg
        if event != "call":
            return
        code, back = frame.f_code, frame.f_back
        if not _of_library(code):
            codes.add(code)
        entered = back is not None and not _of_library(back.f_code)
        modes = code.co_filename.endswith(("grad_mode.py", "autocast_mode.py"))
        if code.co_name == "__enter__" and (modes or entered):
            contexts.append(code.co_qualname.removesuffix(".__enter__"))

    state, drawn, before = _state(root), _random(), sys.getprofile()
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(before if callable(before) else None)
        if before is not None and not callable(before):
            before.enable()  # cProfile's, which cannot be handed over
        changed = _restore(root, state)
    if changed:
        raise NotTraceable(f"it makes tensors of its own, or changes its own attributes, while it runs ({changed})")
    if drawn != _random():
        raise NotTraceable("it draws random numbers that no tensor takes part in")
    if contexts:
        raise NotTraceable(f"it opens a context ({contexts[0]})")
    for code in codes:
        if why := _asks(code):
            raise NotTraceable(f"{code.co_name} {why}, which may be another from call to call")


def _of_library(code: CodeType) -> bool:
    file = code.co_filename
    return file.startswith(LIBRARY) or (file.startswith(PYTHON) and "-packages" not in file)


def _random() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - the state that others may draw from
    return random.getstate(), torch.get_rng_state().numpy().tobytes(), name, np.asarray(keys).tobytes(), rest


def _state(root: nn.Module) -> dict[str, tuple[Any, Any, Any]]:
    """Each attribute, what it holds, and how often it was written to."""
    return {name: (value, _content(value), getattr(value, "_version", 0)) for name, value in vars(root).items()}


def _content(value: Any) -> Any:
    return value.copy() if isinstance(value, list | dict | set) else None


def _same(value: Any, content: Any) -> bool:
    if isinstance(value, dict):
        return list(value) == list(content) and all(value[key] is content[key] for key in value)
    if isinstance(value, list):
        return len(value) == len(content) and all(a is b for a, b in zip(value, content, strict=True))
    return bool(value == content)


def _restore(root: nn.Module, state: dict[str, tuple[Any, Any, Any]]) -> str:
    """The name of an attribute that is not what it was, or nothing."""
    found = ""
    now = vars(root)
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
    (value.extend if isinstance(value, list) else value.update)(content)


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
        asked = step.opname == "LOAD_GLOBAL" and step.argval in {"isinstance", "type", "callable"}
        if asked and not _is_self(steps[i + 1]):
            return f"calls {step.argval}"
        if step.argval == "is_tensor" or step.opname == "MATCH_CLASS":
            return "asks for a type"
    return ""


def _of_self(steps: list[dis.Instruction]) -> bool:
    """Whether the value on top is an attribute of self, or of an attribute of self."""
    i = len(steps) - 1
    while i > 0 and steps[i].opname == "LOAD_ATTR":
        i -= 1
    return i < len(steps) - 1 and _is_self(steps[i])


def _is_self(step: dis.Instruction) -> bool:
    return step.opname.startswith("LOAD_FAST") and step.argval == "self"
