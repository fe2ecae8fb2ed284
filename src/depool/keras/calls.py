"""Other functions in the place of an operation's call, for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Call = Callable[..., Any]


@contextmanager
def calls_replaced(ops: Mapping[str, Any], other: Callable[[str, Call], Call]) -> Iterator[None]:
    """Within the block each operation calls another function; afterwards it is as it was.

    Args:
        ops: operations by path; one that has several paths is replaced once, at its first.
        other: from a path and the call to what is called instead.
    """
    chosen = {id(op): (path, op) for path, op in reversed(list(ops.items()))}
    own = {key: vars(op)["call"] for key, (_, op) in chosen.items() if "call" in vars(op)}
    for path, op in chosen.values():
        op.call = other(path, op.call)
    try:
        yield
    finally:
        for key, (_, op) in chosen.items():
            del op.call
            if key in own:
                op.call = own[key]
