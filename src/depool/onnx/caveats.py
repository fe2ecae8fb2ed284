"""What a target will refuse, or get wrong without a word, in the rest of a model, which is not depool's to change.

Pools are converted for a target; other nodes stay as they are, and are only named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from depool.onnx.graph import Scope, attributes, scopes
from depool.target import Target

WEIGHTED = {"Conv", "ConvTranspose", "QLinearConv"}
JOINING = {"Add", "Sub", "Mul", "Sum", "Concat", "Max", "Min"}


@dataclass(frozen=True)
class Caveat:
    """One thing that a target will not take as it stands.

    Attributes:
        where: the node's name with the path of its scope, or the model input's name; "" for the model as a whole.
        op_type: of the node; "" where it is none.
        silent: whether the target says nothing, and computes something else or something looser.
        text: what is the matter, and the target's own words where they are known.
    """

    where: str
    op_type: str
    silent: bool
    text: str

    def __str__(self) -> str:
        place = " ".join(filter(None, (self.op_type, self.where)))
        return f"{place}: {self.text}" if place else self.text


def caveats(
    model: onnx.ModelProto, folder: Path, target: Target, planned: frozenset[str] = frozenset()
) -> tuple[Caveat, ...]:
    """Everything in a model that a target is known not to take.

    Args:
        model: the converted model, or one that is still to be converted.
        folder: where its external data lies.
        target: who will read it.
        planned: outputs of the pools that will be converted, which are passed over.
    """
    found = [_caveat(target, limit, text, name, "") for name, limit, text in _inputs(model, target)]
    for scope in scopes(model, folder):
        for i, node in enumerate(scope.nodes):
            if node.output and node.output[0] in planned:
                continue
            where = f"{scope.path}{node.name or f'{node.op_type}#{i}'}"
            found += [_caveat(target, limit, text, where, node.op_type) for limit, text in _node(node, scope, target)]
    if target.bounds == "interval":
        text = "bounds values by plain intervals, and these get wider when a maximum is written as a sum of ReLUs"
        found.append(Caveat("", "", True, f"{target.name} {text}"))
    return tuple(found)


def _caveat(target: Target, limit: str, text: str, where: str, op_type: str) -> Caveat:
    """In the target's own words, where they are known."""
    silent = limit in target.silent
    words = target.silent.get(limit) or target.messages.get(limit)
    said = f"; {'without a word: ' if silent else ''}{words}" if words else ""
    return Caveat(where, op_type, silent, f"{text}{said}")


def _inputs(model: onnx.ModelProto, target: Target) -> Iterator[tuple[str, str, str]]:
    """(input, limit, what is the matter) for batch dimensions that the target does not take."""
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name in weights or not dims or target.batch == "any":
            continue
        fixed = dims[0].HasField("dim_value")
        if fixed and target.batch == "symbolic":
            yield value.name, "batch", f"its batch dimension is the number {dims[0].dim_value}; a name is wanted"
        if not fixed and target.batch == "fixed":
            yield value.name, "batch", "its batch dimension is no number; fix it with --shape"


def _node(node: onnx.NodeProto, scope: Scope, target: Target) -> Iterator[tuple[str, str]]:
    """(limit, what is the matter) for one node; the limit is the operator where that is not known at all."""
    op, told = node.op_type, attributes(node)
    standard = node.domain in {"", "ai.onnx"}
    if target.operators and not (standard and op in target.operators):
        silent = op in target.silent
        yield op, "it is not read as it is meant" if silent else "the target does not know this operator"
        return
    if target.names and not node.name:
        yield "names", "the node has no name"
    missing = [name for name in target.attributes.get(op, ()) if name not in told]
    if missing:
        yield "attributes", f"the target wants {', '.join(missing)} written out"
    if not standard:
        return
    if op in WEIGHTED:
        yield from _convolution(node, told, scope, target)
    elif op in JOINING and not target.branches and _computed(node, scope) > 1:
        yield "branches", "it joins computed tensors, and the target takes one chain"
    if op == "Concat" and not target.spatial_concat and told.get("axis", 1) not in {0, 1}:
        yield "spatial_concat", "it joins along a spatial axis"


def _convolution(node: onnx.NodeProto, told: dict[str, Any], scope: Scope, target: Target) -> Iterator[tuple[str, str]]:
    pads, strides = list(told.get("pads", [])), list(told.get("strides", []))
    begin, end = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    same = told.get("auto_pad") in {"SAME_UPPER", "SAME_LOWER"}
    kernel = scope.constant(node.input[1]) if len(node.input) > 1 else None
    shape = list(told.get("kernel_shape", [])) or ([] if kernel is None else list(kernel.shape[2:]))
    if not target.groups and told.get("group", 1) > 1:
        yield "groups", f"it has {told['group']} groups"
    if not target.dilation and max(told.get("dilations", [1])) > 1:
        yield "dilation", f"it has dilations {list(told['dilations'])}"
    if not target.padding and (same or any(pads)):
        yield "padding", "it is padded"
    elif not target.auto_pad and same:
        yield "auto_pad", f"it has auto_pad {told['auto_pad']}"
    elif not target.asymmetric_pads and (same or begin != end):
        yield "asymmetric_pads", f"its pads are {told['auto_pad'] if same else pads}"
    if not target.mixed_axes and any(len(set(numbers)) > 1 for numbers in (strides, begin, end)):
        yield "mixed_axes", f"its strides {strides} or pads {pads} differ between the axes"
    if not target.bias and _biased(node, scope):
        yield "bias", "it has a bias"
    if target.largest_kernel is not None and shape and max(shape) > target.largest_kernel:
        yield "largest_kernel", f"its kernel is {shape}"


def _biased(node: onnx.NodeProto, scope: Scope) -> bool:
    """Whether a convolution has a bias that is not known to be zero."""
    at = 8 if node.op_type == "QLinearConv" else 2
    if len(node.input) <= at or not node.input[at]:
        return False
    bias = scope.constant(node.input[at])
    return bias is None or bool(np.any(bias))


def _computed(node: onnx.NodeProto, scope: Scope) -> int:
    """How many of a node's inputs are no constants."""
    return sum(bool(name) and scope.constant(name) is None for name in node.input)
