"""The proof of one pool: its replacement, run on meanings, means the pool's own maximum at every position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np

from depool.onnx.graph import Scope
from depool.proof.algebra import Ground
from depool.proof.axes import Array, Sizes
from depool.proof.claims import Claim
from depool.proof.execution import execute
from depool.proof.facts import lower_bound, only_relus_read
from depool.proof.floating import Floats
from depool.proof.problem import ProofError
from depool.proof.region import ConvOp, Region, read_region
from depool.proof.rendering import described
from depool.proof.rewriting import algebra
from depool.proof.tensors import Tensor, pool_input
from depool.proof.values import Values
from depool.proof.windows import Pool, read_pool, wanted

MOST_POSITIONS = 60_000
"""Positions over all pairs of sizes that a dynamic pool is looked at on."""


@dataclass(frozen=True)
class Fact:
    """A lower bound of the pool's input, why, and whether this proof derived it itself."""

    lower: Fraction | None
    reason: str
    derived: bool


@dataclass(frozen=True, eq=False)
class Derivation:
    """A proved pool.

    Attributes:
        claim: where it was found.
        pool: the original's.
        region: what stands there now.
        sizes: of the input, per axis, as looked at; `dynamic` says for which axes they stand for all.
        dynamic: per axis.
        assumed_size: whether the size is the conversion's word, which shape inference could not confirm.
        fact: what was assumed or derived of the input.
        relu: whether equality holds after the ReLU that follows.
        tensors: the meaning of every tensor, by name.
        values: what the tensors' entries stand for.
        result: the same for the last tensor.
        wanted: what its entries must mean.
    """

    claim: Claim
    pool: Pool
    region: Region
    sizes: tuple[Sizes, ...]
    dynamic: tuple[bool, ...]
    assumed_size: bool
    fact: Fact
    relu: bool
    tensors: dict[str, Tensor]
    values: Values
    result: Tensor
    wanted: Array


def derive(claim: Claim, original: Scope, converted: Scope, dims: tuple[int | None, ...] | None) -> Derivation:
    """Prove one pool from the two graphs it stands in.

    Args:
        claim: where to look.
        original: the graph with the pool.
        converted: the graph with its replacement.
        dims: of the pool's input, by shape inference; None where unknown.

    Raises:
        ProofError: says what is not as it should be.
    """
    channels, spatial, assumed = _shape(claim, dims)
    pool = read_pool(original, claim.source, claim.output, len(spatial))
    region = read_region(converted, claim.source, claim.output, len(spatial))
    sizes = _sizes(pool, region, spatial)
    problem: ProofError | None = None
    for fact in _facts(claim, original):
        try:
            return _attempt(claim, pool, region, sizes, (channels, spatial, assumed), fact, original)
        except ProofError as error:
            problem = problem or error
    raise problem or ProofError("nothing is known of its input")


def _shape(claim: Claim, dims: tuple[int | None, ...] | None) -> tuple[int, tuple[int | None, ...], bool]:
    """Channels, spatial sizes, and whether either is only claimed."""
    if dims is None:
        return claim.channels, claim.sizes, True
    if len(dims) != len(claim.sizes) + 2:
        raise ProofError(f"its input has {len(dims)} dimensions, not {len(claim.sizes) + 2}")
    told = (claim.channels, *claim.sizes)
    for mine, theirs in zip(dims[1:], told, strict=True):
        if mine is not None and theirs is not None and mine != theirs:
            raise ProofError(f"its input is {list(dims)}, but it was converted for {list(told)}")
    assumed = any(mine is None and theirs is not None for mine, theirs in zip(dims[1:], told, strict=True))
    merged = [mine if mine is not None else theirs for mine, theirs in zip(dims[1:], told, strict=True)]
    return merged[0] or claim.channels, tuple(merged[1:]), assumed


