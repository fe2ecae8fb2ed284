"""A pooling module or function call of PyTorch -> its geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as all of PyTorch's documentation has it
from torch import nn

from depool.errors import DepoolError, Refused
from depool.geometry import Kind, PoolSpec, Size

PLAIN: tuple[type[nn.Module], ...] = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
)  # fmt: skip
ADAPTIVE: tuple[type[nn.Module], ...] = (
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
)  # fmt: skip
NOT_OURS: tuple[type[nn.Module], ...] = (
    nn.LPPool1d, nn.LPPool2d, nn.LPPool3d, nn.MaxUnpool1d, nn.MaxUnpool2d, nn.MaxUnpool3d,
    nn.FractionalMaxPool2d, nn.FractionalMaxPool3d,
)  # fmt: skip
POOLS = PLAIN + ADAPTIVE
MODULES = {
    f"{adaptive}{kind}_pool{rank}d": getattr(nn, f"{adaptive.strip('_').title()}{kind.title()}Pool{rank}d")
    for adaptive in ("", "adaptive_")
    for kind in ("max", "avg")
    for rank in (1, 2, 3)
}
"""The module that does what a function of this name does; both take the same arguments in the same order."""

GEOMETRY = {
    "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices", "count_include_pad",
    "divisor_override", "output_size",
}  # fmt: skip
"""The public attributes of pooling modules."""


@dataclass(frozen=True)
class Geometry:
    """A pool of PyTorch.

    Attributes:
        kind: max or average.
        rank: spatial axes.
        spec: of a plain pool.
        outputs: of an adaptive pool; None where an axis keeps its size.
    """

    kind: Kind
    rank: int
    spec: PoolSpec | None = None
    outputs: tuple[Size, ...] = ()


def is_pool(module: nn.Module) -> bool:
    """Whether a module is a pool of PyTorch's, or a subclass of one."""
    return isinstance(module, POOLS + NOT_OURS)


def kind_of(module: nn.Module) -> Kind:
    """What a pooling module computes."""
    return "average" if "Avg" in _base(module).__name__ else "max"


def rank_of(module: nn.Module) -> int:
    """The number of spatial axes of a pooling module."""
    return int(_base(module).__name__[-2])


def geometry(module: nn.Module) -> Geometry:
    """The geometry of a pooling module.

    Raises:
        Refused: NOT_A_MAX_POOL, OVERRIDDEN, INDICES_USED, ATTRIBUTES.
    """
    base = _base(module)
    if base in NOT_OURS:
        raise Refused(
            "NOT_A_MAX_POOL", f"{base.__name__} computes no maximum or average of a window.", "Leave it as it is."
        )
    if type(module).forward is not base.forward or "forward" in vars(module):
        raise Refused(
            "OVERRIDDEN",
            f"{type(module).__name__} has a forward of its own, which may compute something else than {base.__name__}.",
            "Use the class of torch.nn itself, with its padding written out.",
        )
    if getattr(module, "return_indices", False):
        raise _indices("Leave this pool out (skip=...), or build it with return_indices=False.")
    rank = rank_of(module)
    kind = kind_of(module)
    if base in ADAPTIVE:
        return Geometry(kind, rank, outputs=_adaptive(_numbers(module.output_size, rank, none=True)))
    found: Any = module
    kernel = _numbers(found.kernel_size, rank)
    strides = _numbers(found.stride, rank) if found.stride not in (None, (), []) else kernel
    pads = _numbers(found.padding, rank)
    dilations = _numbers(getattr(found, "dilation", 1), rank)
    divisor = getattr(found, "divisor_override", None)
    _check(kernel, strides, pads, dilations, divisor)
    try:
        spec = PoolSpec(
            kernel,
            strides,
            tuple((pad, pad) for pad in pads),
            dilations,
            bool(found.ceil_mode),
            kind=kind,
            count_include_pad=bool(getattr(found, "count_include_pad", False)),
            divisor=divisor,
        )
    except DepoolError as error:
        raise _attributes(str(error)) from error
    return Geometry(kind, rank, spec)


def function_name(target: Any) -> str | None:
    """The name of a pooling function of PyTorch, such as ``max_pool2d``; None for any other object."""
    if isinstance(target, torch._ops.OpOverload | torch._ops.OpOverloadPacket):  # of which one has several of the other
        full = target._qualified_op_name if isinstance(target, torch._ops.OpOverloadPacket) else target._schema.name
        space, _, name = full.partition("::")
        return name if space == "aten" and name in FUNCTIONS else None
    name = getattr(target, "__name__", "")
    known = (getattr(place, name, None) for place in (F, torch, torch._C._nn))
    return name if name in FUNCTIONS and any(target is function for function in known) else None


