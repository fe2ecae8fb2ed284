"""One pool's part of a certificate: what was proved of it, and from what."""

from __future__ import annotations

from typing import Any

import numpy as np

from depool.proof.axes import Array, Sizes
from depool.proof.pools import Derivation
from depool.proof.region import ConcatOp, ConvOp
from depool.proof.rendering import described


def entry(d: Derivation) -> dict[str, Any]:
    """A proved pool, ready for JSON."""
    used = {name for name, count in d.values.algebra.used.items() if count} | {"union", "multiples"}
    used |= d.values.floats.gates
    border, needs = _border(d, used)
    return {
        "pool": d.claim.where,
        "operator": d.pool.op_type,
        "source": d.claim.source,
        "output": d.claim.output,
        "channels": len(d.result.channels),
        "type": d.region.dtype,
        "geometry": _geometry(d),
        "sizes": {"input": _sizes(d.sizes), "output": _sizes(d.result.sizes), "note": _size_note(d)},
        "coverage": _coverage(d),
        "nodes": [_node(d, i) for i in range(len(d.region.ops))],
        "border": border,
        "lemmas": sorted(used),
        "equal": "after the ReLU that follows" if d.relu else "as it is",
        "floating point": _floating(d),
        "hypotheses": needs,
        "told": d.claim.how,
    }


def _geometry(d: Derivation) -> dict[str, Any]:
    axes = d.pool.axes
    if axes is None:
        return {"kernel": "the whole input"}
    return {
        "kernel": [a.kernel for a in axes],
        "strides": [a.stride for a in axes],
        "dilations": [a.dilation for a in axes],
        "pads": [a.pads if isinstance(a.pads, str) else list(a.pads) for a in axes],
        "ceil_mode": any(a.ceil for a in axes),
        "padded before by minus infinity": [list(extra) for extra in d.pool.extra],
    }


def _sizes(sizes: tuple[Sizes, ...]) -> list[Any]:
    return [list(s) if len(s) > 1 else s[0] for s in sizes]


def _size_note(d: Derivation) -> str:
    if not any(d.dynamic):
        return "every position was looked at"
    return (
        "dynamic: every position of every listed size was looked at; the nodes act alike at all positions, so a larger "
        "size has no position whose distances to the borders do not occur among these; for smaller sizes that are not "
        "listed the pool is not defined, or nothing is claimed"
    )


def _coverage(d: Derivation) -> dict[str, Any]:
    forms = d.values.algebra
    return {
        "positions": int(d.wanted.size),
        "distinct windows": len(np.unique(d.wanted)),
        "middle window": described(forms.form(_middle(d.wanted, d.result.sizes)), len(d.sizes)),
    }


def _middle(entries: Array, sizes: tuple[Sizes, ...]) -> int:
    """The entry in the middle of the last size that was looked at."""
    return int(entries[tuple(sum(s) - (s[-1] + 1) // 2 for s in sizes)])


def _node(d: Derivation, number: int) -> dict[str, Any]:
    op = d.region.ops[number]
    tensor = d.tensors[op.output]
    maps = []
    for meanings in tensor.meanings:
        middle = d.values[_middle(meanings, tensor.sizes)].form
        distinct = {d.values[int(number)].form for number in np.unique(meanings)}
        maps.append({"means": described(middle, len(d.sizes)), "distinct": len(distinct)})
    return {
        "node": op.name,
        "operator": type(op).__name__.removesuffix("Op"),
        "output": op.output,
        "channels": len(tensor.channels),
        "stride": list(tensor.strides),
        "maps": maps,
    }


def _border(d: Derivation, used: set[str]) -> tuple[dict[str, str], list[str]]:
    """The border rule as found, what licenses it, and what remains a hypothesis."""
    needs = [f"its input has spatial sizes {_sizes(d.sizes)}"] if d.assumed_size else []
    fact = d.fact
    leans = bool(used & {"floor", "grid", "winners", "order"}) or not fact.derived
    known = "not needed"
    if leans and fact.lower is not None:
        how = f"{fact.reason}, derived again" if fact.derived else f"{fact.reason}, assumed"
        known = f"every element >= {float(fact.lower):.9g}: {how}"
        if not fact.derived:
            needs.append(known)
    if "mask" in used:
        needs.append("every element >= -MAX / 2 of its type")
    if "grid" in used:
        needs.append(f"every element is a {d.region.dtype} number: gate K is no identity of all real numbers")
    if any(isinstance(op, ConcatOp) and op.axis > 1 for op in d.region.ops):
        rule = "edge: border elements are repeated, and belong to the same windows"
    elif _masks(d):
        rule = "mask: the padding is -MAX / 2"
    elif _guards(d):
        rule = "guard: taps on the padding are switched off by -MAX / 2"
    elif not any(_pads(op) for op in d.region.ops if isinstance(op, ConvOp)):
        rule = "none: no convolution is padded"
    elif any(op.bias is not None and op.bias.any() for op in d.region.ops if isinstance(op, ConvOp)):
        rule = "shift: the input less its lower bound is padded with zeros"
    else:
        rule = "zero: the padding is 0" + (", and only ReLUs read the result" if d.relu else "")
    return {"rule": rule, "input": known}, needs


def _masks(d: Derivation) -> bool:
    """Whether a convolution's bias is the -MAX / 2 of the mask."""
    biases = [op.bias for op in d.region.ops if isinstance(op, ConvOp) and op.bias is not None]
    return any(float(d.values.algebra.ground.far) in bias for bias in biases)


def _guards(d: Derivation) -> bool:
    """Whether a convolution's weight is the -MAX / 2 of a guard."""
    weights = [op.weight for op in d.region.ops if isinstance(op, ConvOp)]
    return any((weight == float(d.values.algebra.ground.far)).any() for weight in weights)


def _pads(op: ConvOp) -> bool:
    return any(isinstance(axis.pads, str) or any(axis.pads) for axis in op.axes)


def _floating(d: Derivation) -> dict[str, Any]:
    floats = d.values.floats
    ends = [d.values[int(n)] for meanings in d.result.meanings for n in np.unique(meanings)]
    told = {"told": d.claim.rounding, "note": "what is told was not derived again"}
    if d.pool.average:
        derived = "weights are 1 / n rounded once"
    elif "int" in d.region.dtype:
        return {"derived": "bit-exact: integers, which no sum takes out of range", **told}
    elif all(floats.is_exact(end) for end in ends):
        return {"derived": "bit-exact where nothing overflows", "assumes": _assumes(), **told}
    else:
        derived = "no exactness was derived"
    factor = max(end.error for end in ends) / floats.u
    size = "(M + C)" if floats.constants else "M"
    return {
        "derived": f"{derived}; |computed - meaning| <= {factor:.6g} u {size} where nothing over- or underflows",
        "where": f"u = {floats.u!r}, M = largest |x|" + (f", C = {floats.unit!r}" if floats.constants else ""),
        "assumes": _assumes(),
        **told,
    }


def _assumes() -> str:
    return "a sum of two terms is rounded correctly, a longer one in some order"