def _sizes(pool: Pool, region: Region, spatial: tuple[int | None, ...]) -> tuple[Sizes, ...]:
    """The sizes that the proof looks at: the static one, or all that can differ in kind."""
    reach = _reach(region, len(spatial))
    sizes: list[Sizes] = []
    for axis, size in enumerate(spatial):
        if size is not None:
            if not pool.valid(axis, size):
                raise ProofError(f"on an axis of {size} the pool has no window, or one that holds padding alone")
            sizes.append((size,))
            continue
        if pool.axes is None:
            raise ProofError("a global pool over a dynamic size has no fixed window")
        stride = pool.axes[axis].stride
        largest = 2 * max(reach[axis], pool.axes[axis].extent + sum(pool.extra[axis])) + 2 * stride
        sizes.append(tuple(n for n in range(1, largest + 1) if pool.valid(axis, n)))
    while np.prod([float(sum(s)) for s in sizes]) > MOST_POSITIONS and any(len(s) > 1 for s in sizes):
        sizes = [s[len(s) // 2 :] if len(s) > 1 else s for s in sizes]
    return tuple(sizes)


def _reach(region: Region, rank: int) -> tuple[int, ...]:
    """An upper bound on how many input elements lie between the first and last that an output depends on."""
    reach, stride = [1] * rank, [1] * rank
    for op in region.ops:
        if isinstance(op, ConvOp) and len(op.axes) == rank:
            for axis, sliding in enumerate(op.axes):
                reach[axis] += (sliding.extent - 1) * stride[axis]
                stride[axis] = max(stride[axis], sliding.stride)
    return tuple(reach)


def _facts(claim: Claim, original: Scope) -> Iterator[Fact]:
    """What may be known of the input: derived first, then what the conversion relied on as a hypothesis."""
    bound = lower_bound(original, claim.source)
    derived = Fact(bound[0], bound[1], True) if bound is not None else Fact(None, "", True)
    told = claim.lower is not None and (bound is None or Fraction(claim.lower) > bound[0])
    if bound is not None or claim.how["border"] != "shift":
        yield derived
    if told and claim.lower is not None and (claim.declared or claim.how["border"] == "shift"):
        yield Fact(Fraction(claim.lower), claim.reason, False)


def _attempt(
    claim: Claim,
    pool: Pool,
    region: Region,
    sizes: tuple[Sizes, ...],
    shape: tuple[int, tuple[int | None, ...], bool],
    fact: Fact,
    original: Scope,
) -> Derivation:
    channels, spatial, assumed = shape
    dtype = np.dtype(getattr(ml_dtypes, region.dtype, region.dtype))
    values = _values(dtype, fact)
    forms = values.algebra
    tensors = execute(values, region.ops, claim.source, pool_input(values, channels, sizes))
    result = tensors[claim.output]
    outs, must = wanted(forms, pool, sizes, result.strides, dtype)
    if outs != result.sizes:
        raise ProofError(f"its replacement's result has sizes {_plain(result.sizes)}, the pool's has {_plain(outs)}")
    if result.items > 1 or not np.array_equal(result.channels, np.arange(channels)):
        raise ProofError("its replacement's channels are not the pool's, in order")
    relu = False
    problem = _difference(values, result, must, relu=False)
    if problem and only_relus_read(original, claim.output):
        problem, relu = _difference(values, result, must, relu=True), True
    if problem:
        raise ProofError(problem)
    dynamic = tuple(size is None for size in spatial)
    return Derivation(claim, pool, region, sizes, dynamic, assumed, fact, relu, tensors, values, result, must)


def _values(dtype: Any, fact: Fact) -> Values:
    """An empty stock of values of a type; integers are counted from the lowest, and no sum of theirs rounds."""
    if "int" in dtype.name:
        forms = algebra(Ground(Fraction(0), Fraction(-(2**62)), Fraction(2**62)))
        return Values(forms, Floats(forms, 0.0, 1.0))
    finfo: Any = ml_dtypes.finfo
    info = finfo(dtype)
    far = -Fraction(float(info.max)) / 2
    lower = None if fact.lower is None else _raised(fact.lower, dtype)
    forms = algebra(Ground(lower, far, 2 / Fraction(float(info.eps))))
    return Values(forms, Floats(forms, float(info.eps) / 2, abs(float(lower)) if lower else float(-far)))


def _raised(bound: Fraction, dtype: Any) -> Fraction:
    """The least number of a type that is not below the bound; elements are numbers of the type."""
    near = np.asarray(float(bound)).astype(dtype)
    if Fraction(float(near)) < bound:
        near = np.nextafter(near, near.dtype.type(np.inf))
    return Fraction(float(near))


def _plain(sizes: tuple[Sizes, ...]) -> list[Any]:
    return [s[0] if len(s) == 1 else list(s) for s in sizes]


def _difference(values: Values, result: Tensor, must: Array, *, relu: bool) -> str:
    """Where the result does not mean what it must, in words; nothing where it does."""
    forms = values.algebra
    for number, meanings in enumerate(result.meanings):
        pairs = np.unique(np.stack([meanings.reshape(-1), must.reshape(-1)]), axis=1).T
        for got, want in pairs:
            mine, theirs = values[int(got)].form, forms.form(int(want))
            if mine == theirs or (relu and forms.relu(mine) == forms.relu(theirs)):
                continue
            at = tuple(int(i) for i in np.argwhere((meanings == got) & (must == want))[0])
            channel = int(np.flatnonzero(result.classes == number)[0])
            rank = len(result.sizes)
            return (
                f"channel {channel}, position {list(at)} of the result means {_short(described(mine, rank))}, "
                f"where the pool means {_short(described(theirs, rank))}"
            )
    return ""


def _short(text: str) -> str:
    return text if len(text) <= 160 else f"{text[:150]} ..."
