"""The pool that is explained, from the words of the command line; small enough to be looked at."""

from __future__ import annotations

from dataclasses import dataclass

from depool.errors import UsageError
from depool.geometry import PoolSpec

LARGEST_KERNEL, LARGEST_SIZE = 4, 12
"""Per axis: what still fits on a page."""


@dataclass(frozen=True)
class Asked:
    """A max pool over rows and columns, and the size of its input."""

    spec: PoolSpec
    size: tuple[int, int]


def asked(kernel: str, strides: str, pads: str, size: str | None) -> Asked:
    """Read the options.

    Args:
        kernel: such as ``3x3``, or ``3`` for both axes.
        strides: alike.
        pads: one number, or ONNX's four: ``top,left,bottom,right``.
        size: of the input; enough for three windows per axis if not given.

    Raises:
        UsageError: where they make no sense, or the page would be too large.
    """
    shape, steps = _pair("--kernel", kernel), _pair("--strides", strides)
    if max(shape) > LARGEST_KERNEL:
        raise UsageError(f"--kernel {kernel}: the page shows kernels up to {LARGEST_KERNEL}x{LARGEST_KERNEL}")
    top, left, bottom, right = _four(pads)
    spec = PoolSpec(shape, steps, ((top, bottom), (left, right)))
    if any(max(pair) >= k for pair, k in zip(spec.pads, shape, strict=True)):
        raise UsageError(f"--pads {pads}: pads must be smaller than the kernel, or a window holds padding alone")
    wanted = _pair("--size", size) if size is not None else _three_windows(spec)
    if max(wanted) > LARGEST_SIZE:
        raise UsageError(f"--size {wanted[0]}x{wanted[1]}: the page shows inputs up to {LARGEST_SIZE}x{LARGEST_SIZE}")
    if any(n + sum(p) < k for n, p, k in zip(wanted, spec.pads, shape, strict=True)):
        raise UsageError(f"--size {wanted[0]}x{wanted[1]}: no window fits; make it at least as large as the kernel")
    return Asked(spec, wanted)


def _three_windows(spec: PoolSpec) -> tuple[int, int]:
    rows, columns = (
        max(2 * s + k - sum(p), k) for s, k, p in zip(spec.strides, spec.kernel_shape, spec.pads, strict=True)
    )
    return rows, columns


def _pair(option: str, text: str) -> tuple[int, int]:
    numbers = _numbers(option, text, "x")
    if len(numbers) > 2 or min(numbers) < 1:
        raise UsageError(f"{option} {text}: give ROWSxCOLUMNS, such as 3x3, or one number for both")
    return numbers[0], numbers[-1]


def _four(text: str) -> tuple[int, int, int, int]:
    numbers = _numbers("--pads", text, ",")
    if len(numbers) not in {1, 4} or min(numbers) < 0:
        raise UsageError(f"--pads {text}: give one number, or four: TOP,LEFT,BOTTOM,RIGHT")
    top, left, bottom, right = numbers if len(numbers) == 4 else numbers * 4
    return top, left, bottom, right


def _numbers(option: str, text: str, between: str) -> list[int]:
    try:
        return [int(word) for word in text.split(between)]
    except ValueError:
        raise UsageError(f"{option} {text}: whole numbers are expected, such as {option} 2") from None
