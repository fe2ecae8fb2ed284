"""What a consumer of the converted model accepts."""

from __future__ import annotations

from dataclasses import dataclass

from depool.errors import UsageError


@dataclass(frozen=True)
class Target:
    """A consumer's limits.

    Attributes:
        name: as given to ``--target``.
        about: one line for people.
        groups: accepts group > 1; else one dense block-diagonal kernel.
        dilation: accepts dilations > 1; else kernels are extended by zeros.
        asymmetric_pads: accepts different pads at the two ends, and auto_pad; else kernels are extended by zeros.
        branches: accepts Add and Concat; else one chain of Conv and Relu.
        bias: accepts a bias; else pools that need one are refused.
        largest_kernel: the longest side of a kernel it accepts; None where there is no limit.
    """

    name: str
    about: str
    groups: bool = True
    dilation: bool = True
    asymmetric_pads: bool = True
    branches: bool = True
    bias: bool = True
    largest_kernel: int | None = None


GENERIC = Target("generic", "fast in common runtimes: branches, groups, dilation")
PORTABLE = Target(
    "portable",
    "one chain of Conv and Relu: group 1, dilation 1, symmetric explicit pads, bias only at a signed border",
    groups=False,
    dilation=False,
    asymmetric_pads=False,
    branches=False,
)
PRESETS = {target.name: target for target in (GENERIC, PORTABLE)}


def preset(name: str) -> Target:
    """The target of this name.

    Raises:
        UsageError: where there is none.
    """
    if name not in PRESETS:
        raise UsageError(f"unknown target {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
