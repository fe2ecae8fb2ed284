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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from torch import fx, nn
from torch.fx.graph_module import _forward_from_src

from depool.errors import Refusal, Refused
from depool.objects import Wishes
from depool.torch.spec import CONVERTIBLE, FUNCTIONS, function_name, kind_of_name, module_of
from depool.torch.trace import traced


def named_in_code(module: nn.Module) -> set[str]:
    """The pooling functions that a module's forward seems to call, by the names in its code."""
    code = getattr(inspect.unwrap(type(module).forward), "__code__", None)
    library = type(module).__module__.split(".")[:2] == ["torch", "nn"]
    return set() if library or code is None else set(FUNCTIONS).intersection(code.co_names)


@dataclass(frozen=True)
class Lifted:
    """What became of a module's calls of pooling functions.

    Attributes:
        refusals: selected calls that stay, and why; one of the whole module where its forward cannot be traced.
        stay: the paths of all calls that stay.
    """

    refusals: tuple[Refusal, ...]
    stay: frozenset[str]


def lift(owner: nn.Module, where: str, names: Collection[str], wishes: Wishes) -> Lifted:
    """Give the selected pooling functions of a module modules of their own, in place.

    Args:
        owner: whose forward calls them.
        where: its path in the model.
        names: of the functions.
        wishes: which to lift; a call's path is that of the module it would become.
    """
    try:
        graph = _traced(owner)
    except Refused as refused:
        paths = {_path(where, name): name for name in names if name in CONVERTIBLE}
        wanted = any(wishes.selects(kind_of_name(name), at) for path, name in paths.items() for at in (path, where))
        return Lifted((replace(refused.refusal, where=where),) if wanted else (), frozenset(paths))
    refusals = []
    stay = set()
    taken: set[str] = set()
    for node in list(graph.nodes):
        name = function_name(node.target) if node.op == "call_function" else None
        if name is None:
            continue
        child = _free(owner, name, taken)
        taken.add(child)
        path = _path(where, child)
        if not wishes.selects(kind_of_name(name), path):
            stay.add(_path(where, name))
            continue
        try:
            lift_call(owner, graph, node, name, child)
        except Refused as refused:
            stay.add(_path(where, name))
            refusals.append(replace(refused.refusal, where=path))
    if any(child in owner._modules for child in taken):
        code = graph.python_code("self")
        owner.__class__ = _rewritten(type(owner), code.src, code.globals)
    return Lifted(tuple(refusals), frozenset(stay))


def lift_call(owner: nn.Module, graph: fx.Graph, node: fx.Node, name: str, child: str = "") -> nn.Module:
    """Put a module in the place of one call of a graph that `owner` runs, under a new name; returns the module.

    Raises:
        Refused: where no module does the same.
    """
    kwargs = dict(node.kwargs)
    first = next(iter({"input", "self"} & kwargs.keys()), "input")  # as torch.nn.functional and as aten call it
    source = node.args[0] if node.args else kwargs.pop(first)
    module = module_of(name, tuple(node.args[1:]), kwargs)
    child = child or _free(owner, name)
    owner.add_module(child, module.train(owner.training))
    with graph.inserting_before(node):
        call = graph.create_node("call_module", child, (source,))
    call.meta = dict(node.meta)
    node.replace_all_uses_with(call)
    graph.erase_node(node)
    return module


def _free(owner: nn.Module, name: str, taken: Collection[str] = ()) -> str:
    """A name that neither the module nor another call has."""
    child, i = name, 1
    while hasattr(owner, child) or child in taken:
        child, i = f"{name}_{i}", i + 1
    return child


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
