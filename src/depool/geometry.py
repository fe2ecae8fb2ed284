"""The geometry of a pool in ONNX's terms, and its resolution to explicit pads.

Per axis, with e = (kernel - 1) * dilation + 1 (the dilated kernel):

    floor mode   out = floor((in + begin + end - e) / stride) + 1
    ceil mode    out = ceil((in + begin + end - e) / stride) + 1, less one if the last window
                 would start beyond the input and its left padding
    SAME_*       out = ceil(in / stride), total = max((out - 1) * stride + e - in, 0),
                 SAME_UPPER: begin = total // 2, SAME_LOWER: end = total // 2
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from depool.errors import Refused, UsageError

Kind = Literal["max", "average"]
AutoPad = Literal["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]
Same = Literal["SAME_UPPER", "SAME_LOWER"]
Size = int | None
"""The length of a spatial axis; None where it is only known at run time."""
Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class PoolSpec:
    """A pool as the model states it, for 1, 2 or 3 spatial axes.

    Attributes:
        kernel_shape: elements of the window per axis.
        strides: per axis; 1 everywhere if not given.
        dilations: the same.
        pads: (begin, end) per axis; for a max pool they stand for minus infinity. 0 if not given.
        ceil_mode: count a last window that overruns the end padding.
        auto_pad: ONNX's, where pads are not explicit.
        kind: ``max`` or ``average``.
        count_include_pad: whether an average counts the padding as zeros.
        divisor: what an average divides its sums by, whatever they count; the number of elements if not given.

    Raises:
        UsageError: where the numbers do not describe a pool.
    """

    kernel_shape: tuple[int, ...]
    strides: tuple[int, ...] = ()
    pads: Pads = ()
    dilations: tuple[int, ...] = ()
    ceil_mode: bool = False
    auto_pad: AutoPad = "NOTSET"
    kind: Kind = "max"
    count_include_pad: bool = False
    divisor: int | None = None

    def __post_init__(self) -> None:
        rank = len(self.kernel_shape)
        for name, default in (("strides", 1), ("dilations", 1), ("pads", (0, 0))):
            if not getattr(self, name):
                object.__setattr__(self, name, (default,) * rank)
            if len(getattr(self, name)) != rank:
                raise UsageError(f"{name} must have {rank} entries, like kernel_shape, not {len(getattr(self, name))}")
        if not 1 <= rank <= 3:
            raise UsageError(f"kernel_shape must have 1, 2 or 3 axes, not {rank}")
        if min((*self.kernel_shape, *self.strides, *self.dilations)) < 1:
            raise UsageError("kernel_shape, strides and dilations must be at least 1")
        if min(p for pair in self.pads for p in pair) < 0:
            raise UsageError("pads must not be negative")
        if self.divisor is not None and self.divisor < 1:
            raise UsageError("divisor must be at least 1")
        if self.kind not in {"max", "average"}:
            raise UsageError(f"kind must be max or average, not {self.kind!r}")
        if self.auto_pad not in {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"}:
            raise UsageError(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, not {self.auto_pad!r}")

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.kernel_shape)

    def resolve(self, sizes: tuple[Size, ...]) -> Window:
        """The same pool with explicit pads in floor mode, for inputs of these spatial sizes.

        A dynamic size keeps SAME_* symbolic only where its pads depend on the size.

        Raises:
            UsageError: for the wrong number of sizes.
            Refused: SAME_DILATED, DYNAMIC_CEIL, EMPTY_WINDOW.
        """
        if len(sizes) != self.rank:
            raise UsageError(f"{self.rank} spatial sizes are needed, not {len(sizes)}")
        if self.auto_pad in {"SAME_UPPER", "SAME_LOWER"} and max(self.dilations) > 1:
            raise Refused(
                "SAME_DILATED",
                "the ONNX standard and ONNX Runtime disagree on the pads of auto_pad=SAME_* with dilations, "
                "so what the model computes depends on the runtime.",
                "Write the pads out, with auto_pad=NOTSET.",
            )
        axes = [_resolve_axis(self, axis, size) for axis, size in enumerate(sizes)]
        if any(axis is None for axis in axes):
            pads: Pads | Same = "SAME_UPPER" if self.auto_pad == "SAME_UPPER" else "SAME_LOWER"
        else:
            pads = tuple(axis for axis in axes if axis is not None)
        window = Window(self.kernel_shape, self.strides, self.dilations, pads)
        window.refuse_empty(sizes)
        return window

    def counts_alike(self, window: Window) -> bool:
        """Whether all windows of an average divide by the same number; `window` is the resolved one."""
        declared = self.auto_pad in {"SAME_UPPER", "SAME_LOWER"} or window.pads == self.pads
        return self.divisor is not None or not window.padded or (self.count_include_pad and declared)


@dataclass(frozen=True)
class Window:
    """A pool's or convolution's geometry in floor mode: explicit pads, or SAME_* kept symbolic."""

    kernel_shape: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads | Same

    @property
    def extent(self) -> tuple[int, ...]:
        """The dilated kernel's length per axis."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel_shape, self.dilations, strict=True))

    @property
    def padded(self) -> bool:
        """Whether any window can reach beyond the input."""
        return isinstance(self.pads, str) or any(map(any, self.pads))

    def pads_along(self, axis: int) -> tuple[int, int]:
        """(begin, end) of one axis.

        Raises:
            AssertionError: where pads are symbolic, and no one should ask.
        """
        if isinstance(self.pads, str):
            raise AssertionError("symbolic pads are no numbers")  # noqa: TRY004 - a mistake of the caller's
        return self.pads[axis]

    def unpadded(self) -> Window:
        """The same window on an input that already carries its padding."""
        return replace(self, pads=((0, 0),) * len(self.kernel_shape))

    def explicit_pads(self, sizes: tuple[Size, ...]) -> Pads:
        """(begin, end) per axis for inputs of these sizes (all known where pads are symbolic)."""
        if not isinstance(self.pads, str):
            return self.pads
        return tuple(
            same_pads(n, e, s, self.pads)
            for n, e, s in zip((n or 0 for n in sizes), self.extent, self.strides, strict=True)
        )

    def out_sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The output's spatial sizes."""
        return tuple(
            (n + sum(p) - e) // s + 1
            for n, p, e, s in zip(sizes, self.explicit_pads(sizes), self.extent, self.strides, strict=True)
        )

    def refuse_empty(self, sizes: tuple[Size, ...]) -> None:
        """Raise Refused(EMPTY_WINDOW) if a window would hold padding alone, or none would fit."""
        if isinstance(self.pads, str):
            return
        for axis, size in enumerate(sizes):
            (begin, end), k, d = self.pads[axis], self.kernel_shape[axis], self.dilations[axis]
            if size is None:
                empty = max(begin, end) >= self.extent[axis]
            else:
                starts = range(-begin, size + end - self.extent[axis] + 1, self.strides[axis])
                empty = not starts or any(
                    all(not 0 <= start + j * d < size for j in range(k))
                    for start in (*starts[: k * d], *starts[-k * d :])
                )
            if empty:
                raise Refused(
                    "EMPTY_WINDOW",
                    f"on axis {axis} a window holds padding alone (input {size}, kernel {k}, pads {begin},{end}).",
                    "Make pads smaller than the kernel, and the kernel no larger than the padded input.",
                )


