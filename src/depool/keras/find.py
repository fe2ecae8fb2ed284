"""Find the pools of a Keras model: geometry, types, facts, and whether they are ours to convert."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import keras

from depool.errors import Refusal, Refused
from depool.facts import InputFacts
from depool.geometry import Size
from depool.keras.backends import refuse_difference
from depool.keras.facts import joined
from depool.keras.graph import Use, uses, walk
from depool.keras.spec import Pool, pool
from depool.objects import Wishes

FLOATS = {"float32", "float64", "float16", "bfloat16"}


@dataclass(frozen=True, eq=False)
class PoolSite:
    """One pool in its place.

    Attributes:
        pool: the layer or operation.
        where: its path.
        sizes: spatial sizes of its input, None where they are dynamic or differ between its uses.
        channels: of its input.
        dtype: NumPy's name of the type it computes in.
        facts: what is known of its input.
        inside: whether it stands in a layer whose code may give it other sizes.
    """

    pool: Pool
    where: str
    sizes: tuple[Size, ...]
    channels: int
    dtype: str
    facts: InputFacts
    inside: bool


@dataclass(frozen=True)
class Left:
    """A pool that stays; `selected` says whether the user wanted it converted."""

    refusal: Refusal
    selected: bool


def find(model: keras.Model, wishes: Wishes) -> Iterator[PoolSite | Left]:
    """Every pool of the model, in order: a site to convert, or the reason why it is left."""
    known = uses(model)
    for where, op, inside in walk(model):
        found = pool(op)
        if found is None:
            continue
        selected = wishes.selects(found.kind, where)
        try:
            site = _site(found, where, known.get(id(op), []), inside)
        except Refused as refused:
            yield Left(replace(refused.refusal, where=where), selected)
            continue
        if selected:
            if wishes.nonnegative and site.facts.signed:
                facts = InputFacts(0.0, reason="declared by assume_nonnegative", declared=True)
                site = replace(site, facts=facts)
            yield site


def _site(found: Pool, where: str, calls: list[Use], inside: bool) -> PoolSite:
    if found.base:
        raise Refused(
            "CUSTOM_POOL",
            f"{type(found.op).__name__} is derived from {found.base}, and what it computes is its own.",
            f"Use {found.base} itself, or leave this pool out (skip).",
        )
    if "call" in vars(found.op):
        raise Refused(
            "CUSTOM_POOL",
            "its call was replaced by another function, and what that computes is its own.",
            "Make a class of your own for it, or leave this pool out (skip).",
        )
    if not calls:
        raise Refused(
            "UNBUILT",
            "no call of it is known, so the shape of its input is not known either.",
            "Build the model first: call it once, or build(input_shape).",
        )
    if found.averages_a_mask and any(call.masked for call in calls):
        raise Refused(
            "MASKED",
            "it averages only what a mask leaves, and a convolution has no mask.",
            "Leave this pool out (skip), or drop the mask before it.",
        )
    channels = {call.shape[1 if found.channels_first else -1] for call in calls}
    if len(channels) > 1:
        raise Refused(
            "CHANNELS_DIFFER",
            f"it is shared by inputs of {', '.join(map(str, sorted(map(str, channels))))} channels.",
            "Use a pool of its own for each.",
        )
    (count,) = channels
    if count is None:
        raise Refused(
            "DYNAMIC_CHANNELS",
            "the number of channels of its input is not known.",
            "Give the model's Input a shape with a number there.",
        )
    types = {_computed(found, call) for call in calls}
    if len(types) > 1 or not types <= FLOATS:
        raise Refused(
            "DTYPE",
            f"it computes in {' and '.join(sorted(types))}; one of {', '.join(sorted(FLOATS))} is taken.",
            "Cast its input before.",
        )
    spatial = [call.shape[2:] if found.channels_first else call.shape[1:-1] for call in calls]
    sizes = tuple(axis[0] if len(set(axis)) == 1 else None for axis in zip(*spatial, strict=True))
    (dtype,) = types
    refuse_difference(found, sizes, dtype)
    return PoolSite(found, where, sizes, count, dtype, joined([call.facts for call in calls]), inside)


def _computed(found: Pool, call: Use) -> str:
    """The type that a pool computes in: a layer casts what is floating-point to its policy's."""
    layer = isinstance(found.op, keras.Layer) and found.op.autocast
    return str(found.op.compute_dtype) if layer and "float" in call.dtype else call.dtype
