"""Pools of one input: planned one after the other, so that a larger one goes on from the result of a smaller one.

A spatial pyramid (SPP) then computes each maximum once: max over 9x9 from max over 5x5, max over 13x13 from that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from depool.choice import Choice
from depool.conversion import Conversion
from depool.errors import Refusal, Refused
from depool.onnx.find import Left
from depool.onnx.site import PoolSite, plan_site
from depool.progress import Progress, quiet

Planner = Callable[[PoolSite, Choice], Conversion]


def plan_all(
    found: Sequence[PoolSite | Left], choice: Choice, plan: Planner = plan_site, progress: Progress = quiet
) -> dict[int, Conversion | Refusal]:
    """How each pool becomes convolutions, or why not, by its place in `found`; a pool comes after what it goes on from.

    Args:
        found: all pools of a model.
        choice: what the user asks for.
        plan: of a pool that shares its input with no other.
        progress: is told how far it is.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for i, item in enumerate(found):
        if isinstance(item, PoolSite):
            groups.setdefault((item.scope.path, item.source), []).append(i)
    made: dict[int, Conversion | Refusal] = {}
    for group in groups.values():
        sites = {i: site for i in group if isinstance(site := found[i], PoolSite)}
        given: list[Conversion] = []
        for i in sorted(sites, key=lambda i: (prod(sites[i].spec.kernel_shape), i)):
            progress("planning", len(made), len(found))
            try:
                conversion = plan(sites[i], choice) if len(sites) == 1 else plan_site(sites[i], choice, tuple(given))
            except Refused as refused:
                made[i] = replace(refused.refusal, where=sites[i].where)
                continue
            given.append(conversion)
            made[i] = conversion
    return made
