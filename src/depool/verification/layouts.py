"""Which input of one model is which of another, and where their channels stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from depool.errors import UsageError
from depool.program import Array
from depool.verification.subjects import Port, Subject

Layout = Literal["NHWC", "NCHW"]
Layouts = tuple[Layout, Layout]
"""Channels last or first, of the one model and of the other; for any number of spatial axes."""


def matched(one: Sequence[Port], other: Sequence[Port]) -> list[int]:
    """For each input of `other` its place among those of `one`: by name, else by order.

    Raises:
        UsageError: where their numbers differ.
    """
    names = [port.name for port in one]
    if sorted(names) == sorted(port.name for port in other):
        return [names.index(port.name) for port in other]
    if len(one) != len(other):
        lists = "; ".join(", ".join(port.name for port in ports) or "none" for ports in (one, other))
        raise UsageError(f"the two models take different inputs ({lists}), so they cannot be compared")
    return list(range(len(one)))


def settled(one: Subject, other: Subject, order: Sequence[int]) -> Layouts:
    """The layouts, where the shapes of the inputs leave one possibility.

    Raises:
        UsageError: where they leave none, or more than one.
    """
    frameworks = {one.framework, other.framework}
    unknown = any(port.shape is None for port in (*one.inputs, *other.inputs))
    if len(frameworks) == 1 or (unknown and "keras" not in frameworks):  # PyTorch and ONNX have channels first
        return "NCHW", "NCHW"
    pairs = [(one.inputs[place], port) for place, port in zip(order, other.inputs, strict=True)]
    candidates: tuple[Layouts, ...] = (("NCHW", "NCHW"), ("NHWC", "NCHW"), ("NCHW", "NHWC"))
    possible = [layouts for layouts in candidates if all(_fits(*pair, layouts) for pair in pairs)]
    if not possible:
        shapes = "; ".join(", ".join(f"{p.name} {_shown(p.shape)}" for p in s.inputs) for s in (one, other))
        raise UsageError(f"the inputs of the two models do not fit each other ({shapes})")
    ranks = [4 if port.shape is None else len(port.shape) for port in other.inputs]
    orders = {tuple(moved_shape(tuple(range(rank)), *layouts) for rank in ranks) for layouts in possible}
    if len(orders) > 1:
        raise UsageError(
            "the shapes do not tell where the channels of the two models stand; give layouts, such as "
            "layouts=('NHWC', 'NCHW') for channels last in the original and first in the other"
        )
    return possible[0]


def moved(array: Array, source: str, target: str) -> Array:
    """An array in another layout; what has no spatial axes stays."""
    if source == target or array.ndim < 3:
        return array
    return np.ascontiguousarray(np.moveaxis(array, -1, 1) if source == "NHWC" else np.moveaxis(array, 1, -1))


def moved_shape(shape: tuple[int | None, ...], source: str, target: str) -> tuple[int | None, ...]:
    """The same for a shape."""
    if source == target or len(shape) < 3:
        return shape
    return (shape[0], shape[-1], *shape[1:-1]) if source == "NHWC" else (shape[0], *shape[2:], shape[1])


def _fits(one: Port, other: Port, layouts: tuple[str, str]) -> bool:
    if one.shape is None or other.shape is None:
        return True
    wanted = moved_shape(one.shape, *layouts)
    return len(wanted) == len(other.shape) and all(
        a is None or b is None or a == b for a, b in zip(wanted, other.shape, strict=True)
    )


def _shown(shape: tuple[int | None, ...] | None) -> str:
    return "of unknown shape" if shape is None else str(["?" if n is None else n for n in shape])
