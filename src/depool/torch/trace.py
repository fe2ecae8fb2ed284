"""A forward as a graph: torch.fx, made to refuse what it would get wrong without a word.

A trace runs the forward once, with placeholders for the tensors. Left alone, torch.fx takes

    y += 1                      for y = y + 1, so that other names of the tensor keep the old value
    mask is None                for False whatever comes later, and isinstance(x, Tensor) too
    with torch.no_grad(): ...   for the statements inside
    random.random() < 0.1       for what was drawn that time
    self.seen.append(x)         for nothing
    torch.is_grad_enabled()     for what it is that time
    try: ... except Exception   for the way that its own errors take

Here the first is kept, and the others raise NotTraceable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx, nn
from torch.fx.proxy import Attribute

from depool.torch.untraceable import NotTraceable, watched

Leaf = Callable[[nn.Module], bool]


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
            with watched(root):
                graphs.append(Tracer(leaf).trace(root))
    finally:
        for module, training in modes.items():
            module.training = training
    return graphs
