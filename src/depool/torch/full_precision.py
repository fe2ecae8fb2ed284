"""Convolutions in the full precision of their type, whatever the process allows for all others.

A convolution with the taps 1 and -1 must round like fl(a - b). TF32 (the default of CUDA) and its relatives cut the
inputs to 10 bits first. So the setting is changed around our convolutions only, forward and backward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

Ints = Sequence[int]


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:
    """A convolution of any rank in the full precision of x's type.

    An exported graph holds a plain convolution: there the precision is for the runtime to set.
    """
    if x.dtype == torch.float32 and not torch.compiler.is_exporting():
        if torch.compiler.is_compiling():
            if x.is_cuda:
                broken: Tensor = _outside_of_the_compiler(x, weight, bias, stride, padding, dilation, groups)
                return broken
        elif shortened(x.device.type):
            exact: Tensor = _FullPrecision.apply(x, weight, bias, stride, padding, dilation, groups)  # type: ignore[no-untyped-call]
            return exact
    return _plain(x, weight, bias, stride, padding, dilation, groups)


def _plain(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:
    zero = [0] * len(stride)
    return torch.convolution(x, weight, bias, stride, padding, dilation, False, zero, groups)


def _settings(device: str) -> Any:
    """The precision of float32 convolutions on a kind of device, or None where there is no such setting."""
    backend: Any = torch.backends.mkldnn if device == "cpu" else torch.backends.cudnn if device == "cuda" else None
    return None if backend is None else backend.conv


def shortened(device: str) -> bool:
    """Whether float32 convolutions may be computed with fewer digits on a kind of device."""
    settings = _settings(device)
    return settings is not None and settings.fp32_precision not in {"ieee", "none"}


@contextmanager
def _ieee(device: str) -> Iterator[None]:
    settings = _settings(device)
    before = settings.fp32_precision
    settings.fp32_precision = "ieee"
    try:
        yield
    finally:
        settings.fp32_precision = "none"  # that of the whole process, where it was not set for convolutions
        if settings.fp32_precision != before:
            settings.fp32_precision = before


class _FullPrecision(torch.autograd.Function):
    """The convolution and its gradient for x; weights and biases are constants."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints, groups: int
    ) -> Tensor:
        with _ieee(x.device.type):
            return _plain(x, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, weight, _, ctx.stride, ctx.padding, ctx.dilation, ctx.groups = inputs
        ctx.save_for_backward(weight)
        ctx.shape = x.shape
        del output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        zero = [0] * len(ctx.stride)
        x = grad.new_empty(1).expand(ctx.shape)  # only its shape is read
        with _ieee(grad.device.type):
            wanted = torch.ops.aten.convolution_backward(
                grad,
                x,
                weight,
                None,
                ctx.stride,
                ctx.padding,
                ctx.dilation,
                False,
                zero,
                ctx.groups,
                [True, False, False],
            )
        return wanted[0], None, None, None, None, None, None


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _outside_of_the_compiler(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:
    """A compiled graph does not carry the setting, so it is broken here."""
    return convolution(x, weight, bias, stride, padding, dilation, groups)