def same_pads(size: int, extent: int, stride: int, auto_pad: str) -> tuple[int, int]:
    """(begin, end) of SAME_UPPER or SAME_LOWER on one axis."""
    out = -(-size // stride)
    total = max((out - 1) * stride + extent - size, 0)
    small = total // 2
    return (small, total - small) if auto_pad == "SAME_UPPER" else (total - small, small)


def _resolve_axis(spec: PoolSpec, axis: int, size: Size) -> tuple[int, int] | None:
    """Explicit (begin, end), or None where SAME_* must stay symbolic."""
    stride, dilation = spec.strides[axis], spec.dilations[axis]
    extent = (spec.kernel_shape[axis] - 1) * dilation + 1
    if spec.auto_pad in {"SAME_UPPER", "SAME_LOWER"}:
        return _resolve_same(size, extent, stride, spec.auto_pad)
    begin, end = spec.pads[axis] if spec.auto_pad == "NOTSET" else (0, 0)
    if not spec.ceil_mode or stride == 1:
        return begin, end
    if size is None:
        if end == 0 and extent >= stride:  # an end padding of stride - 1 is exactly ceil, and no window is dropped
            return begin, stride - 1
        raise Refused(
            "DYNAMIC_CEIL",
            f"ceil_mode with end padding {end}, dilated kernel {extent} and stride {stride} drops or adds a window "
            f"depending on the size of axis {axis}, which is dynamic.",
            "Fix the size with --shape NAME:1,3,224,224.",
        )
    out = -(-(size + begin + end - extent) // stride) + 1
    if (out - 1) * stride >= size + begin:
        out -= 1
    return begin, max((out - 1) * stride + extent - size - begin, 0)


def _resolve_same(size: Size, extent: int, stride: int, auto_pad: str) -> tuple[int, int] | None:
    """SAME_* on one axis; for a dynamic size only where `begin` is the same for every size.

    With end = extent - 1 - begin, floor((in + extent - 1 - extent) / stride) + 1 = ceil(in / stride).
    """
    if size is not None:
        return same_pads(size, extent, stride, auto_pad)
    period = extent + stride  # long enough for total to run through one whole period away from 0
    begins = {same_pads(n, extent, stride, auto_pad)[0] for n in range(1, 2 * period + stride)}
    if len(begins) == 1 and (begin := begins.pop()) < extent:
        return begin, extent - 1 - begin
    return None
