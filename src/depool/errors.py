"""What can go wrong, as data: a stable code, where, why, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line."""

    DONE = 0
    NOT_EQUAL = 1
    USAGE = 2
    NOT_CONVERTED = 3
    INCONCLUSIVE = 4
    FILE = 5


@dataclass(frozen=True)
class Refusal:
    """A pool that is left as it was.

    Attributes:
        code: a stable word for machines, such as ``DYNAMIC_GLOBAL``; docs/refusals.md lists them.
        where: the node's name, with the path of the subgraph or function it stands in.
        reason: why it cannot be converted, in one sentence.
        fix: what the user can do about it, in one sentence.
    """

    code: str
    where: str
    reason: str
    fix: str

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{self.code}: {place}{self.reason} {self.fix}".strip()


class DepoolError(Exception):
    """Any error that depool raises on purpose; its text is one line, and says how to mend it."""

    exit_code: Exit = Exit.USAGE


class UsageError(DepoolError):
    """An argument that makes no sense."""


class FileError(DepoolError):
    """A file that cannot be read or written."""

    exit_code = Exit.FILE


class Refused(DepoolError):
    """Raised while one pool is planned; `depool.convert` turns it into a reported `Refusal`."""

    exit_code = Exit.NOT_CONVERTED

    def __init__(self, code: str, reason: str, fix: str, where: str = "") -> None:
        self.refusal = Refusal(code, where, reason, fix)
        super().__init__(str(self.refusal))


class NotConverted(DepoolError):
    """Some selected pools were refused, and a partial result was not asked for."""

    exit_code = Exit.NOT_CONVERTED

    def __init__(self, refusals: tuple[Refusal, ...]) -> None:
        self.refusals = refusals
        super().__init__("; ".join(map(str, refusals)))


class NotEqual(DepoolError):
    """The converted model broke its promise; nothing was written but the counterexample."""

    exit_code = Exit.NOT_EQUAL


class UnexpectedError(DepoolError):
    """A mistake of depool's own, of which no more is known."""

    exit_code = Exit.INCONCLUSIVE
