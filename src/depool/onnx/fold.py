"""On request: a pool's last, or only, linear map becomes one with the user's convolution next to it.

Given   x -> pool's nodes -> Conv k -> y -> Conv W -> z        y is read by W alone, k is depthwise
Result  x -> pool's nodes -> Conv (W o k) -> z

Given   x -> Conv W -> y -> Conv k -> z          a pool that is one linear map: of one element, or an average
Result  x -> Conv (k o W) -> z

compose.py has the law. A pair is folded only where that takes no more work, counted as multiply-accumulates of one
sample and weights read:

    |k| N_y + |W| N_z + weights >= |W o k| N_z + weights

which excludes what ends in an Add (the branched form): W * (u + r) = W * u + W * r is twice the work. And runtimes have
fast ways for pointwise and for depthwise convolutions: a user's convolution that is one or the other stays one of what
it is (measured: else up to 1.24 of the time, with as few multiply-accumulates).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from depool.cost import nominal
from depool.errors import DepoolError
from depool.geometry import Window
from depool.onnx.compose import Linear, composed
from depool.onnx.graph import Scope, attributes, reads, scopes
from depool.onnx.splice import Names, tensor_of, window_attributes
from depool.record import Record

TYPES = frozenset({"float32", "float64"})
EXACT_GATES = frozenset({"Y", "K"})


@dataclass(frozen=True, eq=False)
class Fold:
    """Two nodes of the converted model that become one.

    Attributes:
        first, second: the nodes; one is the user's.
        user: the user's.
        linear: both as one.
    """

    first: onnx.NodeProto
    second: onnx.NodeProto
    user: onnx.NodeProto
    linear: Linear


def fold(
    original: onnx.ModelProto, model: onnx.ModelProto, folder: Path, records: tuple[Record, ...]
) -> tuple[Record, ...]:
    """Fold what can be folded in a converted model, in place.

    Args:
        original: the model before.
        model: the model after; it is changed.
        folder: where external data lie.
        records: of the pools that were converted.

    Returns:
        The records, with the names of the convolutions that were folded into.
    """
    if model.ir_version < 4:  # weights would have to be the graph's inputs
        return records
    names = Names(model)
    before = {scope.path: scope for scope in scopes(original, folder)}
    done: dict[int, Record] = {}
    for scope in scopes(model, folder):
        if scope.is_function or scope.opset < 7:  # before it an Add is a convolution, which no record tells of
            continue
        taken: set[str] = set()
        folds: list[tuple[Fold, str]] = []
        for i, record in enumerate(records):
            if record.scope != scope.path:
                continue
            found = _found(record, scope, before[scope.path])
            if found is not None and found.user.output[0] not in taken:
                taken.add(found.user.output[0])
                folds.append((found, record.dtype))
                done[i] = replace(record, folded=(found.user.output[0],))
        if folds:
            _rebuild(scope, folds, names)
    return tuple(done.get(i, record) for i, record in enumerate(records))


def linear_of(node: onnx.NodeProto | None, scope: Scope) -> Linear | None:
    """A standard Conv with constant weights and explicit pads, else None."""
    if node is None or node.op_type != "Conv" or node.domain not in {"", "ai.onnx"}:
        return None
    found = attributes(node)
    if found.get("auto_pad", "NOTSET") not in {"NOTSET", "VALID"} or any(a.ref_attr_name for a in node.attribute):
        return None
    bias_name = node.input[2] if len(node.input) > 2 else ""
    weight = scope.constant(node.input[1])
    bias = scope.constant(bias_name) if bias_name else None
    if weight is None or (bias_name and bias is None) or weight.ndim < 3:
        return None
    rank = weight.ndim - 2
    flat = found.get("pads", [0] * 2 * rank) if found.get("auto_pad", "NOTSET") == "NOTSET" else [0] * 2 * rank
    window = Window(
        tuple(weight.shape[2:]),
        tuple(found.get("strides", [1] * rank)),
        tuple(found.get("dilations", [1] * rank)),
        tuple(zip(flat[:rank], flat[rank:], strict=True)),
    )
    return Linear(weight, bias, int(found.get("group", 1)), window)


def _found(record: Record, scope: Scope, before: Scope) -> Fold | None:
    """The fold of one pool, if there is one that saves work."""
    if record.dtype not in TYPES or record.gate in EXACT_GATES:
        return None
    last = scope.producers.get(record.output)
    if last is None:
        return None
    behind = _only_reader(record.output, scope)
    if behind is not None and _users(behind, before):
        found = _fold(last, behind, behind, record, scope, out=True)
        if found is not None:
            return found
    source = scope.producers.get(record.source)
    if source is not None and _users(source, before) and _only_reader(record.source, scope) is last:
        return _fold(source, last, source, record, scope, out=False)
    return None


def _only_reader(name: str, scope: Scope) -> onnx.NodeProto | None:
    """The one node that reads a tensor, as its first input, in this very scope."""
    readers = scope.consumers.get(name, [])
    if name in scope.outputs or len(readers) != 1 or [*readers[0].input].count(name) != 1:
        return None
    (reader,) = readers
    return reader if reader.input[0] == name and scope.producers.get(reader.output[0]) is reader else None


def _users(node: onnx.NodeProto, before: Scope) -> bool:
    """Whether a node of the converted model is a convolution of the original's."""
    twin = before.producers.get(next(filter(None, node.output), ""))
    return twin is not None and twin.op_type == "Conv"


