"""Converting model objects of a framework: what is asked for, and what was done."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from depool.choose import Choice
from depool.conversion import Conversion
from depool.errors import Refusal
from depool.geometry import Kind
from depool.record import Record


@dataclass(frozen=True)
class Wishes:
    """What the user asks for.

    Attributes:
        choice: scheme, form, channels, exactness.
        pools: ``max``, or ``all`` to add average pools.
        only, skip: patterns of the paths, or of the names, of pools (as in a shell: * and ?).
        nonnegative: the inputs of all selected pools are known to be >= 0.
        allow_partial: convert what can be converted, and leave refused pools as they are.
    """

    choice: Choice = Choice()
    pools: str = "all"
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    nonnegative: bool = False
    allow_partial: bool = False

    def selects(self, kind: Kind, where: str) -> bool:
        """Whether a pool is to be converted; `where` is its path, with / or . between the names."""
        if kind != "max" and self.pools != "all":
            return False
        names = (where, where.replace(".", "/").rpartition("/")[2])
        wanted = not self.only or any(fnmatchcase(name, p) for name in names for p in self.only)
        return wanted and not any(fnmatchcase(name, p) for name in names for p in self.skip)


@dataclass(frozen=True, eq=False)
class Converted:
    """What a conversion of an object did.

    Attributes:
        records: each pool that became convolutions, as `verify` will check it.
        conversions: the same pools' programs.
        refusals: selected pools that were left as they were.
        left: other pools that stay, because they were not selected.
    """

    records: tuple[Record, ...]
    conversions: tuple[Conversion, ...]
    refusals: tuple[Refusal, ...]
    left: tuple[Refusal, ...]
