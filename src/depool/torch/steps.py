"""The passes of a program as modules, each from the tensors computed so far to one more.

Where no gradients are recorded, a ReLU or a sum is written over what nothing else reads; and a convolution, the sum and
the ReLU behind it are one call where oneDNN has it (`torch/onednn.py`) and rounds it alike.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from depool.conversion import Conversion
from depool.layout import WideConv, widen
from depool.passes import passes, read_once, slots
from depool.program import Add, Array, Concat, Conv, Relu
from depool.torch import onednn
from depool.torch.framing import framed
from depool.torch.full_precision import convolution

LEAST = 64
"""Numbers of a result, below which it says too little of how they were rounded."""


class Step(nn.Module):
    """Reads some of the tensors at hand, and makes the one of its own slot.

    Its forward takes these tensors, and a number for their shapes where calls may be fused; 0 where they may not.
    """

    slot: int

    def __init__(self, slot: int) -> None:
        super().__init__()
        self.slot = slot

    def forget(self, seen: int) -> None:
        """Whatever is kept for shapes of this number."""


@dataclass(frozen=True)
class Behind:
    """What is done with a convolution's result before it is stored.

    Attributes:
        other: the slot of what is added; -1 for nothing.
        in_place: whether nobody reads that again.
        rectified: whether a ReLU comes last.
    """

    other: int = -1
    in_place: bool = False
    rectified: bool = False


class ConvStep(Step):
    """A convolution with fixed weights, and the sum and the ReLU behind it, where there are such: r(conv(x) + other).

    It is grouped by the number of channels that come, where they were not known.
    """

    __jit_ignored_attributes__: ClassVar[list[str]] = ["calls"]

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self, slot: int, source: int, node: Conv, wide: WideConv, behind: Behind, *, any_channels: bool, like: Tensor
    ) -> None:
        super().__init__(slot)
        self.source = source
        self.other = behind.other
        self.in_place = behind.in_place
        self.rectified = behind.rectified
        self.stride = list(node.window.strides)
        self.dilation = list(node.window.dilations)
        pads = node.window.explicit_pads(())
        if any(begin != end for begin, end in pads):
            raise AssertionError(f"PyTorch pads alike at both ends, not {pads}")
        self.padding = [begin for begin, _ in pads]
        self.groups = wide.group
        self.any_channels = any_channels
        self.constant = not wide.weight.any()
        self.register_buffer("weight", _tensor(wide.weight, like), persistent=False)
        self.register_buffer("bias", None if wide.bias is None else _tensor(wide.bias, like), persistent=False)
        self.calls: dict[int, onednn.Call | None] = {}

    def forward(self, values: list[Tensor], seen: int) -> Tensor:
        """Convolve, add, rectify."""
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            y = self._fused(values, seen) if seen else None
            if y is not None:
                return y
        x = values[self.source]
        y = self._convolved(x.detach() if self.constant else x)  # a gradient of 0 would be 0 * inf behind a mask
        if self.other >= 0:
            other = values[self.other]
            y = y.add_(other) if _writable(y) and _writable(other) else y + other
        if self.rectified:
            y = torch.relu_(y) if _writable(y) else torch.relu(y)
        return y

    def _convolved(self, x: Tensor) -> Tensor:
        weight, bias, groups = self._grouped(x)
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            return convolution(x, weight, bias, self.stride, self.padding, self.dilation, groups)
        zero = [0] * len(self.stride)
        return torch.convolution(x, weight, bias, self.stride, self.padding, self.dilation, False, zero, groups)

    def _grouped(self, x: Tensor) -> tuple[Tensor, Tensor | None, int]:
        weight, bias = self.weight, self.bias
        groups = self.groups
        if self.any_channels:
            groups = x.shape[1] // weight.shape[1]
            weight = weight.repeat([groups] + [1] * (weight.dim() - 1))
            if bias is not None:
                bias = bias.repeat(groups)
        return weight, bias, groups

    @torch.jit.unused
    def _fused(self, values: list[Tensor], seen: int) -> Tensor | None:
        """The result by one call, where there is one for inputs of these shapes."""
        if seen not in self.calls:
            self.calls[seen] = self._tried(values[self.source])
        call = self.calls[seen]
        return call(values) if call else None

    def forget(self, seen: int) -> None:
        """The call for shapes of this number."""
        self.calls.pop(seen, None)

    def _tried(self, like: Tensor) -> onednn.Call | None:
        """The call, if on random numbers it gives the very numbers of the operators that it replaces.

        oneDNN may add `other` first, and so round otherwise; then the bounds that hold for the program would not.
        """
        weight, bias, groups = self._grouped(like)
        where = (self.padding, self.stride, self.dilation, groups)
        kernel = onednn.arranged(weight, where, like)
        make = partial(onednn.prepared, kernel, bias, where, rectified=self.rectified, in_place=self.in_place)
        random = torch.Generator().manual_seed(0)
        x = torch.empty_like(like).normal_(generator=random)
        y = self._convolved(x)
        other = torch.empty_like(y).normal_(generator=random)
        if self.other >= 0:
            y = y + other
        if self.rectified:
            y = torch.relu(y)
        alike = torch.equal(make(0, 1 if self.other >= 0 else -1)([x, other]), y)
        return make(self.source, self.other) if alike and y.numel() >= LEAST else None

    def __getstate__(self) -> dict[str, object]:
        """Without the calls, whose kernels only this process can read."""
        return {**super().__getstate__(), "calls": {}}  # type: ignore[no-untyped-call]

    def extra_repr(self) -> str:
        """Geometry."""
        shape = "x".join(map(str, self.weight.shape))
        other = f" + {self.other}" if self.other >= 0 else ""
        relu = ", relu" if self.rectified else ""
        return f"{self.source}{other} -> {self.slot}, {shape}, stride={self.stride}, padding={self.padding}{relu}"


def _writable(x: Tensor) -> bool:
    """Whether nobody minds: hooks of autograd do, and graphs that are recorded are to hold functions alone.

    A forward hook that keeps what a step gave has to copy it.
    """
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        return not (x.requires_grad or recorded())
    return not x.requires_grad


def recorded() -> bool:
    """Whether a compiler, an export or a trace looks on."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


