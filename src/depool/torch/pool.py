"""A program as an nn.Module: the layer that takes a pool's place.

Its weights are buffers that no state_dict holds, so that checkpoints of the original model still fit. It runs in
the type that it was planned for (gate K and the mask hold constants of that type), outside of autocast, and gives
the result in the type of its input.
"""

import itertools
import warnings
from collections.abc import Callable
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from depool.conversion import Conversion
from depool.program import Concat, Conv
from depool.torch import onednn
from depool.torch.planned import Planned
from depool.torch.steps import recorded, steps_of

DTYPES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}

SHAPES = 8
"""For inputs of so many shapes calls are fused; for others they are made one by one."""
NUMBERS = itertools.count(1)
"""Of shapes, by which steps keep their calls: none comes twice, whichever threads ask."""

Key = tuple[torch.Size, tuple[int, ...], int]
"""Shape and strides of an input, and how many threads compute: oneDNN's implementations may hang on these."""


class ExactnessWarning(UserWarning):
    """The promise holds, but for other numbers than the user may think."""


class ConvPool(nn.Module):
    """A pool as convolutions, ReLUs, sums and concatenations.

    Args:
        planned: what to compute.
        dtype: the type of its weights.
        device: where its weights are.

    Shapes: [N, C, *spatial] or [C, *spatial] to the same with the pooled sizes; memory formats are kept.

    Exactness: as `Program.error_bound` says for the type of the weights. Finite input is required.

    Gradients: where the maximum of a window is unique, those of the native pool. At a tie one of the tied elements
    gets all of it; the native pool may choose another. Where a value is carried through a ReLU (form ``sequential``,
    and inputs known to be >= 0), a maximum of exactly 0 may get no gradient, since relu'(0) = 0.

    Raises:
        Refused: on construction, where the pool cannot be converted.
    """

    __jit_ignored_attributes__: ClassVar[list[str]] = ["seen"]

    anchor: Tensor
    """Empty; of the type and on the device of the weights."""

    def __init__(self, planned: Planned, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.planned = planned
        self.rank = planned.geometry.rank
        self.sizes = [-1 if size is None else size for size in planned.sizes]
        self.channels = planned.channels
        self._build(dtype, device)

    def _build(self, dtype: torch.dtype, device: torch.device) -> None:
        if dtype not in DTYPES:
            raise TypeError(f"a pool as convolutions needs floating-point numbers of 16 bits or more, not {dtype}")
        conversion = self.planned.conversion(DTYPES[dtype])
        # channels that are not known cannot be put in order, nor a dense kernel be written for them
        joins = any(isinstance(node, Concat) and node.axis == 0 for node in conversion.program.nodes)
        cannot = not self.planned.channels and (joins or conversion.channels == "dense")
        self.folded = conversion.channels == "folded" or cannot
        reads = [node for node in conversion.program.nodes if isinstance(node, Conv) and node.source == 0]
        self.strided = any(max(node.window.strides) > 1 for node in reads)
        self.register_buffer("anchor", torch.zeros(0, dtype=dtype, device=device), persistent=False)
        steps = steps_of(conversion, 1 if self.folded else self.planned.channels, self.anchor)
        self.steps = nn.ModuleList(steps)
        self.seen: dict[Key, int] = {}
        self.slots: int = 1 + max(step.slot for step in steps)
        self.result: int = steps[-1].slot

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow `to`, `half`, `to_empty` and their like; what makes new tensors has the constants built again.

        Another type needs other constants, and so another plan; and those that were on meta, or went through
        `to_empty`, are in no state_dict.
        """
        before = self.anchor
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.anchor is not before:
            self._build(self.anchor.dtype, self.anchor.device)
        return self

    def __getstate__(self) -> dict[str, object]:
        """Without the numbers of shapes, which are this process's."""
        return {**super().__getstate__(), "seen": {}}  # type: ignore[no-untyped-call]

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as the pools of torch.nn call it
        """Pool."""
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            return self._eager(input)
        if torch.promote_types(input.dtype, self.anchor.dtype) != self.anchor.dtype:
            raise TypeError("this pool was scripted for a type with fewer digits than its input has; call .to() before")
        return self._run(input, 0)

    @torch.jit.unused
    def _eager(self, x: Tensor) -> Tensor:
        if self.seen and not recorded() and onednn.takes(x):
            seen = self.seen.get(_key(x), 0)
            if seen:
                return self._stepped(x, seen)
        if self.anchor.is_meta and not x.is_meta:  # the others were assigned by load_state_dict(assign=True)
            self._build(self.anchor.dtype, x.device)
        if x.dtype != self.anchor.dtype:
            self._adopt(x.dtype)
        kind = x.device.type
        if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
            return self._alone(x)
        if not torch.compiler.is_compiling():
            warnings.warn(
                f"autocast is on: the layers before this pool round to {torch.get_autocast_dtype(kind)}; the pool "
                f"itself runs in {self.anchor.dtype} and keeps its promise for the input that it gets",
                ExactnessWarning,
                stacklevel=2,
            )
        with torch.autocast(kind, enabled=False):
            return self._run(x, 0)

    @torch.jit.unused
    def _alone(self, x: Tensor) -> Tensor:
        """Pool where nobody looks on: by fused calls, and in the order of memory that is fast, where there are such."""
        reordered = self._pays_reordering(x)
        if reordered:
            x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # vmap takes no memory_format
        seen = 0
        if self.rank == 2 and not (self.folded or recorded()) and x.dtype == self.anchor.dtype and onednn.takes(x):
            seen = self.seen.get(_key(x), next(NUMBERS) if len(self.seen) < SHAPES else 0)
        kept = 0
        try:
            y = self._run(x, seen)
            if seen:  # none of the checks of _run fails from now on
                kept = self.seen.setdefault(_key(x), seen)
        finally:
            if seen != kept:  # it failed, or another thread was first
                for step in self.steps:
                    step.forget(seen)  # type: ignore[operator]
        return y.contiguous() if reordered else y

    @torch.jit.unused
    def _pays_reordering(self, x: Tensor) -> bool:
        """Whether to reorder NCHW images once: on CPUs each convolution does so with its input and its output.

        Where strides skip most of the input, what they do costs less than one copy by PyTorch.
        """
        images = x.is_cpu and x.dtype == torch.float32 and x.dim() == self.rank + 2 == 4 and x.is_contiguous()
        return images and not (self.folded or self.strided or recorded())

    def _adopt(self, dtype: torch.dtype) -> None:
        """Plan again for a type with more digits than the weights have, since the native pool takes any."""
        if dtype not in DTYPES:
            raise TypeError(f"a pool as convolutions takes floating-point numbers, not {dtype}")
        wide = torch.promote_types(dtype, self.anchor.dtype)
        if wide == self.anchor.dtype:
            return
        if torch.compiler.is_compiling():
            raise TypeError(
                f"this pool was converted for {self.anchor.dtype} and gets {dtype}; call the model's .to({dtype}) "
                "before it is compiled or exported"
            )
        self._build(wide, self.anchor.device)

    def _run(self, x: Tensor, seen: int) -> Tensor:
        dtype = x.dtype
        single = x.dim() == self.rank + 1
        if single:
            x = x.unsqueeze(0)
        if x.dim() != self.rank + 2:
            raise ValueError(
                "the input of a pool must be [N, C, ...] or [C, ...] with the pool's number of spatial axes"
            )
        for axis, size in enumerate(self.sizes):
            if size not in (-1, x.shape[2 + axis]):
                raise ValueError(
                    "this pool was converted for inputs of one size (its border or its windows depend on it), and now "
                    "gets another; convert the model again, with example inputs of that size or without any"
                )
        if self.channels not in (0, x.shape[1]):
            raise ValueError(
                "this pool was converted for inputs of another number of channels; convert the model again, with "
                "example inputs of these channels or without any"
            )
        if dtype != self.anchor.dtype:
            x = x.to(self.anchor.dtype)
        batch, channels = x.shape[0], x.shape[1]
        last = False
        if self.folded:
            last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
            x = x.reshape([batch * channels, 1] + list(x.shape[2:]))  # noqa: RUF005 - TorchScript cannot unpack
        y = _ordered(self._stepped(x, seen))
        if self.folded:
            y = y.reshape([batch, channels] + list(y.shape[2:]))  # noqa: RUF005
            if last:
                y = y.contiguous(memory_format=torch.channels_last)
        if dtype != y.dtype:
            y = y.to(dtype)
        return y.squeeze(0) if single else y

    def _stepped(self, x: Tensor, seen: int) -> Tensor:
        values = [x] * self.slots
        for step in self.steps:
            values[step.slot] = step(values, seen)  # type: ignore[index]
        return values[self.result]

    def extra_repr(self) -> str:
        """The pool that it was."""
        found = self.planned.geometry
        return f"{found.spec or found.outputs}, {self.anchor.dtype}"


def _key(x: Tensor) -> Key:
    return x.shape, x.stride(), torch.get_num_threads()


def _ordered(y: Tensor) -> Tensor:
    """In NCHW, where the input's strides, which sums take over, were neither that nor channels last."""
    return y if y.is_contiguous() or y.stride(1) == 1 else y.contiguous()


def conversion_of(pool: ConvPool) -> Conversion:
    """How a pool was converted, in the type that it has now."""
    return pool.planned.conversion(DTYPES[pool.anchor.dtype])
