"""Pooling functions called in a forward become pooling modules, so that they can be replaced like all others.

Given   def forward(self, x): return F.max_pool2d(self.conv(x), 2)
Result  def forward(self, x): return self.max_pool2d(self.conv(x)),  self.max_pool2d = nn.MaxPool2d(2)

Only the module whose own forward calls the function is traced (torch.fx), its children stay modules; it keeps its
class, as a subclass with a new forward. It is traced in training and in evaluation: where the two differ by a flag
that is `self.training`, that is what the new forward reads; where they differ otherwise, the module is left alone.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from torch import fx, nn
from torch.fx.graph_module import _forward_from_src

from depool.errors import Refusal, Refused
from depool.torch.spec import FUNCTIONS, function_name, module_of
from depool.torch.trace import traced


def named_in_code(module: nn.Module) -> set[str]:
    """The pooling functions that a module's forward seems to call, by the names in its code."""
    code = getattr(inspect.unwrap(type(module).forward), "__code__", None)
    library = type(module).__module__.split(".")[:2] == ["torch", "nn"]
    return set() if library or code is None else set(FUNCTIONS).intersection(code.co_names)


def lift(owner: nn.Module, where: str) -> list[Refusal]:
    """Give a module's pooling functions modules of their own, in place.

    Args:
        owner: whose forward calls them.
        where: its path in the model.

    Returns:
        The functions that stay, and why; all of them where the forward cannot be traced.
    """
    try:
        graph = _traced(owner)
    except Refused as refused:
        return [Refusal(refused.refusal.code, where, refused.refusal.reason, refused.refusal.fix)]
    refusals = []
    lifted = False
    for node in list(graph.nodes):
        name = function_name(node.target) if node.op == "call_function" else None
        if name is None:
            continue
        try:
            lift_call(owner, graph, node, name)
            lifted = True
        except Refused as refused:
            reason = refused.refusal
            refusals.append(Refusal(reason.code, _path(where, name), reason.reason, reason.fix))
    if lifted:
        code = graph.python_code("self")
        owner.__class__ = _rewritten(type(owner), code.src, code.globals)
    return refusals


def lift_call(owner: nn.Module, graph: fx.Graph, node: fx.Node, name: str) -> nn.Module:
    """Put a module in the place of one call of a graph that `owner` runs; returns the module.

    Raises:
        Refused: where no module does the same.
    """
    kwargs = dict(node.kwargs)
    source = node.args[0] if node.args else kwargs.pop("input")  # aten's own calls have it in front
    module = module_of(name, tuple(node.args[1:]), kwargs)
    child, i = name, 1
    while hasattr(owner, child):
        child, i = f"{name}_{i}", i + 1
    owner.add_module(child, module.train(owner.training))
    with graph.inserting_before(node):
        call = graph.create_node("call_module", child, (source,))
    call.meta = dict(node.meta)
    node.replace_all_uses_with(call)
    graph.erase_node(node)
    return module


def _traced(owner: nn.Module) -> fx.Graph:
    """One graph for training and evaluation; the children are steps of it.

    Raises:
        Refused: NOT_TRACEABLE.
    """
    try:
        train, evaluate, own = traced(owner, lambda _: True)
    except Exception as error:  # a forward that fx cannot follow may fail in any way
        raise not_traceable(" ".join(str(error).split())[:160]) from error
    if str(train) != str(own):
        raise not_traceable("it asks for the mode (training) of another module")
    return _merged(train, evaluate)


def _merged(train: fx.Graph, evaluate: fx.Graph) -> fx.Graph:
    """The training graph, with `self.training` where the two differ by just that."""
    pairs = list(zip(train.nodes, evaluate.nodes, strict=False))
    if len(train.nodes) != len(evaluate.nodes):
        raise not_traceable("it does something else in training than in evaluation")
    flag: fx.Node | None = None
    for one, other in pairs:
        if (one.op, one.target, one.name) != (other.op, other.target, other.name):
            raise not_traceable("it does something else in training than in evaluation")
        args = []
        for mine, theirs in zip((*one.args, *one.kwargs.values()), (*other.args, *other.kwargs.values()), strict=True):
            if str(mine) == str(theirs):
                args.append(mine)
                continue
            if not (isinstance(mine, bool) and isinstance(theirs, bool)):
                raise not_traceable("it does something else in training than in evaluation")
            if flag is None:
                with train.inserting_before(next(n for n in train.nodes if n.op != "placeholder")):
                    flag = train.create_node("get_attr", "training")
            with train.inserting_before(one):
                args.append(flag if mine else train.create_node("call_function", operator.not_, (flag,)))
        one.args = tuple(args[: len(one.args)])
        one.kwargs = dict(zip(one.kwargs, args[len(one.args) :], strict=True))
    return train


def _rewritten(base: type[nn.Module], source: str, names: Mapping[str, Any]) -> type[nn.Module]:
    """A subclass with another forward, which can be copied and pickled like its base."""
    known = tuple((name, _Imported(v.__name__) if isinstance(v, ModuleType) else v) for name, v in names.items())

    def reduce(self: nn.Module, protocol: Any) -> tuple[Any, ...]:
        del protocol
        return _restored, (base, source, known), self.__dict__

    forward = _forward_from_src(source, dict(names))
    body = {"forward": forward, "__reduce_ex__": reduce, "__module__": base.__module__, "__doc__": base.__doc__}
    return type(base.__name__, (base,), body)


class _Imported(str):
    """The name of a Python module among the names that a forward uses."""

    __slots__ = ()


def _restored(base: type[nn.Module], source: str, known: Sequence[tuple[str, Any]]) -> nn.Module:
    from importlib import import_module

    names = {name: import_module(v) if isinstance(v, _Imported) else v for name, v in known}
    made = _rewritten(base, source, names)
    return made.__new__(made)


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def not_traceable(why: str) -> Refused:
    """Why the pooling functions of a module stay."""
    return Refused(
        "NOT_TRACEABLE",
        f"its forward calls a pooling function, and torch.fx cannot rewrite it: {why}.",
        "Use pooling modules (nn.MaxPool2d) instead of functions there, or export the model and convert the file.",
    )