class ReluStep(Step):
    """r(x) = max(x, 0)."""

    def __init__(self, slot: int, source: int, *, in_place: bool) -> None:
        super().__init__(slot)
        self.source = source
        self.in_place = in_place

    def forward(self, values: list[Tensor], seen: int) -> Tensor:  # noqa: ARG002 - as all steps take it
        """Rectify."""
        x = values[self.source]
        return torch.relu_(x) if self.in_place and _writable(x) else torch.relu(x)

    def extra_repr(self) -> str:
        """Where from and where to."""
        return f"{self.source} -> {self.slot}"


class AddStep(Step):
    """The sum of two tensors; in place, it is the left one's."""

    def __init__(self, slot: int, left: int, right: int, *, in_place: bool) -> None:
        super().__init__(slot)
        self.left = left
        self.right = right
        self.in_place = in_place

    def forward(self, values: list[Tensor], seen: int) -> Tensor:  # noqa: ARG002 - as all steps take it
        """Add."""
        left, right = values[self.left], values[self.right]
        return left.add_(right) if self.in_place and _writable(left) and _writable(right) else left + right

    def extra_repr(self) -> str:
        """Where from and where to."""
        return f"{self.left}, {self.right} -> {self.slot}"


class ConcatStep(Step):
    """Tensors joined along an axis; 1 is that of the channels."""

    def __init__(self, slot: int, parts: list[int], axis: int) -> None:
        super().__init__(slot)
        self.parts = parts
        self.axis = axis

    def forward(self, values: list[Tensor], seen: int) -> Tensor:  # noqa: ARG002 - as all steps take it
        """Join."""
        return torch.cat([values[part] for part in self.parts], self.axis)

    def extra_repr(self) -> str:
        """Where from and where to."""
        return f"{self.parts} -> {self.slot}, axis={self.axis}"


def steps_of(conversion: Conversion, channels: int, like: Tensor) -> list[Step]:
    """A conversion's program, its kernels widened to C channels.

    Args:
        conversion: the program and its layout.
        channels: C; 1 where channels are folded into the batch; 0 where they are counted when they come.
        like: a tensor of the wanted type and device.
    """
    order = passes(conversion.program)
    program = framed(conversion.program, order)
    wide = widen(program, channels or 1, conversion.channels)
    places, once = slots(order), read_once(order)
    steps: list[Step] = []
    for one in order:
        slot = places[one.nodes[-1] + 1]
        read = [places[ref] for ref in one.reads]
        node, conv = program.nodes[one.nodes[0]], wide[one.nodes[0]]
        if isinstance(node, Conv) and conv is not None:
            rectified = isinstance(program.nodes[one.nodes[-1]], Relu)
            behind = Behind(read[1], one.reads[1] in once, rectified) if read[1:] else Behind(rectified=rectified)
            steps.append(ConvStep(slot, read[0], node, conv, behind, any_channels=not channels, like=like))
        elif isinstance(node, Concat):
            steps.append(ConcatStep(slot, read, 1 + node.axis))
        elif isinstance(node, Add):
            left, right = reversed(read) if one.reads[0] not in once else read
            steps.append(AddStep(slot, left, right, in_place=not once.isdisjoint(one.reads)))
        else:
            steps.append(ReluStep(slot, read[0], in_place=one.reads[0] in once))
    return steps


def _tensor(array: Array, like: Tensor) -> Tensor:
    """Rounded once, from float64 to the wanted type."""
    return torch.from_numpy(array).to(like)
