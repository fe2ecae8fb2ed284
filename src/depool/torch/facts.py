"""Which tensors of a model are >= 0, read off its torch.fx trace.

x >= 0 after relu, sigmoid, softmax, abs, clamp(min >= 0) ...; it stays so through pools, dropout, reshapes, and the
sums, products and concatenations of such tensors. Whatever is not in these tables is taken to be signed, and so is a
tensor that an operation in place may have changed since. A model that cannot be traced yields no facts at all: a
part of it, traced alone, might be used in another way than the part says.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import fx, nn

from depool.facts import InputFacts
from depool.torch.spec import is_pool

MAKE = {"relu", "relu6", "sigmoid", "softmax", "softplus", "hardsigmoid", "abs", "absolute", "exp", "square", "sqrt"}
"""Functions and methods whose result is >= 0."""
KEEP = {
    "add", "iadd", "mul", "imul", "cat", "concat", "concatenate", "stack", "maximum", "minimum", "flatten", "view",
    "reshape", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "clone", "detach", "getitem", "chunk",
    "split", "dropout", "dropout1d", "dropout2d", "dropout3d", "mean", "sum", "amax", "amin",
    "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "pixel_shuffle",
}  # fmt: skip
"""Functions and methods whose result is >= 0 where all tensors and numbers that they read are."""
VIEWS = {
    "flatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "detach", "getitem",
    "chunk", "split", "dropout", "dropout1d", "dropout2d", "dropout3d",
}  # fmt: skip
"""Functions and methods whose result may be the memory of what they read."""
MAKERS = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Softmax, nn.Softmax2d, nn.Softplus, nn.Hardsigmoid)
KEEPERS = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity, nn.Flatten, nn.Unflatten, nn.PixelShuffle,
    nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d,
    nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d,
)  # fmt: skip


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_pool(m) or super().is_leaf_module(m, module_qualified_name)


def nonnegative_inputs(model: nn.Module) -> dict[nn.Module, InputFacts]:
    """The pools of a model whose input is >= 0 wherever they are called, in training and in evaluation."""
    graphs = []
    modes = {module: module.training for module in model.modules()}
    try:
        for training in (True, False):
            model.train(training)
            graphs.append(_Tracer().trace(model))
    except Exception:  # noqa: BLE001 - a model that fx cannot trace may fail in any way
        return {}
    finally:
        for module, training in modes.items():
            module.training = training
    train, evaluate = (_calls(model, graph) for graph in graphs)
    return {pool: InputFacts(lower=0.0, reason=why) for pool, why in train.items() if why and evaluate.get(pool)}


def nonnegative_in(model: nn.Module, graph: fx.Graph) -> dict[nn.Module, InputFacts]:
    """The same for a graph that is already there, whatever the mode."""
    return {pool: InputFacts(lower=0.0, reason=why) for pool, why in _calls(model, graph).items() if why}


def _calls(model: nn.Module, graph: fx.Graph) -> dict[nn.Module, str]:
    """For each pool why its input is >= 0, or nothing where it may not be."""
    modules = dict(model.named_modules(remove_duplicate=False))
    state = _State(modules)
    found: dict[nn.Module, str] = {}
    for node in graph.nodes:
        if node.op == "call_module" and is_pool(modules[node.target]):
            pool = modules[node.target]
            source = node.args[0] if node.args else node.kwargs.get("input")
            holds = isinstance(source, fx.Node) and state.holds(source)
            why = f"after {_name(source, modules)}" if holds else ""
            found[pool] = why if found.get(pool, why) else ""
        state.visit(node)
    return found


class _State:
    """What is known of each node, and whether its memory is still what it was."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self._modules = modules
        self._known: dict[fx.Node, bool] = {}
        self._memory: dict[fx.Node, dict[fx.Node, int]] = {}
        """Of each node: whose memory it may be, and how often that had been written to."""
        self._written: dict[fx.Node, int] = {}

    def holds(self, node: fx.Node) -> bool:
        """Whether a node is >= 0, and nobody wrote to its memory since."""
        fresh = all(self._written[root] == times for root, times in self._memory[node].items())
        return self._known[node] and fresh

    def visit(self, node: fx.Node) -> None:
        """Take one step."""
        module = self._modules.get(str(node.target)) if node.op == "call_module" else None
        name = _operation(node, module)
        known = self._rule(node, module, name)
        written = _written_to(node, module)
        shares = name in VIEWS or written or name not in MAKE | KEEP
        roots = {root for source in node.all_input_nodes for root in self._memory[source]} if shares else set()
        if written:
            for source in node.all_input_nodes[:1]:
                for root in self._memory[source]:
                    self._written[root] += 1
        self._written[node] = 0
        self._known[node] = known
        self._memory[node] = {root: self._written[root] for root in (*roots, node)}

    def _rule(self, node: fx.Node, module: nn.Module | None, name: str) -> bool:
        if module is not None and (module._forward_hooks or module._forward_pre_hooks):
            return False  # a hook may change what it likes
        if name in MAKE:
            return True
        sources = node.all_input_nodes
        if name in {"clamp", "clamp_min", "hardtanh"}:
            least = node.kwargs.get("min", node.kwargs.get("min_val", node.args[1] if len(node.args) > 1 else None))
            return isinstance(least, int | float) and least >= 0
        if name == "pad":
            value = node.kwargs.get("value", node.args[3] if len(node.args) > 3 else 0) or 0
            return self.holds(sources[0]) and isinstance(value, int | float) and value >= 0
        if name == "interpolate":
            return self.holds(sources[0]) and node.kwargs.get("mode", "nearest") in {"nearest", "bilinear", "linear"}
        return name in KEEP and bool(sources) and all(map(self._counts, _read(node)))

    def _counts(self, value: Any) -> bool:
        if isinstance(value, fx.Node):
            return self.holds(value)
        return not isinstance(value, float) or value >= 0


