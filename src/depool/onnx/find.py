"""Find the pools of an ONNX model: geometry, types, facts, and whether they are ours to convert."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import onnx

from depool.errors import Refusal, Refused, UsageError
from depool.facts import InputFacts
from depool.geometry import PoolSpec, Size
from depool.onnx.bounds import Interval, intervals
from depool.onnx.graph import Scope, scopes
from depool.onnx.padding import absorb, reads_constant
from depool.onnx.quantized import INTEGERS, dequantized, quantized
from depool.onnx.shapes import Types, ValueType, infer
from depool.onnx.site import PoolSite
from depool.onnx.spec import AVERAGE_POOLS, FLOATS, MAX_POOLS, NOT_OURS, pool_spec


@dataclass(frozen=True)
class Selection:
    """Which pools the user wants converted, and what the user knows about their inputs.

    Attributes:
        pools: ``max``, or ``all`` to add average pools.
        only, skip: patterns of node names (as in a shell: * and ?).
        ranges: (low, high) by tensor name; "" stands for every input of the model.
        nonnegative: the inputs of all selected pools are known to be >= 0.
    """

    pools: str = "max"
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    ranges: tuple[tuple[str, tuple[float, float]], ...] = ()
    nonnegative: bool = False

    def selects(self, node: onnx.NodeProto, where: str) -> bool:
        """Whether a pool is to be converted."""
        kinds = MAX_POOLS + (AVERAGE_POOLS if self.pools == "all" else ())
        if node.op_type not in kinds:
            return False
        names = (node.name, where)
        wanted = not self.only or any(fnmatchcase(name, p) for name in names for p in self.only)
        return wanted and not any(fnmatchcase(name, p) for name in names for p in self.skip)


@dataclass(frozen=True)
class Left:
    """A pool that stays; `selected` says whether the user wanted it converted."""

    node: onnx.NodeProto
    refusal: Refusal
    selected: bool


def find(model: onnx.ModelProto, folder: Path, selection: Selection) -> Iterator[PoolSite | Left]:
    """Every pool of the model, in order: a site to convert, or the reason why it is left."""
    _refuse_unknown_ranges(model, folder, selection)
    types = infer(model)
    functions = {(f.domain, f.name) for f in model.functions}

    @cache
    def known(scope: Scope) -> ChainMap[str, Interval]:
        outer = known(scope.parent) if scope.parent else ChainMap()
        return outer.new_child(intervals(scope, _declared(scope, selection), outer))

    @cache
    def undeclared(scope: Scope) -> ChainMap[str, Interval]:
        outer = undeclared(scope.parent) if scope.parent else ChainMap()
        return outer.new_child(intervals(scope, {}, outer))

    for scope in scopes(model, folder):
        here = types.get(scope.path, {})
        for i, node in enumerate(scope.nodes):
            if "pool" not in node.op_type.lower():
                continue
            where = f"{scope.path}{node.name or f'{node.op_type}#{i}'}"
            selected = selection.selects(node, where)
            try:
                if node.domain not in {"", "ai.onnx"}:
                    if (node.domain, node.op_type) in functions or not _is_max_pool(node.op_type):
                        continue
                    selected = selection.selects(_standard(node), where)
                    raise _foreign(node)
                if node.op_type in NOT_OURS:
                    raise _not_ours(node)
                if selected:
                    site = _site(node, where, scope, here, known(scope), selection)
                    if selection.ranges and not site.facts.declared:
                        site = _with_source_of_facts(site, undeclared(scope))
                    yield site
            except Refused as refused:
                refusal = replace(refused.refusal, where=where)
                yield Left(node, refusal, selected)


def _refuse_unknown_ranges(model: onnx.ModelProto, folder: Path, selection: Selection) -> None:
    named = [name for name, _ in selection.ranges if name]
    if not named:
        return
    known = {value.name for value in model.graph.input}
    known |= {name for scope in scopes(model, folder) for name in scope.producers}
    for name in named:
        if name not in known:
            raise UsageError(f"--input-range {name}: the model has no tensor of this name")


def _site(
    node: onnx.NodeProto,
    where: str,
    scope: Scope,
    types: Types,
    known: Mapping[str, Interval],
    selection: Selection,
) -> PoolSite:
    source = node.input[0]
    described = types.get(source, ValueType(0, None))
    if len(node.output) > 1 and _read(scope, node.output[1]):
        raise Refused(
            "INDICES_USED",
            "its second output, the positions of the maxima, is read, and convolutions cannot give it.",
            "Leave this pool out (--skip), or export the model without the unpooling that reads it.",
        )
    maximum = node.op_type in MAX_POOLS
    types_here = FLOATS | (INTEGERS if maximum else {})
    dtype = types_here.get(described.elem_type)
    if dtype is None:
        raise _dtype(described.elem_type)
    oldest = 10 if dtype in INTEGERS.values() else 6
    if scope.opset < oldest:
        raise Refused(
            "OPSET_TOO_OLD",
            f"the model uses opset {scope.opset}, and {dtype} convolutions are written from opset {oldest} on.",
            "Give --opset 13 to raise the model's opset first.",
        )
    if described.dims is None or len(described.dims) not in {3, 4, 5}:
        raise Refused(
            "RANK_UNKNOWN",
            "the number of its input's dimensions is not known or not 3 to 5.",
            "Give --shape NAME:1,3,224,224 for the model's inputs, or run onnx's shape inference first.",
        )
    channels, sizes = described.dims[1], described.dims[2:]
    if channels is None:
        raise Refused(
            "DYNAMIC_CHANNELS",
            "the number of channels of its input is not known.",
            "Give --shape NAME:1,3,224,224 for the model's inputs.",
        )
    site = PoolSite(
        node, scope, where, source, node.output[0], _spec(node, sizes), sizes, channels, dtype,
        _facts(source, node, scope, known, selection) if dtype in FLOATS.values() else InputFacts(),
        exact=dequantized(node, scope) or (maximum and reads_constant(node, scope)),
    )  # fmt: skip
    if not maximum:
        return site
    if (pad := absorb(node, scope, types, site.spec)) is not None:
        facts = _facts(pad.source, node, scope, known, selection)
        return replace(
            site, source=pad.source, spec=pad.spec, sizes=pad.sizes, inner=(source,), facts=facts, exact=False
        )
    if (around := quantized(node, scope)) is not None:
        return replace(
            site, source=around.source, output=around.output, inner=around.inner, dtype=around.dtype,
            scale=around.scale, facts=InputFacts(), exact=False,
        )  # fmt: skip
    return site


def _spec(node: onnx.NodeProto, sizes: tuple[Size, ...]) -> PoolSpec:
    if not node.op_type.startswith("Global"):
        return pool_spec(node, len(sizes))
    static = tuple(size for size in sizes if size is not None)
    if len(static) < len(sizes):
        raise Refused(
            "DYNAMIC_GLOBAL",
            "a global pool over a dynamic size has no kernel that could be written down.",
            "Fix the size with --shape NAME:1,3,224,224.",
        )
    return PoolSpec(static, kind="average" if node.op_type in AVERAGE_POOLS else "max")


def _facts(
    source: str, node: onnx.NodeProto, scope: Scope, known: Mapping[str, Interval], selection: Selection
) -> InputFacts:
    output = node.output[0]
    readers = scope.consumers.get(output, [])
    relu = bool(readers) and output not in scope.outputs
    relu = relu and all(n.op_type == "Relu" and n.domain in {"", "ai.onnx"} for n in readers)
    found = known.get(source, Interval())
    if selection.nonnegative and found.lower < 0:
        return InputFacts(0.0, max(found.upper, 0.0), "declared by --assume-nonnegative", True, relu)
    return InputFacts(found.lower, found.upper, found.reason, relu_follows=relu)


def _with_source_of_facts(site: PoolSite, undeclared: Mapping[str, Interval]) -> PoolSite:
    """Mark facts that would not hold without what the user declared."""
    alone = undeclared.get(site.source, Interval())
    relies = (alone.lower, alone.upper) != (site.facts.lower, site.facts.upper)
    return replace(site, facts=replace(site.facts, declared=relies and site.dtype in FLOATS.values()))


def _declared(scope: Scope, selection: Selection) -> dict[str, tuple[float, float]]:
    ranges = dict(selection.ranges)
    everywhere = ranges.pop("", None)
    if everywhere is not None and scope.parent is None and not scope.is_function:
        weights = {tensor.name for tensor in scope.container.initializer}
        for value in scope.container.input:
            if value.name not in weights:
                ranges.setdefault(value.name, everywhere)
    return ranges


def _read(scope: Scope, name: str) -> bool:
    return bool(name) and (name in scope.consumers or name in scope.outputs)


def _is_max_pool(op_type: str) -> bool:
    return "maxpool" in op_type.lower()


def _standard(node: onnx.NodeProto) -> onnx.NodeProto:
    return onnx.NodeProto(op_type="MaxPool", name=node.name)


def _foreign(node: onnx.NodeProto) -> Refused:
    return Refused(
        "FOREIGN_DOMAIN",
        f"{node.op_type} of domain {node.domain!r} is not a standard operator; its layout and meaning are its own.",
        "Export the model with standard ONNX pools, before any runtime's layout optimisation.",
    )


def _not_ours(node: onnx.NodeProto) -> Refused:
    return Refused("NOT_A_MAX_POOL", f"{node.op_type} is neither a max nor an average pool.", "It stays as it is.")


def _dtype(elem_type: int) -> Refused:
    name = onnx.TensorProto.DataType.Name(elem_type) if elem_type else "unknown"
    return Refused(
        "DTYPE",
        f"its input's type is {name}; float32, float64, float16, bfloat16, and for max pools int8 and uint8 are taken.",
        "Convert the model before its tensors get this type.",
    )
