"""Plan the pooling modules of a model, and put convolutions in their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn

from depool.errors import NotConverted, Refusal, Refused, UsageError
from depool.facts import InputFacts
from depool.objects import Converted, Wishes
from depool.record import Record
from depool.target import named
from depool.torch.planned import plan
from depool.torch.pool import DTYPES, ConvPool, conversion_of
from depool.torch.spec import GEOMETRY, geometry, is_pool, kind_of
from depool.torch.watch import Seen

Made = TypeVar("Made", bound=nn.Module)


def replace_pools(
    model: nn.Module,
    seen: Mapping[nn.Module, Seen],
    facts: Mapping[nn.Module, InputFacts],
    already: Sequence[Refusal],
    wishes: Wishes,
) -> nn.Module:
    """Replace the pooling modules of a module that nobody else holds.

    Args:
        model: to be changed.
        seen: what its pools get, where it is known.
        facts: what is known of that.
        already: refusals of pools that are no modules.
        wishes: how, and which pools.

    Returns:
        The module, or what replaces it if it is a pool itself.

    Raises:
        NotConverted: a selected pool was refused.
    """
    # PyTorch's convolutions pad alike at both ends, whatever is to read the model later
    choice = replace(wishes.choice, target=replace(named(wishes.choice.target), asymmetric_pads=False, auto_pad=False))
    refusals = [refusal for refusal in already if refusal.code != "NOT_A_MAX_POOL"]
    default = next((p.dtype for p in model.parameters() if p.dtype in DTYPES), torch.get_default_dtype())
    device = next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    records: list[Record] = []
    left = [refusal for refusal in already if refusal.code == "NOT_A_MAX_POOL"]
    made: dict[nn.Module, ConvPool] = {}
    before: Any = getattr(model, "depool", None) or Converted((), (), (), ())
    for path, pool in list(model.named_modules()):
        if not is_pool(pool):
            continue
        try:
            found = geometry(pool)
        except Refused as refused:
            reason = replace(refused.refusal, where=path)
            ours = reason.code != "NOT_A_MAX_POOL" and wishes.selects(kind_of(pool), path)
            (refusals if ours else left).append(reason)
            continue
        if not wishes.selects(found.kind, path):
            continue
        known = facts.get(pool, InputFacts())
        if wishes.nonnegative and known.lower < 0:
            known = InputFacts(lower=0.0, reason="declared by assume_nonnegative", declared=True)
        called = seen.get(pool, Seen())
        dtype = next(iter(called.dtypes)) if len(called.dtypes) == 1 else default
        try:
            if dtype not in DTYPES:
                raise _dtype(dtype)
            planned = plan(found, frozenset(called.shapes), known, choice, DTYPES[dtype])
            made[pool] = like(pool, ConvPool(planned, dtype, device))
        except Refused as refused:
            refusals.append(replace(refused.refusal, where=path))
            continue
        conversion = conversion_of(made[pool])
        records.append(
            Record.of(
                conversion,
                where=path,
                source=path,
                op_type=type(pool).__name__,
                spec=conversion.spec,
                sizes=planned.sizes,
                channels=planned.channels,
                dtype=DTYPES[dtype],
                facts=known,
            )
        )
    if wishes.only and not (made or refusals):
        raise UsageError(f"no pool is named like {', '.join(wishes.only)}; print(module) shows the names")
    if refusals and not wishes.allow_partial:
        raise NotConverted(tuple(refusals))
    result = replaced(model, made)
    conversions = tuple(map(conversion_of, made.values()))
    result.depool = Converted(  # type: ignore[assignment]
        (*before.records, *records),
        (*before.conversions, *conversions),
        tuple(refusals),
        tuple(left),
        before.inputs,
    )
    return result


def replaced(model: nn.Module, made: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Put modules in the places of others, also where several names share one; returns the new root."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and child in made:
                parent._modules[name] = made[child]
    return made.get(model, model)


def like(pool: nn.Module, made: Made) -> Made:
    """A module in a pool's place, with the pool's hooks, mode, and geometry (forwards may read it)."""
    for name, value in vars(pool).items():
        if name in GEOMETRY or ("hooks" in name and value):
            setattr(made, name, value)
    return made.train(pool.training)


def _dtype(dtype: torch.dtype) -> Refused:
    return Refused(
        "DTYPE",
        f"its input is {dtype}, and convolutions need floating-point numbers of 16 bits or more.",
        "Convert the model before its tensors get this type.",
    )
