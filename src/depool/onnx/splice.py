"""Put a program in the place of a pool.

Given   x -> MaxPool -> y
Result  x -> Conv, Relu, Add, Concat ... -> y, the last node writing the very name y
        folded: x [N, C, ...] -> Reshape [N C, 1, ...] -> Conv, Relu, Add, Concat ... -> Reshape [N, C, ...] -> y
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from depool.conversion import Conversion
from depool.geometry import Window
from depool.layout import WideConv, widen
from depool.lowering.adapt import without_add
from depool.numerics import TYPES
from depool.onnx.quantized import INTEGERS, parameters, qlinear_conv
from depool.onnx.site import PoolSite
from depool.program import Array, Concat, Conv, Node, sources


class Names:
    """Names that the model does not use yet."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._taken: set[str] = set()
        for name in _names(model):
            self._take(name)

    def _take(self, name: str) -> None:
        """A name, and what it is a path below."""
        while name and name not in self._taken:
            self._taken.add(name)
            name = name.rpartition("/")[0]

    def fresh(self, wanted: str) -> str:
        """`wanted`, or `wanted` with the first number that makes it new, together with all paths below it."""
        name, i = wanted, 2
        while name in self._taken:
            name, i = f"{wanted}_{i}", i + 1
        self._take(name)
        return name


def _names(model: onnx.ModelProto) -> Iterator[str]:
    stack: list[Any] = [model.graph, *model.functions]
    while stack:
        body = stack.pop()
        if isinstance(body, onnx.GraphProto):
            yield from (v.name for v in (*body.input, *body.output, *body.initializer))
        else:
            yield from (*body.input, *body.output)
        for node in body.node:
            yield node.name
            yield from node.output
            stack += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
            stack += [g for a in node.attribute for g in a.graphs]


@dataclass
class Shared:
    """What pools of one input have computed so far, so that nothing is computed twice.

    Attributes:
        tensors: the name of each, by what computes it.
        pools: their outputs, in the order in which their nodes were made.
        reused: whether one reads what another has computed.
    """

    tensors: dict[tuple[Any, ...], str] = field(default_factory=dict)
    pools: list[str] = field(default_factory=list)
    reused: bool = False


