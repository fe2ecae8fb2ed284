"""What the user asks for, and what it comes to for a target: form, channel layout, gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy.typing as npt

from depool.errors import Refused, UsageError
from depool.facts import InputFacts
from depool.gates import CLOSING, EXACT_Y, PAIR, exact_k
from depool.lowering.padding import Border
from depool.lowering.stages import Gates
from depool.plan.tree import PAIRINGS
from depool.target import Target

Scheme = Literal["auto", "tree", "separable", "horner", "shallow"]
FormName = Literal["auto", "branched", "concat", "sequential"]
Channels = Literal["auto", "grouped", "depthwise", "dense", "folded"]


@dataclass(frozen=True)
class Choice:
    """What the user asks for; `auto` leaves it to depool. With `relu` it is the pool and a ReLU before or behind it."""

    scheme: Scheme = "auto"
    form: FormName = "auto"
    channels: Channels = "auto"
    target: str | Target = "generic"
    exact: bool = False
    pairing: str = PAIRINGS[0]
    relu: bool = False


def gates_of(choice: Choice, edge: Border, facts: InputFacts, dtype: npt.DTypeLike) -> Gates:
    """Pairs, and closing layers for the shallow scheme; exact ones where asked for or where a mask needs them."""
    if choice.exact or edge.rule == "mask":
        if choice.scheme == "shallow":
            raise Refused(
                "SHALLOW_NOT_EXACT",
                "the five-way gate of the shallow scheme rounds, and a bit-exact gate is needed here "
                "(--exact, or a signed border of dynamic size).",
                "Use --scheme tree or separable, or leave out --exact.",
            )
        return {2: EXACT_Y if facts.signed else exact_k(dtype)}
    return {2: PAIR, 7: CLOSING}


def known_words(choice: Choice) -> None:
    """Refuse words that mean nothing, and a pairing where no tree uses it."""
    for what, said, words in (
        ("scheme", choice.scheme, get_args(Scheme)),
        ("form", choice.form, get_args(FormName)),
        ("channel layout", choice.channels, get_args(Channels)),
        ("pairing", choice.pairing, PAIRINGS),
    ):
        if said not in words:
            raise UsageError(f"unknown {what} {said!r}; choose one of {', '.join(words)}")
    if choice.pairing != PAIRINGS[0] and choice.scheme not in {"auto", "tree"}:
        raise UsageError(f"pairing {choice.pairing} belongs to the tree; leave out --scheme {choice.scheme}")


def form_of(choice: Choice, target: Target) -> str:
    """The form asked for, or the target's best."""
    if choice.form == "auto":
        return target.form
    if choice.form != "sequential" and not target.branches:
        raise UsageError(f"target {target.name} takes no branches; use --form sequential, or leave it out")
    return choice.form


def layout(choice: Choice, target: Target) -> str:
    """How kernels are widened to all channels."""
    if choice.channels in {"grouped", "depthwise"} and not target.groups:
        raise UsageError(f"target {target.name} takes no groups; use --channels dense, or leave it out")
    if choice.channels == "folded" and not target.reshape:
        raise UsageError(f"target {target.name} takes no Reshape; use --channels {target.channels}, or leave it out")
    return target.channels if choice.channels == "auto" else choice.channels
