"""A pool of a model, planned: for the sizes that were seen, or for all."""

from dataclasses import dataclass, replace
from functools import lru_cache

from depool.adaptive import choose_adaptive
from depool.choice import Choice
from depool.choose import choose
from depool.conversion import Conversion
from depool.errors import Refused
from depool.facts import InputFacts
from depool.geometry import Size
from depool.torch.spec import Geometry


@dataclass(frozen=True)
class Planned:
    """A pool as it was found in a model, from which its program follows for any type.

    Attributes:
        geometry: of the pool.
        sizes: spatial sizes of its input; None where any size may come.
        channels: of its input; 0 where any number may come.
        facts: what is known of its input.
        choice: what the user asks for.
    """

    geometry: Geometry
    sizes: tuple[Size, ...]
    channels: int
    facts: InputFacts
    choice: Choice

    def conversion(self, dtype: str) -> Conversion:
        """How the pool becomes convolutions in this type.

        Raises:
            Refused: where it does not.
        """
        return _conversion(self, dtype)


@lru_cache(maxsize=256)
def _conversion(planned: Planned, dtype: str) -> Conversion:
    """Kept, since it is asked for when a pool is planned, built, recorded, and built again for another type."""
    found = planned.geometry
    if found.spec is not None:
        return choose(found.spec, planned.sizes, planned.facts, planned.choice, dtype)
    return choose_adaptive(found.kind, found.outputs, planned.sizes, planned.facts, planned.choice, dtype)


def plan(
    geometry: Geometry, seen: frozenset[tuple[Size, ...]], facts: InputFacts, choice: Choice, dtype: str
) -> Planned:
    """A pool for the inputs that were seen, and for all other sizes too where that costs nothing.

    Args:
        geometry: of the pool.
        seen: shapes [C, *spatial] of its inputs on the example inputs; none where there were no such inputs.
        facts: what is known of them.
        choice: what the user asks for.
        dtype: the type that it will run in.

    Raises:
        Refused: where it cannot be converted.
    """
    channels = {shape[0] for shape in seen}
    known = (channels.pop() or 0) if len(channels) == 1 else 0
    free = Planned(geometry, (None,) * geometry.rank, known, facts, choice)
    sizes = {shape[1:] for shape in seen}
    try:
        if len(sizes) != 1 or free.conversion(dtype).border.rule in {"none", "zero"}:
            free.conversion(dtype)
            return free
    except Refused:
        if len(sizes) != 1:
            raise
    bound = replace(free, sizes=sizes.pop())
    bound.conversion(dtype)
    return bound
