"""What a converted model says of its pools, in its `depool.pools` metadata: where to look, and what it relies on.

Nothing here is believed: claims say where a pool was, and what the user declared of its input.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import onnx

from depool.proof.problem import ProofError

KEY = "depool.pools"


@dataclass(frozen=True)
class Claim:
    """One converted pool, as the model tells it.

    Attributes:
        where: its name.
        scope: the path of the graph it stands in.
        source, output: the tensors between which its convolutions stand.
        sizes: spatial sizes of `source`, None where dynamic.
        channels: of `source`.
        lower: the claimed lower bound of `source`, and why.
        declared: whether the user vouched for that bound.
        how: scheme, form, layout, gate, border and its reason, as told.
        rounding: the claimed error terms, as told.
    """

    where: str
    scope: str
    source: str
    output: str
    sizes: tuple[int | None, ...]
    channels: int
    lower: float | None
    reason: str
    declared: bool
    how: dict[str, str]
    rounding: Any


def read_claims(model: onnx.ModelProto, original: onnx.ModelProto) -> list[Claim]:
    """The pools that a converted model tells of, less those that its original tells of already.

    Raises:
        ProofError: where there are none, or they are damaged.
    """
    before = _entries(original)
    try:
        claims = [_claim(entry) for entry in _entries(model) if entry not in before]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProofError(f"the converted model's {KEY} metadata are damaged ({error!r})") from error
    if not any(entry.key == KEY for entry in model.metadata_props):
        raise ProofError(f"the converted model has no {KEY} metadata: depool did not convert it, or they were lost")
    return claims


def _entries(model: onnx.ModelProto) -> list[Any]:
    found = [entry.value for entry in model.metadata_props if entry.key == KEY]
    try:
        entries = json.loads(found[0]) if found else []
    except ValueError as error:
        raise ProofError(f"the {KEY} metadata are no JSON ({error})") from error
    return entries if isinstance(entries, list) else []


def _claim(entry: dict[str, Any]) -> Claim:
    facts = entry["facts"]
    lower = facts.get("lower")
    return Claim(
        where=str(entry["where"]),
        scope=str(entry["scope"]),
        source=str(entry["source"]),
        output=str(entry["output"]),
        sizes=tuple(None if n is None else int(n) for n in entry["sizes"]),
        channels=int(entry["channels"]),
        lower=None if lower is None else float(lower),
        reason=str(facts.get("reason", "")),
        declared=bool(facts.get("declared", False)),
        how={key: str(entry.get(key, "")) for key in ("scheme", "form", "layout", "gate", "border", "reason")},
        rounding=entry.get("rounding"),
    )
