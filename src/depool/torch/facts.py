"""Which tensors of a model are >= 0, read off its torch.fx trace.

x >= 0 after relu, sigmoid, softmax, abs, clamp(min >= 0) ...; it stays so through pools, dropout, reshapes, and the
sums, products and concatenations of such tensors. Whatever is not in these tables is taken to be signed, and so is a
tensor that an operation in place may have changed since. A model that cannot be traced yields no facts at all: a
part of it, traced alone, might be used in another way than the part says.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as all of PyTorch's documentation has it
from torch import fx, nn
from torch.fx.graph import inplace_methods
from torch.nn.modules.module import _has_any_global_hook

from depool.facts import InputFacts
from depool.torch.pool import DTYPES, ConvPool, conversion_of
from depool.torch.spec import MODULES, function_name, is_pool
from depool.torch.trace import IN_PLACE, traced

MAKE = {"relu", "relu6", "sigmoid", "softmax", "hardsigmoid", "abs", "absolute", "exp", "square", "sqrt"}
"""Functions and methods whose result is >= 0."""
KEEP = {
    "add", "iadd", "mul", "imul", "cat", "concat", "concatenate", "stack", "maximum", "minimum", "flatten", "view",
    "reshape", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "clone", "detach", "getitem", "chunk",
    "split", "dropout", "dropout1d", "dropout2d", "dropout3d", "mean", "sum", "amax", "amin", "pixel_shuffle",
    *MODULES,
}  # fmt: skip
"""Functions and methods whose result is >= 0 where all tensors and numbers that they read are."""
COPIES = MAKE | {"add", "mul", "cat", "concat", "concatenate", "stack", "maximum", "minimum", "clone", "mean", "sum"}
"""Functions and methods whose result never is the memory of what they read."""
MAKERS = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Softmax, nn.Softmax2d, nn.Hardsigmoid)
KEEPERS = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity, nn.Flatten, nn.Unflatten, nn.PixelShuffle,
    nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d,
    nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d,
)  # fmt: skip
FRESH = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.Linear)
"""Modules whose result never is the memory of what they read: else each ReLU in place would end all facts."""
AVERAGING = {"nearest", "nearest-exact", "area", "linear", "bilinear", "trilinear"}
"""Ways to resize that take averages; bicubic overshoots."""
PLACES = (torch, F, torch.Tensor, torch.special, operator)


def nonnegative_inputs(model: nn.Module) -> dict[nn.Module, InputFacts]:
    """The pools of a model whose input is >= 0 wherever its forward calls them, in training and in evaluation."""
    if _has_any_global_hook():  # type: ignore[no-untyped-call]
        return {}
    try:
        graphs = traced(model, lambda module: is_pool(module) or isinstance(module, ConvPool))
    except Exception:  # noqa: BLE001 - a model that fx cannot trace may fail in any way
        return {}
    if len({tuple((node.op, node.target) for node in graph.nodes) for graph in graphs}) > 1:
        return {}  # it takes another way in training, and parts of it may be frozen
    first, *more = (_calls(model, graph) for graph in graphs)
    return {
        pool: InputFacts(lower=0.0, reason=why) for pool, why in first.items() if why and all(c.get(pool) for c in more)
    }


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
            holds = isinstance(source, fx.Node) and state.holds(source) and not pool._forward_pre_hooks
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
        self._outside: fx.Node | None = None

    def holds(self, node: fx.Node) -> bool:
        """Whether a node is >= 0, and nobody wrote to its memory since."""
        fresh = all(self._written[root] == times for root, times in self._memory[node].items())
        return self._known[node] and fresh

    def visit(self, node: fx.Node) -> None:
        """Take one step."""
        module = self._modules.get(str(node.target)) if node.op == "call_module" else None
        name = _operation(node, module)
        known = self._rule(node, module, name)
        written = _may_write(node, module)
        fresh = name in COPIES or (isinstance(module, FRESH) and not module._forward_hooks)
        shared = [] if fresh and not written else node.all_input_nodes
        if node.op in {"placeholder", "get_attr"}:  # several may be one tensor
            self._outside = self._outside or node
            shared = [self._outside] if self._outside is not node else []
        roots = {root for source in shared for root in self._memory[source]}
        if written:
            for root in roots:
                self._written[root] += 1
        self._written[node] = 0
        self._known[node] = known
        self._memory[node] = {root: self._written[root] for root in (*roots, node)}

    def _rule(self, node: fx.Node, module: nn.Module | None, name: str) -> bool:
        if module is not None and (module._forward_hooks or module._forward_pre_hooks):
            return False  # a hook may change what it likes
        if name in MAKE:
            return True
        if name in {"clamp", "clamp_min", "hardtanh"}:
            return _clamps(node)
        if name == "pad":
            value = node.kwargs.get("value", node.args[3] if len(node.args) > 3 else 0) or 0
            return self._keeps(node) and isinstance(value, int | float) and value >= 0
        if name == "interpolate":
            mode = node.kwargs.get("mode", node.args[3] if len(node.args) > 3 else "nearest")
            return self._keeps(node) and mode in AVERAGING
        if any(isinstance(value, torch.dtype) for value in (*node.args, *node.kwargs.values())):
            return False  # a view of the same bits as numbers of another type
        numbers = _numbers(node) if name in {"add", "iadd", "mul", "imul"} else []
        divisor = _divisor(node, module, name)
        return name in KEEP and self._keeps(node) and all(number >= 0 for number in (*numbers, divisor))

    def _keeps(self, node: fx.Node) -> bool:
        """Whether all that a node reads is >= 0."""
        return bool(node.all_input_nodes) and all(map(self.holds, node.all_input_nodes))


def _numbers(node: fx.Node) -> list[float]:
    """The numbers of a sum or product, with the alpha of torch.add."""
    return [float(value) for value in (*node.args, *node.kwargs.values()) if isinstance(value, int | float)]


def _divisor(node: fx.Node, module: nn.Module | None, name: str) -> float:
    """What an average divides by, where that is not the number of its elements."""
    if not name.startswith("avg_pool") and not isinstance(module, nn.AvgPool2d | nn.AvgPool3d):
        return 1.0
    given = node.kwargs.get("divisor_override", node.args[6] if len(node.args) > 6 else None)
    value = getattr(module, "divisor_override", given)
    return float(value) if isinstance(value, int | float) else 1.0 if value is None else -1.0


def _clamps(node: fx.Node) -> bool:
    """Whether both bounds are >= 0; where they contradict each other the upper one counts."""
    least = node.kwargs.get("min", node.kwargs.get("min_val", node.args[1] if len(node.args) > 1 else None))
    most = node.kwargs.get("max", node.kwargs.get("max_val", node.args[2] if len(node.args) > 2 else None))
    bounds = [least] if most is None else [least, most]
    return all(isinstance(bound, int | float) and bound >= 0 for bound in bounds)


def _operation(node: fx.Node, module: nn.Module | None) -> str:
    """The name of what a node does, as in the tables above; the same for a function, a method, a module."""
    if module is not None:
        return _step(module)
    if node.op == "call_method":
        return _bare(str(node.target))
    if node.op != "call_function":
        return "unknown"
    if isinstance(node.target, torch._ops.OpOverload):
        space, _, name = node.target._schema.name.partition("::")
        return _bare(name) if space == "aten" else "unknown"
    name = str(getattr(node.target, "__name__", ""))
    known = node.target in IN_PLACE or function_name(node.target) is not None
    return _bare(name) if known or any(getattr(place, name, None) is node.target for place in PLACES) else "unknown"


def _step(module: nn.Module) -> str:
    if "forward" in vars(module):
        return "unknown"
    if isinstance(module, ConvPool):
        return "dropout" if _exact(module) else "unknown"
    if type(module) in MAKERS:
        return "relu"
    if type(module) in KEEPERS or (is_pool(module) and type(module).__module__.startswith("torch.nn")):
        return "dropout"
    if type(module) is nn.Hardtanh:
        return "relu" if module.min_val >= 0 and module.max_val >= 0 else "unknown"
    if type(module) is nn.Upsample:
        return "dropout" if module.mode in AVERAGING else "unknown"
    return "unknown"


def _exact(pool: ConvPool) -> bool:
    """Whether a pool as convolutions keeps x >= 0: averages do however they round, maxima where they do not round."""
    found = conversion_of(pool)
    return found.spec.kind == "average" or bool(found.program.error_bound(1.0, DTYPES[pool.anchor.dtype]) == 0)


def _bare(name: str) -> str:
    """Without the mark of operations in place; nothing is known of methods with names such as __setitem__."""
    return "unknown" if name.startswith("__") else name.removesuffix("_")


def _may_write(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node may change the memory of what it reads."""
    if module is not None:
        ours = isinstance(module, ConvPool) or type(module).__module__.startswith("torch.")
        return bool(getattr(module, "inplace", False)) or not ours
    if node.op not in {"call_method", "call_function"}:
        return False
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.is_mutable
    text = str(target) if node.op == "call_method" else str(getattr(target, "__name__", "_"))
    foreign = node.op == "call_function" and not _of_library(target)
    flagged = node.kwargs.get("inplace") is True or any(arg is True for arg in node.args)
    return text.endswith("_") or text in inplace_methods or foreign or flagged or "out" in node.kwargs


def _of_library(target: Any) -> bool:
    """Whether a function is Python's or PyTorch's own, whose names tell if they write."""
    place = str(getattr(target, "__module__", None) or "torch").split(".")[0]
    return place in {"torch", "_operator", "builtins", "math"} or target in IN_PLACE


def _name(node: Any, modules: dict[str, nn.Module]) -> str:
    if node.op == "call_module":
        return f"{type(modules[node.target]).__name__} {node.target}"
    name = str(getattr(node.target, "__name__", node.target))
    return name.partition(".")[0].rstrip("_")  # of an operator such as relu.default
