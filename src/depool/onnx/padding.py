"""Pad(minus infinity) -> MaxPool is one pool with larger pads; any other Pad is data.

max over a window of pad(x, -inf) = max over the same window of x, pads added
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx

from depool.errors import Refused
from depool.geometry import PoolSpec, Size
from depool.numerics import largest
from depool.onnx.graph import Array, Scope, attributes
from depool.onnx.shapes import Types, ValueType
from depool.onnx.spec import FLOATS


@dataclass(frozen=True)
class AbsorbedPad:
    """A Pad that becomes part of the pool behind it.

    Attributes:
        node: the Pad.
        source, sizes: its input, and that input's spatial sizes.
        spec: the pool with the pads added.
    """

    node: onnx.NodeProto
    source: str
    sizes: tuple[Size, ...]
    spec: PoolSpec


def absorb(pool: onnx.NodeProto, scope: Scope, types: Types, spec: PoolSpec) -> AbsorbedPad | None:
    """The Pad of minus infinity in front of a max pool, or None where there is no such Pad.

    Raises:
        Refused: PAD_NOT_ABSORBED, where there is one that no pool's pads can say: its infinities would turn
            into NaN in a convolution.
    """
    node, place = _producer(pool.input[0], scope)
    if node is None or node.op_type != "Pad" or node.domain not in {"", "ai.onnx"}:
        return None
    value = _value(node, place)
    described = types.get(node.input[0], ValueType(0, None))
    if value is None or not _is_lowest(value, described.elem_type):
        return None
    if scope.producers.get(pool.input[0]) is not node:
        raise _refused("it stands in an outer graph, or behind an Identity")
    extra = _pads(node, scope, 2 + spec.rank)
    if extra is None or described.dims is None or min(map(min, extra)) < 0 or extra[:2] != [(0, 0), (0, 0)]:
        raise _refused("its pads are not constant, negative, or not on spatial axes alone")
    sizes = described.dims[2:]
    padded = tuple(None if n is None else n + sum(e) for n, e in zip(sizes, extra[2:], strict=True))
    if spec.ceil_mode or spec.auto_pad not in {"NOTSET", "VALID"}:
        if None in padded:
            raise _refused("the pool's own pads depend on a dynamic size")
        explicit = spec.resolve(padded).explicit_pads(padded)
    else:
        explicit = spec.pads
    pads = tuple((b + p, e + q) for (b, e), (p, q) in zip(explicit, extra[2:], strict=True))
    whole = replace(spec, pads=pads, ceil_mode=False, auto_pad="NOTSET")
    return AbsorbedPad(node, node.input[0], sizes, whole)


def reads_constant(pool: onnx.NodeProto, scope: Scope) -> bool:
    """Whether a pool's windows hold a Pad's own constant, which is data and may dwarf all that is around it.

    A rounding error is measured by the largest number of the window, so only a bit-exact gate is safe there.
    """
    node, place = _producer(pool.input[0], scope)
    if node is None or node.op_type != "Pad":
        return False
    return _value(node, place) not in {0.0, None}


def _value(node: onnx.NodeProto, scope: Scope) -> float | None:
    found = attributes(node)
    if found.get("mode", "constant") != "constant":
        return None
    if len(node.input) > 2 and node.input[2]:
        array = scope.constant(node.input[2])
        return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None
    return float(found.get("value", 0.0))


def _producer(name: str, scope: Scope) -> tuple[onnx.NodeProto | None, Scope]:
    """The node that makes a value, and its scope: Identities seen through, outer graphs included."""
    node = scope.producers.get(name)
    if node is not None and node.op_type == "Identity":
        return _producer(node.input[0], scope)
    own = {value.name for value in scope.container.input} if scope.parent is not None else set()
    if node is None and scope.parent is not None and name not in own:
        return _producer(name, scope.parent)
    return node, scope


def _is_lowest(value: float, elem_type: int) -> bool:
    """Minus infinity, or what stands for it: at most -MAX / 2, the least value that a conversion is promised for."""
    return elem_type in FLOATS and value <= -largest(FLOATS[elem_type]) / 2


def _pads(node: onnx.NodeProto, scope: Scope, rank: int) -> list[tuple[int, int]] | None:
    """(begin, end) of every dimension, or None where not constant."""
    raw: Array | None = None
    if len(node.input) > 1:
        raw = scope.constant(node.input[1])
    elif (listed := attributes(node).get("pads")) is not None:
        raw = np.asarray(listed)
    if raw is None:
        return None
    axes = range(rank)
    if len(node.input) > 3 and node.input[3]:
        chosen = scope.constant(node.input[3])
        if chosen is None:
            return None
        axes = [int(axis) % rank for axis in chosen.reshape(-1)]  # type: ignore[assignment]
    flat = [int(p) for p in raw.reshape(-1)]
    if len(flat) != 2 * len(axes):
        return None
    pads = [(0, 0)] * rank
    for axis, begin, end in zip(axes, flat[: len(axes)], flat[len(axes) :], strict=True):
        pads[axis] = (begin, end)
    return pads


def _refused(why: str) -> Refused:
    return Refused(
        "PAD_NOT_ABSORBED",
        f"a Pad of minus infinity stands before it that no pool's pads can say: {why}.",
        "Fix the sizes with --shape NAME:1,3,224,224, or export the pool with pads of its own.",
    )
