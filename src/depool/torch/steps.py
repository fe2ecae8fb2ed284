"""The nodes of a program as modules, each from the tensors computed so far to one more.

Where no gradients are recorded, a ReLU or a sum is written over the result of a convolution or of a sum that nothing
else reads.
"""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from depool.conversion import Conversion
from depool.layout import WideConv, widen
from depool.program import Add, Array, Concat, Conv, Node, Program, Ref, sources
from depool.torch.framing import framed
from depool.torch.full_precision import convolution


class Step(nn.Module):
    """Reads some of the tensors at hand, and makes the one of its own slot."""

    slot: int

    def __init__(self, slot: int) -> None:
        super().__init__()
        self.slot = slot


class ConvStep(Step):
    """A convolution with fixed weights; grouped by the number of channels that come, where they were not known."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, slot: int, source: int, node: Conv, wide: WideConv, *, any_channels: bool, like: Tensor) -> None:
        super().__init__(slot)
        self.source = source
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

    def forward(self, values: list[Tensor]) -> Tensor:
        """Convolve."""
        x = values[self.source]
        if self.constant:
            x = x.detach()  # its gradient is 0, but would be computed as 0 * inf behind the large weight of a mask
        weight, bias = self.weight, self.bias
        groups = self.groups
        if self.any_channels:
            groups = x.shape[1] // weight.shape[1]
            weight = weight.repeat([groups] + [1] * (weight.dim() - 1))
            if bias is not None:
                bias = bias.repeat(groups)
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            return convolution(x, weight, bias, self.stride, self.padding, self.dilation, groups)
        zero = [0] * len(self.stride)
        return torch.convolution(x, weight, bias, self.stride, self.padding, self.dilation, False, zero, groups)

    def extra_repr(self) -> str:
        """Geometry."""
        shape = "x".join(map(str, self.weight.shape))
        return f"{self.source} -> {self.slot}, {shape}, stride={self.stride}, padding={self.padding}"


def _writable(x: Tensor) -> bool:
    """Whether nobody minds: hooks of autograd do, and graphs that are recorded are to hold functions alone."""
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

    def forward(self, values: list[Tensor]) -> Tensor:
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

    def forward(self, values: list[Tensor]) -> Tensor:
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

    def forward(self, values: list[Tensor]) -> Tensor:
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
    program = framed(conversion.program)
    wide = widen(program, channels or 1, conversion.channels)
    slots, free = _slots(program), _free(program)
    steps: list[Step] = []
    for i, (node, conv) in enumerate(zip(program.nodes, wide, strict=True)):
        slot = slots[i + 1]
        read = [slots[ref] for ref in sources(node)]
        if isinstance(node, Conv) and conv is not None:
            steps.append(ConvStep(slot, read[0], node, conv, any_channels=not channels, like=like))
        else:
            steps.append(_plain_step(node, slot, read, [ref in free for ref in sources(node)]))
    return steps


def _plain_step(node: Node, slot: int, read: Sequence[int], free: Sequence[bool]) -> Step:
    if isinstance(node, Concat):
        return ConcatStep(slot, list(read), 1 + node.axis)
    if isinstance(node, Add):
        left, right = reversed(read) if free[1] and not free[0] else read
        return AddStep(slot, left, right, in_place=any(free))
    return ReluStep(slot, read[0], in_place=free[0])


def _free(program: Program) -> set[Ref]:
    """What may be written over by its reader: results of convolutions and sums that are read once."""
    readers = Counter(ref for node in program.nodes for ref in sources(node))
    return {i for i, node in enumerate(program.nodes, 1) if isinstance(node, Conv | Add) and readers[i] == 1}


def _slots(program: Program) -> list[int]:
    """A place for every tensor, the input first; a place is used again once nobody reads its tensor any more."""
    last = list(range(len(program.nodes) + 1))
    for i, node in enumerate(program.nodes):
        for ref in sources(node):
            last[ref] = i + 1
    places: list[int] = []
    for ref in range(len(last)):
        busy = {place for other, place in enumerate(places) if last[other] >= ref}
        places.append(next(place for place in range(len(busy) + 1) if place not in busy))
    return places


def _tensor(array: Array, like: Tensor) -> Tensor:
    """Rounded once, from float64 to the wanted type."""
    return torch.from_numpy(array).to(like)
