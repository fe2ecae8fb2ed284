"""A pool that is one with a convolution next to it: both together, in both models, against a derived bound.

Given   z = W y + b, y the pool of x    (the convolution behind)     T(v) = |W| v, without b
        z = pool of y, y = W x + b      (before; the pool is linear)

With B the pool's own bound, n and n' the products per sum of W and of the composed convolution, and gamma of Higham,

    behind   |z - z'| <= T(B) + gamma_{n+1} (T(|y|) + |b|) + gamma_{n'+3} (T(m) + |b|)
    before   |z - z'| <= B(S) + (gamma_{n+1} + gamma_{n'+3}) S,   S = pool of (|W| |x| + |b|)

T(B): the values that are left of the pool before its last map are right within B, and W passes an error on at most
as T does. m is what that map's products come to: |y| itself where the pool is one convolution, else
kappa (h (M + |L|) + B), kappa the sum of the map's |weights| and h M the largest intermediate value. gamma_{n'+3}: two
more than a sum's, as the composed weights are rounded, from float64. What underflows adds a subnormal each. The terms
are evaluated in the model's own type, as sums of positive numbers, and widened by what that may lose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from onnx import helper, numpy_helper

from depool.facts import InputFacts
from depool.geometry import PoolSpec, Size, Window
from depool.numerics import gamma, largest, safe, smallest, unit_roundoff
from depool.onnx.compose import Linear
from depool.onnx.fold import linear_of
from depool.onnx.graph import Scope
from depool.onnx.splice import window_attributes
from depool.program import Array
from depool.record import Record
from depool.verification.oracle import Runner
from depool.verification.regions import ELEMENTS, RegionError


@dataclass(frozen=True, eq=False)
class Joint:
    """A pool and its convolution.

    Attributes:
        record: of the two together: what they read and make, for drawing inputs and cutting regions out.
        user: the convolution as it was.
        terms: products per sum of the composed convolution.
        kappa: the sum of |weights| of the pool's last map.
        before: whether the convolution comes first.
        alone: whether the pool is one convolution.
    """

    record: Record
    user: Linear
    terms: int
    kappa: float
    before: bool
    alone: bool


def joint(record: Record, original: Scope, converted: Scope, last: Array | None, alone: bool) -> Joint:
    """What was folded, as the two models say.

    Args:
        record: the pool's.
        original: the scope it stands in.
        converted: the scope its replacement stands in.
        last: weights of the pool's last map as depool makes it anew, None where that is no convolution.
        alone: whether it is the pool's only node.

    Raises:
        RegionError: where the models do not bear out what the record says.
    """
    (name,) = record.folded
    node = original.producers.get(name)
    user = linear_of(node, original)
    if node is None or user is None or last is None:
        raise RegionError(f"its record says that it is one with {name!r}, which is no constant convolution")
    before = name == record.source
    if not before and node.input[0] != record.output:
        raise RegionError(f"its record says that it is one with {name!r}, which does not stand next to it")
    if before and not alone:
        raise RegionError(f"its record says that it is one with {name!r}, and the pool is not linear")
    end = record.output if before else name
    both = linear_of(converted.producers.get(end), converted)
    if both is None:
        raise RegionError(f"{end!r} is made by no constant convolution")
    kappa = float(np.abs(last).sum(axis=tuple(range(1, last.ndim))).max())
    most = _most(record, user, both, kappa)
    if before:
        whole = replace(
            record, source=node.input[0], channels=user.weight.shape[1] * user.group, facts=InputFacts(-most, most),
            sizes=_read(record.sizes, user.window), spec=_behind(user.window, record.spec),
        )  # fmt: skip
    else:
        facts = replace(record.facts, lower=max(record.facts.lower, -most), upper=min(record.facts.upper, most))
        whole = replace(record, output=end, facts=facts, spec=_behind(record.spec, user.window))
    return Joint(whole, user, both.terms, kappa, before, alone)


def _most(record: Record, user: Linear, both: Linear, kappa: float) -> float:
    """An |x| up to which neither convolution overflows."""
    dtype = np.dtype(record.dtype)
    reach = max(float(np.abs(each.weight).reshape(each.weight.shape[0], -1).sum(1).max()) for each in (user, both))
    bias = float(np.abs(user.bias).max()) if user.bias is not None else 0.0
    return (min(safe(record.rounding, dtype), largest(dtype) / 4) - bias) / ((1 + reach) * (1 + kappa))


def _behind(first: PoolSpec | Window, second: PoolSpec | Window) -> PoolSpec:
    """The window of both together, and how it moves."""
    reach = zip(_extent(first), _extent(second), first.strides, strict=True)
    strides = tuple(s * t for s, t in zip(first.strides, second.strides, strict=True))
    return PoolSpec(tuple(e + (f - 1) * s for e, f, s in reach), strides)


def _extent(window: PoolSpec | Window) -> tuple[int, ...]:
    return tuple((k - 1) * d + 1 for k, d in zip(window.kernel_shape, window.dilations, strict=True))


def _read(sizes: tuple[Size, ...], window: Window) -> tuple[Size, ...]:
    """Sizes from which a convolution makes these."""
    return tuple(
        None if n is None else max((n - 1) * s + e - sum(window.pads_along(axis)), 1)
        for axis, (n, s, e) in enumerate(zip(sizes, window.strides, window.extent, strict=True))
    )


def bounds(both: Joint, record: Record, pool: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The bound for each output element, from an input of the two together.

    Args:
        both: what was folded.
        record: of the pool alone.
        pool: the original pool, from its own input.
    """
    dtype = np.dtype(record.dtype)
    u = unit_roundoff(dtype)
    user = both.user
    spread = magnified(user, record.dtype)
    bias = np.abs(user.bias.astype(np.float64)) if user.bias is not None else np.zeros(user.weight.shape[0])
    bias = bias.reshape(-1, *(1,) * len(user.window.kernel_shape))
    slack = 1 + 4 * gamma(max(user.terms, both.terms) + 3, u)
    tiny = (user.terms + both.terms + 2) * smallest(dtype)
    own, other = gamma(user.terms + 1, u), gamma(both.terms + 3, u)

    def before(x: Array) -> Array:
        mass = pool((spread(np.abs(x)) + bias).astype(dtype)).astype(np.float64) * slack
        return (record.rounding_bound(mass, dtype) + (own + other) * mass) * slack + tiny

    def behind(x: Array) -> Array:
        size = pool(np.abs(x)).astype(np.float64)
        error = record.rounding_bound(size, dtype)
        rounding = record.rounding
        mass = size if both.alone else both.kappa * (rounding.heaviest * (size + rounding.magnitude) + error)
        made = spread(error) + own * (spread(size) + bias) + other * (spread(mass) + bias)
        return made * slack + tiny

    return before if both.before else behind


def magnified(linear: Linear, dtype: str) -> Callable[[Array], Array]:
    """V -> |W| v, without bias, computed in the model's own type."""
    weight = numpy_helper.from_array(np.abs(linear.weight), "w")
    rank = linear.weight.ndim - 2
    kind = ELEMENTS[dtype]
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=linear.group, **window_attributes(linear.window))
    ends = [helper.make_tensor_value_info(n, kind, [*f"{n}N", *(f"{n}{i}" for i in range(rank + 1))]) for n in "xy"]
    graph = helper.make_graph([node], "spread", ends[:1], ends[1:], [weight])
    run = Runner(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))

    def spread(values: Array) -> Array:
        top: Array = run({"x": values.astype(np.dtype(dtype))})[0].astype(np.float64)
        return top

    return spread
