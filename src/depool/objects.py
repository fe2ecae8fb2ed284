"""What converting a model object, such as an nn.Module or a keras.Model, needs and gives, whatever the framework."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from depool.choice import Choice
from depool.conversion import Conversion
from depool.errors import Refusal, UsageError
from depool.geometry import Kind
from depool.record import Record


@dataclass(frozen=True)
class Wishes:
    """How to convert, and which pools.

    Attributes:
        choice: scheme, form, channels, target, exactness.
        pools: ``max``, or ``all`` to convert average pools too.
        only, skip: patterns of the pools' paths in the model, or of the last name in them (as in a shell: * and ?).
        nonnegative: the inputs of all selected pools are known to be >= 0.
        allow_partial: leave refused pools as they are instead of failing.

    Raises:
        UsageError: where `pools` is neither.
    """

    choice: Choice = Choice()
    pools: str = "all"
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    nonnegative: bool = False
    allow_partial: bool = False

    def __post_init__(self) -> None:
        if self.pools not in {"max", "all"}:
            raise UsageError(f"pools must be max or all, not {self.pools!r}")

    def selects(self, kind: Kind, where: str) -> bool:
        """Whether a pool is to be converted; `where` is its path, with / or . between the names."""
        if kind != "max" and self.pools != "all":
            return False
        names = (where, where.replace(".", "/").rpartition("/")[2])
        wanted = not self.only or any(fnmatchcase(name, p) for name in names for p in self.only)
        return wanted and not any(fnmatchcase(name, p) for name in names for p in self.skip)


@dataclass(frozen=True, eq=False)
class Converted:
    """What a conversion did; a converted model carries it as its attribute ``depool``.

    Attributes:
        records: each pool that became convolutions, as `depool.verify` will check it.
        conversions: the same pools' programs.
        refusals: selected pools that were left as they were.
        left: other pools that stay (not selected, or not ours), with the reason where there is one.
        inputs: (name, shape, type) of the example inputs, where there were any.
    """

    records: tuple[Record, ...]
    conversions: tuple[Conversion, ...]
    refusals: tuple[Refusal, ...]
    left: tuple[Refusal, ...]
    inputs: tuple[tuple[str, tuple[int, ...], str], ...] = ()