def _fold(
    first: onnx.NodeProto, second: onnx.NodeProto, user: onnx.NodeProto, record: Record, scope: Scope, *, out: bool
) -> Fold | None:
    one, two = linear_of(first, scope), linear_of(second, scope)
    if one is None or two is None or (one if out else two).bias is not None:
        return None
    kernel = one if out else two
    if kernel.group != record.channels:
        return None
    both = composed(one, two)
    if both is None:
        return None
    sizes = nominal(record.sizes, record.spec.kernel_shape)
    try:
        middle = record.spec.resolve(record.sizes).out_sizes(sizes) if out else sizes
    except DepoolError:
        return None
    after = two.window.out_sizes(middle)
    if min(after) < 1:
        return None
    apart = one.weight.size * (prod(middle) + 1) + two.weight.size * (prod(after) + 1)
    if both.weight.size * (prod(after) + 1) > apart:
        return None
    fast = _fast(two if out else one)
    return Fold(first, second, user, both) if not fast or fast & _fast(both) else None


def _fast(conv: Linear) -> set[str]:
    """Why runtimes have a fast way for a convolution."""
    kinds = {"pointwise": max(conv.window.kernel_shape) == 1, "depthwise": conv.weight.shape[1] == 1}
    return {kind for kind, holds in kinds.items() if holds}


def _rebuild(scope: Scope, folds: list[tuple[Fold, str]], names: Names) -> None:
    """The scope's node list without the first of each two, and with the composed one at the second's place."""
    graph = scope.container
    gone = {id(each.first) for each, _ in folds}
    made = {id(each.second): _node(each, dtype, names) for each, dtype in folds}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if id(node) in gone:
            continue
        new, weights = made.get(id(node), (node, []))
        graph.initializer.extend(weights)
        nodes.append(new)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    lost = {each.first.output[0] for each, _ in folds}
    freed = {name for each, _ in folds for node in (each.first, each.second) for name in node.input[1:]}
    del graph.node[:]
    graph.node.extend(copies)
    kept = {name for node in graph.node for name in reads(node)} | {v.name for v in graph.output}
    _remove(graph.initializer, freed - kept - {value.name for value in graph.input})
    _remove(graph.value_info, lost)


def _node(each: Fold, dtype: str, names: Names) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    name = names.fresh(f"{each.user.name or each.user.output[0]}/depool")
    weights = [tensor_of(each.linear.weight, f"{name}/weight", dtype)]
    if each.linear.bias is not None:
        weights.append(tensor_of(each.linear.bias, f"{name}/bias", dtype))
    inputs = [each.first.input[0], *(tensor.name for tensor in weights)]
    found = window_attributes(each.linear.window) | {"group": each.linear.group}
    return helper.make_node("Conv", inputs, [each.second.output[0]], name=each.user.name, **found), weights


def _remove(entries: Any, names: set[str]) -> None:
    for i in reversed(range(len(entries))):
        if entries[i].name in names:
            del entries[i]