def emit(
    site: PoolSite, conversion: Conversion, names: Names, ir_version: int, shared: Shared
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes that replace a pool, and their weights (empty where Constant nodes must hold them).

    Every node is named after the pool; from IR 10 each carries where it comes from in its metadata. What another pool
    of the same input computes already is not computed again.
    """
    prefix = names.fresh(f"{site.node.name or site.output}/depool")
    shared.pools.append(site.output)
    folded = conversion.channels == "folded"
    inside = replace(site, source=f"{prefix}/fold", output=f"{prefix}/pooled") if folded else site
    if site.dtype in INTEGERS.values():
        nodes, weights = _integer_nodes(inside, conversion, prefix)
    else:
        nodes, weights = _float_nodes(inside, conversion, prefix, shared)
    if folded:
        fold, one = _reshape(site.source, inside.source, 1, f"{prefix}/fold", len(site.sizes))
        unfold, all_of_them = _reshape(inside.output, site.output, site.channels, f"{prefix}/unfold", len(site.sizes))
        nodes, weights = [fold, *nodes, unfold], [one, *weights, all_of_them]
    if site.scope.is_function or ir_version < 4:
        held = [helper.make_node("Constant", [], [w.name], name=f"{w.name}_node", value=w) for w in weights]
        nodes, weights = [*held, *nodes], []
    if ir_version >= 10:
        for made in nodes:
            _provenance(made, site, conversion)
    return nodes, weights


def _reshape(x: str, y: str, channels: int, name: str, rank: int) -> tuple[onnx.NodeProto, onnx.TensorProto]:
    """A Reshape to so many channels and whatever batch is left; 0 keeps a size, so that it may be dynamic."""
    shape = numpy_helper.from_array(np.array([-1, channels, *[0] * rank], np.int64), f"{name}_shape")
    return helper.make_node("Reshape", [x, shape.name], [y], name=name), shape


def _float_nodes(
    site: PoolSite, conversion: Conversion, prefix: str, shared: Shared
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    program = conversion.program if site.scope.opset > 6 else without_add(conversion.program)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    values = [site.source]
    slim = not conversion.aligned and conversion.channels == "grouped"
    wide = widen(program, site.channels, conversion.channels, narrow=slim)
    for i, (node, conv) in enumerate(zip(program.nodes, wide, strict=True)):
        inputs = [values[ref] for ref in sources(node)]
        name = f"{prefix}/{i}_{type(node).__name__}"
        last = i == len(program.nodes) - 1
        shape = conv.weight.shape if conv is not None else ()
        key = (type(node), conversion.channels, shape, *inputs, *_contents(node))
        if key in shared.tensors and not last:
            values.append(shared.tensors[key])
            shared.reused = True
            continue
        shared.tensors[key] = site.output if last else name
        if conv is not None:
            tensors = _tensors(conv, name, site.dtype)
            inputs += [tensor.name for tensor in tensors]
            weights += tensors
        values.append(site.output if last else name)
        attributes = _attributes(node, conv)
        nodes.append(helper.make_node(type(node).__name__, inputs, [values[-1]], name=name, **attributes))
    return nodes, weights


def _integer_nodes(
    site: PoolSite, conversion: Conversion, prefix: str
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Conv and Relu of a chain, both in one QLinearConv each."""
    program = conversion.program
    nodes: list[onnx.NodeProto] = []
    weights = parameters(prefix, site.dtype, site.scale)
    shared = list(weights)
    wide = [conv for conv in widen(program, site.channels, conversion.channels) if conv is not None]
    convs = [node for node in program.nodes if isinstance(node, Conv)]
    value = site.source
    for i, (node, conv) in enumerate(zip(convs, wide, strict=True)):
        name = f"{prefix}/{i}_QLinearConv"
        output = name if i < len(convs) - 1 else site.output
        made, weight = qlinear_conv(conv, value, output, name, shared, _attributes(node, conv))
        nodes.append(made)
        weights.append(weight)
        value = output
    return nodes, weights


def _provenance(node: onnx.NodeProto, site: PoolSite, conversion: Conversion) -> None:
    described = {
        "depool.pool": site.where,
        "depool.op_type": site.node.op_type,
        "depool.scheme": conversion.scheme,
        "depool.form": conversion.form,
    }
    for key, value in described.items():
        node.metadata_props.add(key=key, value=value)


def _contents(node: Node) -> tuple[Any, ...]:
    """What a node computes from its inputs."""
    if isinstance(node, Conv):
        return node.kernel.shape, node.kernel.tobytes(), node.window, node.bias
    return (node.axis,) if isinstance(node, Concat) else ()


def _attributes(node: Node, conv: WideConv | None) -> dict[str, Any]:
    if isinstance(node, Concat):
        return {"axis": 1 + node.axis}
    if isinstance(node, Conv) and conv is not None:
        return window_attributes(node.window) | {"group": conv.group}
    return {}


def window_attributes(window: Window) -> dict[str, Any]:
    """A Conv's attributes."""
    found: dict[str, Any] = {
        "dilations": list(window.dilations),
        "kernel_shape": list(window.kernel_shape),
        "strides": list(window.strides),
    }
    if isinstance(window.pads, str):
        return found | {"auto_pad": window.pads}
    return found | {"pads": [p[0] for p in window.pads] + [p[1] for p in window.pads]}


def _tensors(conv: WideConv, name: str, dtype: str) -> list[onnx.TensorProto]:
    made = [tensor_of(conv.weight, f"{name}_weight", dtype)]
    if conv.bias is not None:
        made.append(tensor_of(conv.bias, f"{name}_bias", dtype))
    return made


def tensor_of(array: Array, name: str, dtype: str) -> onnx.TensorProto:
    """A weight in the model's type."""
    return numpy_helper.from_array(array.astype(np.dtype(TYPES.get(dtype, dtype))), name)
