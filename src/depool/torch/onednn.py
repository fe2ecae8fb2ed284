"""r(conv(x) + y) as one call, where PyTorch has one: on CPUs, for float32 images.

    r(w * x + y)   in one pass instead of three: a convolution, a sum, a ReLU

The operators are those that PyTorch's own compiler calls on CPUs. They have no public name, and neither autograd nor
transformations (vmap, jvp, fake tensors) know them: `takes` says where they can stand for the three.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from depool.torch.full_precision import shortened

Ints = Sequence[int]
Call = Callable[[list[Tensor]], Tensor]
"""From the tensors at hand to one more."""

try:
    from torch.utils._python_dispatch import is_in_torch_dispatch_mode as _overridden

    _wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    _alone = torch.ops.mkldnn._convolution_pointwise.default
    _with_sum = torch.ops.mkldnn._convolution_pointwise.binary
    _onto_sum = torch.ops.mkldnn._convolution_pointwise_.binary
    _reorder = torch.ops.mkldnn._reorder_convolution_weight.default
    AVAILABLE = bool(torch.backends.mkldnn.is_available()) and forward_ad._current_level < 0  # type: ignore[no-untyped-call]
except (AttributeError, ImportError, RuntimeError):
    AVAILABLE = False
"""Whether this PyTorch has them."""


def takes(x: Tensor) -> bool:
    """Whether they may convolve x: float32 images on a CPU, where nobody looks on and nothing is cut short."""
    return (
        AVAILABLE
        and type(x) is Tensor
        and x.dtype == torch.float32
        and x.is_cpu
        and x.dim() == 4
        and x.shape[1] > 1
        and not (x.requires_grad or _wrapped(x) or _overridden() or forward_ad._current_level >= 0)
        and (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last))
        and not (torch.is_autocast_enabled("cpu") or shortened("cpu"))
        and bool(torch.backends.mkldnn.enabled)
    )


def arranged(weight: Tensor, where: tuple[Ints, Ints, Ints, int], like: Tensor) -> Tensor:
    """A kernel for inputs of one shape: without zeros at its end that leave the result's size as it is, and reordered.

    Args:
        weight: [M, C / groups, *sizes].
        where: padding, stride, dilation, groups.
        like: an input.
    """
    for axis, (pad, stride, dilation) in enumerate(zip(*where[:3], strict=True), 2):
        room = (like.shape[axis] + 2 * pad - dilation * (weight.shape[axis] - 1) - 1) % stride
        while room + dilation < stride and _wider(weight, axis, dilation, pad) and not weight.select(axis, -1).any():
            weight = weight.narrow(axis, 0, weight.shape[axis] - 1)
            room += dilation
    kernel: Tensor = weight.contiguous()
    return kernel if like.is_contiguous() else _reorder(kernel, *where, list(like.shape))


def _wider(weight: Tensor, axis: int, dilation: int, pad: int) -> bool:
    """Whether one element less is still one, and more than a pad: else oneDNN has nothing fast."""
    return weight.shape[axis] > 1 and dilation * (weight.shape[axis] - 2) >= pad


def prepared(
    kernel: Tensor,
    bias: Tensor | None,
    where: tuple[Ints, Ints, Ints, int],
    source: int,
    other: int,
    *,
    rectified: bool,
    in_place: bool,
) -> Call:
    """r(kernel * x + bias + y), with all that does not change looked up once.

    Args:
        kernel: of the convolution, `arranged`.
        bias: of the convolution.
        where: padding, stride, dilation, groups.
        source: which tensor is x.
        other: which is y; -1 for none.
        rectified: whether a ReLU is asked for.
        in_place: whether y is written over.
    """
    if other < 0:
        one: tuple[Any, ...] = (kernel, bias, *where, "relu" if rectified else "none", [], "")
        return lambda values: _alone(values[source], *one)
    two: tuple[Any, ...] = (kernel, bias, *where, "add", 1.0, "relu" if rectified else None, [], "")
    if in_place:
        return lambda values: _onto_sum(values[other], values[source], *two)
    return lambda values: _with_sum(values[source], values[other], *two)
