"""How one pool becomes convolutions: what the planner decided, and the program."""

from __future__ import annotations

from dataclasses import dataclass

from depool.geometry import PoolSpec, Window
from depool.lowering.padding import Border
from depool.plan.model import Plan
from depool.program import Program


@dataclass(frozen=True)
class Conversion:
    """How one pool becomes convolutions.

    Attributes:
        spec: the pool as the model states it.
        window: its geometry, resolved.
        border: the padding rule, and the fact that licenses it.
        scheme, form, channels, gate: what was chosen; scheme is ``average`` for an average pool, ``adaptive`` for
            a max pool whose windows differ in size.
        program: the result.
        plan: which maxima, where it is one window everywhere.
        aligned: whether the channels fill the target's blocks, for which convolutions by channels are fast.
    """

    spec: PoolSpec
    window: Window
    border: Border
    scheme: str
    form: str
    channels: str
    gate: str
    program: Program
    plan: Plan | None = None
    aligned: bool = True
