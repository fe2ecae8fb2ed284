"""What the commands print for machines: one JSON object, described in docs/json.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from depool.errors import DepoolError, NotConverted, Refused
from depool.explain.programs import Way
from depool.onnx.convert import Result
from depool.onnx.inspect import Planned, Survey
from depool.verification.verdict import Verdict

SCHEMA = 1
"""Raised when a key changes its meaning or goes away."""


def survey(found: Survey) -> dict[str, Any]:
    """The object of `depool inspect --json`."""
    return whole(
        "inspect",
        model=found.name,
        opset=found.opset,
        ir_version=found.ir_version,
        file_bytes=found.file_bytes,
        refused=found.refused,
        pools=[_planned(planned) for planned in found.pools],
        left=[asdict(refusal) for refusal in found.left],
        caveats=[asdict(caveat) for caveat in found.caveats],
    )


def result(made: Result, name: str) -> dict[str, Any]:
    """The object of `depool convert --json`."""
    return whole(
        "convert",
        model=name,
        output=None if made.path is None else str(made.path),
        pools=[asdict(record) for record in made.records],
        refused=[asdict(refusal) for refusal in made.refusals],
        left=[asdict(refusal) for refusal in made.left],
        caveats=[asdict(caveat) for caveat in made.caveats],
        proved=made.certificate is not None,
        unproved=made.unproved,
        verdict=None if made.verdict is None else asdict(made.verdict),
    )


def verdict(found: Verdict) -> dict[str, Any]:
    """The object of `depool verify --json`."""
    return whole("verify", **asdict(found))


def error(raised: DepoolError) -> dict[str, Any]:
    """The object of any command that failed."""
    refusals = raised.refusals if isinstance(raised, NotConverted) else ()
    if isinstance(raised, Refused):
        refusals = (raised.refusal,)
    return whole(
        "error",
        message=str(raised),
        exit_code=int(raised.exit_code),
        refused=[asdict(refusal) for refusal in refusals],
    )


def explanation(path: str, page: str, found: Sequence[Way]) -> dict[str, Any]:
    """The object of `depool explain --json`."""
    return whole(
        "explain",
        output=path,
        page_bytes=len(page.encode()),
        programs=[
            {
                "scheme": way.scheme,
                "pairing": way.pairing,
                "form": way.form,
                "exact": way.exact,
                "refusal": None if way.refusal is None else asdict(way.refusal),
            }
            for way in found
        ],
    )


def _planned(planned: Planned) -> dict[str, Any]:
    site, made = planned.site, planned.conversion
    return {
        "where": site.where,
        "op_type": site.node.op_type,
        "preceded_by": planned.preceded_by,
        "spec": asdict(site.spec),
        "sizes": site.sizes,
        "channels": site.channels,
        "dtype": site.dtype,
        "facts": asdict(site.facts),
        "refusal": None if planned.refusal is None else asdict(planned.refusal),
        "scheme": made and made.scheme,
        "form": made and made.form,
        "layout": made and made.channels,
        "gate": made and made.gate,
        "border": made and made.border.rule,
        "reason": made and made.border.reason,
        "promise": planned.promise,
        "cost": None if planned.cost is None else asdict(planned.cost),
        "warning": planned.warning,
    }


def whole(command: str, **entries: Any) -> dict[str, Any]:
    """One command's object."""
    made: dict[str, Any] = _plain({"schema": SCHEMA, "command": command, **entries})
    return made


def _plain(value: Any) -> Any:
    """JSON has neither infinities nor paths."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