def _read(node: fx.Node) -> Iterable[Any]:
    """What decides the sign of the result: all tensors, and the numbers of a sum or product."""
    yield from node.all_input_nodes
    if node.target in {operator.add, operator.mul, operator.iadd, operator.imul} or _bare(node.target) in {
        "add",
        "mul",
    }:
        for value in (*node.args, *node.kwargs.values()):
            if isinstance(value, int | float):
                yield float(value)


def _operation(node: fx.Node, module: nn.Module | None) -> str:
    """The name of what a node does, as in the tables above; the same for a function, a method, a module."""
    if module is not None:
        if type(module) in MAKERS:
            return "relu"
        if type(module) in KEEPERS or (is_pool(module) and type(module).__module__.startswith("torch.nn")):
            return "dropout"
        if type(module) is nn.Hardtanh:
            return "relu" if module.min_val >= 0 else "unknown"
        if type(module) is nn.Upsample:
            return "dropout" if module.mode in {"nearest", "linear", "bilinear", "trilinear"} else "unknown"
        return "unknown"
    if node.op == "call_method":
        return str(node.target).rstrip("_")
    if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
        space, _, name = node.target._schema.name.partition("::")
        return str(name).rstrip("_") if space == "aten" else "unknown"
    if node.op == "call_function":
        ours = getattr(node.target, "__module__", "") or "torch"
        return _bare(node.target) if ours.split(".")[0] in {"torch", "_operator"} else "unknown"
    return "unknown"


def _bare(target: Any) -> str:
    """Such as ``add``, of a function or of the operator aten.add.Tensor."""
    if isinstance(target, torch._ops.OpOverload):
        return str(target._schema.name).split("::")[1].rstrip("_")
    return str(getattr(target, "__name__", "")).rstrip("_")


def _written_to(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node may change the memory of its first input."""
    if module is not None:
        return bool(getattr(module, "inplace", False))
    name = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", "")
    if isinstance(node.target, torch._ops.OpOverload):
        name = node.target._schema.name.split("::")[1]
    in_place = name.endswith("_") and not name.endswith("__")
    in_place = in_place or name in {"setitem", "iadd", "imul", "isub", "itruediv", "ipow", "iand", "ior"}
    flagged = node.kwargs.get("inplace") is True or any(arg is True for arg in node.args)
    return node.op in {"call_method", "call_function"} and (in_place or flagged or "out" in node.kwargs)


def _name(node: Any, modules: dict[str, nn.Module]) -> str:
    if node.op == "call_module":
        return f"{type(modules[node.target]).__name__} {node.target}"
    return str(node.target) if node.op == "call_method" else _bare(node.target)