def kind_of_name(name: str) -> Kind:
    """What a function of this name computes."""
    return "average" if "avg" in name else "max"


WITH_INDICES = tuple(f"{name}_with_indices" for name in MODULES if "max" in name)
CONVERTIBLE = (*MODULES, *WITH_INDICES)
"""Functions of maxima and averages."""
FUNCTIONS = (
    *CONVERTIBLE, "lp_pool1d", "lp_pool2d", "lp_pool3d", "fractional_max_pool2d", "fractional_max_pool3d",
    "max_unpool1d", "max_unpool2d", "max_unpool3d",
)  # fmt: skip
ARGUMENTS = {
    "adaptive": ("output_size", "return_indices"),
    "max": ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg": ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
}
"""The arguments of the functions behind the input, in their order; the modules take them in another one."""


def module_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> nn.Module:
    """The module that does what a function does with these arguments (the input left out).

    Raises:
        Refused: where there is none, or where the arguments are computed from the input.
    """
    if name not in CONVERTIBLE:
        raise Refused("NOT_A_MAX_POOL", f"{name} computes no maximum or average of a window.", "Leave it as it is.")
    given = dict(zip(ARGUMENTS[name.split("_", maxsplit=1)[0]], args, strict=False)) | kwargs
    if given.pop("return_indices", False) or name in WITH_INDICES:
        raise _indices("Call it with return_indices=False.")
    if not all(map(_plain, given.values())):
        raise Refused(
            "ATTRIBUTES",
            f"the arguments of {name} are computed while the model runs, so they can differ from input to input.",
            "Write the kernel down as numbers, or use adaptive pooling.",
        )
    try:
        made: nn.Module = MODULES[name](**given)
    except TypeError as error:
        raise _attributes(f"{name}: {error}") from error
    return made


def native(found: Geometry) -> nn.Module:
    """PyTorch's own module of a geometry."""
    name = f"{{}}{'max' if found.kind == 'max' else 'avg'}_pool{found.rank}d"
    if found.spec is None:
        adaptive: nn.Module = MODULES[name.format("adaptive_")](found.outputs)
        return adaptive
    spec = found.spec
    given: dict[str, Any] = {
        "kernel_size": spec.kernel_shape,
        "stride": spec.strides,
        "padding": tuple(begin for begin, _ in spec.pads),
        "ceil_mode": spec.ceil_mode,
    }
    if found.kind == "max":
        given["dilation"] = spec.dilations
    else:
        given["count_include_pad"] = spec.count_include_pad
        if spec.divisor is not None:
            given["divisor_override"] = spec.divisor
    plain: nn.Module = MODULES[name.format("")](**given)
    return plain


def _plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int)


def _base(module: nn.Module) -> type[nn.Module]:
    return next(base for base in POOLS + NOT_OURS if isinstance(module, base))


def _numbers(value: Any, rank: int, *, none: bool = False) -> tuple[Any, ...]:
    """One number for all axes, or one for each."""
    given = tuple(value) if isinstance(value, list | tuple) else (value,)
    numbers = given * rank if len(given) == 1 else given
    if len(numbers) != rank or not all(isinstance(n, int) or (none and n is None) for n in numbers):
        raise _attributes(f"{value!r} does not give {rank} whole numbers.")
    return numbers


def _adaptive(outputs: tuple[Size, ...]) -> tuple[Size, ...]:
    if any(n is not None and n < 1 for n in outputs):
        raise _attributes("its output size must be at least 1.")
    return outputs


def _check(
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    divisor: int | None,
) -> None:
    """What PyTorch's own pools refuse when they are called."""
    if min((*kernel, *strides, *dilations)) < 1 or min(pads) < 0:
        raise _attributes("kernel_size, stride and dilation must be positive, and padding not negative.")
    if any(2 * pad > (k - 1) * d + 1 for pad, k, d in zip(pads, kernel, dilations, strict=True)):
        raise _attributes(f"padding {list(pads)} is more than half of the kernel {list(kernel)}.")
    if divisor is not None and divisor < 1:
        raise _attributes(f"divisor_override {divisor} is no positive number.")


def _indices(fix: str) -> Refused:
    return Refused(
        "INDICES_USED",
        "it returns the positions of its maxima too (return_indices=True), which convolutions do not give.",
        fix,
    )


def _attributes(reason: str) -> Refused:
    return Refused("ATTRIBUTES", reason, "Check the pool with PyTorch itself: it should run on an input.")
