"""The nodes that stand in a pool's place, read from the converted model's file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from depool.onnx.graph import Scope, attributes
from depool.proof.axes import Array, Sliding
from depool.proof.problem import ProofError


@dataclass(frozen=True, eq=False)
class ConvOp:
    """A convolution; `weight` and `bias` as float64, which holds every smaller type exactly."""

    name: str
    output: str
    inputs: tuple[str, ...]
    weight: Array
    bias: Array | None
    axes: tuple[Sliding, ...]
    group: int


@dataclass(frozen=True)
class ReluOp:
    """r(x); of integers, which saturate, x must not exceed `top`."""

    name: str
    output: str
    inputs: tuple[str, ...]
    top: int | None = None


@dataclass(frozen=True)
class AddOp:
    """The sum of two tensors."""

    name: str
    output: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class ConcatOp:
    """Tensors joined along an axis, counted as ONNX does."""

    name: str
    output: str
    inputs: tuple[str, ...]
    axis: int


@dataclass(frozen=True)
class ReshapeOp:
    """[N, K, ...] as [-1, channels, ...]: whatever is not among the channels is in the batch; the sizes stay."""

    name: str
    output: str
    inputs: tuple[str, ...]
    channels: int


Op = ConvOp | ReluOp | AddOp | ConcatOp | ReshapeOp
READ = {"Conv", "Relu", "Add", "Concat", "QLinearConv", "Reshape"}


@dataclass(frozen=True, eq=False)
class Region:
    """What stands between two tensors.

    Attributes:
        ops: in order of computation.
        nodes: positions in the scope, of these nodes and of the constants that only they read.
        weights: names of initialisers that are read.
        dtype: NumPy's name of the weights' type.
    """

    ops: tuple[Op, ...]
    nodes: frozenset[int]
    weights: frozenset[str]
    dtype: str


def read_region(scope: Scope, source: str, output: str, rank: int) -> Region:
    """The region between a pool's input and its output.

    Raises:
        ProofError: where anything but READ and constant weights stands there.
    """
    numbers = {name: i for i, node in enumerate(scope.nodes) for name in node.output if name}
    found: set[int] = set()
    weights: set[str] = set()
    stack = [output]
    while stack:
        name = stack.pop()
        if name == source or numbers.get(name) in found:
            continue
        if name not in numbers:
            raise ProofError(f"{output!r} depends on {name!r}, which is neither {source!r} nor a weight")
        node = scope.nodes[numbers[name]]
        if node.domain not in {"", "ai.onnx"} or node.op_type not in READ:
            raise ProofError(f"node {node.name!r} is a {node.op_type}, which no replacement of a pool contains")
        found.add(numbers[name])
        weighted = node.op_type.endswith(("Conv", "Reshape"))
        stack += node.input[:1] if weighted else node.input
        weights |= {name for name in node.input[1:] if name} if weighted else set()
    if not found:
        raise ProofError(f"nothing stands between {source!r} and {output!r}")
    reader = _Reader(scope, rank)
    ops = tuple(op for i in sorted(found) for op in reader.ops(scope.nodes[i]))
    constants = {numbers[name] for name in weights if name in numbers}
    if len(reader.dtypes) > 1:
        raise ProofError(f"its weights are of several types: {', '.join(sorted(reader.dtypes))}")
    dtype = reader.dtypes.pop() if reader.dtypes else "float32"
    return Region(ops, frozenset(found | constants), frozenset(weights - numbers.keys()), dtype)


class _Reader:
    """Reads nodes of one scope."""

    def __init__(self, scope: Scope, rank: int) -> None:
        self.scope = scope
        self.rank = rank
        self.dtypes: set[str] = set()

    def ops(self, node: onnx.NodeProto) -> list[Op]:
        """A node as one step, or as two where it is a convolution of integers."""
        if node.op_type != "QLinearConv":
            return [self._op(node)]
        name = node.name or node.output[0]
        self._check_integers(node, name)
        found = attributes(node)
        weight = self._weight(node.input[3], name, integer=True)
        plain = onnx.helper.make_node("Conv", [node.input[0], ""], [f"{node.output[0]}/sum"], name=name)
        conv = self._conv(plain, name, found, weight)
        return [conv, ReluOp(name, node.output[0], (conv.output,), top=255)]

    def _check_integers(self, node: onnx.NodeProto, name: str) -> None:
        """One scale throughout, weights of scale 1, the lowest integer as zero point: saturation there is r."""
        if len(node.input) != 8 or not all(node.input):
            raise ProofError(f"node {name!r}: eight inputs are expected")
        constants = [self.scope.constant(node.input[i]) for i in (1, 2, 4, 5, 6, 7)]
        if any(c is None or c.size != 1 for c in constants):
            raise ProofError(f"node {name!r}: its scales and zero points are not single constants")
        scale, zero, unit, none, scale_out, zero_out = (c.reshape(-1)[0] for c in constants if c is not None)
        self.dtypes.add(zero.dtype.name)
        if zero.dtype.name not in {"int8", "uint8"} or zero.dtype != zero_out.dtype:
            raise ProofError(f"node {name!r}: its type is {zero.dtype.name}")
        if scale != scale_out or not 0 < scale < np.inf or unit != 1 or none != 0:
            raise ProofError(f"node {name!r}: its scales are not the input's own and 1")
        if zero != np.iinfo(zero.dtype).min or zero_out != zero:
            raise ProofError(f"node {name!r}: its zero point is not the lowest integer")

    def _op(self, node: onnx.NodeProto) -> Op:
        """A node with its attributes and weights."""
        name, output = node.name or node.output[0], node.output[0]
        inputs = tuple(node.input)
        found = attributes(node)
        if any(a.ref_attr_name for a in node.attribute):
            raise ProofError(f"node {name!r}: an attribute is a parameter of its function")
        if node.op_type == "Conv":
            return self._conv(node, name, found, self._weight(node.input[1], name))
        if node.op_type == "Reshape":
            return ReshapeOp(name, output, inputs[:1], self._channels(node, name, found))
        if node.op_type == "Concat":
            axis = int(found.get("axis", 1))
            return ConcatOp(name, output, inputs, axis + (self.rank + 2 if axis < 0 else 0))
        if node.op_type == "Relu":
            return ReluOp(name, output, inputs)
        if len(inputs) != 2 or "axis" in found or "broadcast" in found:
            raise ProofError(f"node {name!r}: an Add of two tensors of one shape is expected")
        return AddOp(name, output, inputs)

    def _channels(self, node: onnx.NodeProto, name: str, found: dict[str, Any]) -> int:
        """The n of a Reshape to [-1, n, 0, ...], where each 0 keeps a spatial size."""
        shape = self.scope.constant(node.input[1])
        if shape is None or found.get("allowzero", 0):
            raise ProofError(f"node {name!r}: a Reshape to a constant shape, in which 0 keeps a size, is expected")
        batch, channels, *sizes = shape.tolist()
        if batch != -1 or channels < 1 or sizes != [0] * self.rank:
            raise ProofError(f"node {name!r}: its shape {shape.tolist()} is not [-1, channels{', 0' * self.rank}]")
        return int(channels)

    def _conv(self, node: onnx.NodeProto, name: str, found: dict[str, Any], weight: Array) -> ConvOp:
        if weight.ndim != self.rank + 2:
            raise ProofError(f"node {name!r}: its weight has {weight.ndim} dimensions")
        bias = self._weight(node.input[2], name) if len(node.input) > 2 and node.input[2] else None
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ProofError(f"node {name!r}: its bias does not fit its weight")
        kernel = tuple(found.get("kernel_shape", weight.shape[2:]))
        if kernel != weight.shape[2:]:
            raise ProofError(f"node {name!r}: kernel_shape {list(kernel)} is not its weight's {list(weight.shape[2:])}")
        group = int(found.get("group", 1))
        if group < 1:
            raise ProofError(f"node {name!r}: group {group}")
        return ConvOp(name, node.output[0], (node.input[0],), weight, bias, sliding(found, kernel, name), group)

    def _weight(self, name: str, node: str, *, integer: bool = False) -> Array:
        array = self.scope.constant(name)
        if array is None:
            raise ProofError(f"node {node!r}: {name!r} is no constant")
        if not integer:
            self.dtypes.add(array.dtype.name)
        exact = array.astype(np.float64)
        if not np.isfinite(exact).all():
            raise ProofError(f"node {node!r}: {name!r} is not finite")
        return exact


def sliding(found: dict[str, Any], kernel: tuple[int, ...], name: str) -> tuple[Sliding, ...]:
    """The attributes of a convolution or pool, axis by axis.

    Raises:
        ProofError: where they do not fit together.
    """
    rank = len(kernel)
    strides, dilations = (tuple(found.get(key, ())) or (1,) * rank for key in ("strides", "dilations"))
    pads = tuple(found.get("pads", ())) or (0,) * 2 * rank
    auto = found.get("auto_pad", "NOTSET")
    if len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank:
        raise ProofError(f"node {name!r}: its attributes do not fit {rank} axes")
    if min((*kernel, *strides, *dilations)) < 1 or min(pads) < 0:
        raise ProofError(f"node {name!r}: its attributes are out of range")
    if auto not in {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"}:
        raise ProofError(f"node {name!r}: auto_pad {auto!r} is unknown")
    ceil = bool(found.get("ceil_mode", 0))
    return tuple(
        Sliding(k, s, d, (b, e) if auto == "NOTSET" else auto, ceil)
        for k, s, d, b, e in zip(kernel, strides, dilations, pads[:rank], pads[rank:], strict=True)
    )
