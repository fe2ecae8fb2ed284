"""Certificates: what was proved of a converted model, in a form that people read and `check` derives again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from depool.onnx.files import Source
from depool.onnx.graph import Scope, scopes
from depool.proof.claims import read_claims
from depool.proof.entry import entry
from depool.proof.lemmas import formula
from depool.proof.pools import Derivation, derive
from depool.proof.problem import ProofError
from depool.proof.rest import check_interface, check_scope, hashes, unread
from depool.proof.sizes import shapes

FORMAT = 1

ODD = (ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError)
"""What nodes and weights that make no sense raise while they are read."""

CLAIM = (
    "Over the real numbers, under the hypotheses, the converted model computes what the original computes: each pool's "
    "replacement means the pool's own maximum (or average) at every position and channel, and all else is the same."
)
MEANING = (
    "x[o] is the pool's input at position * stride + o, in the same channel; max[a..b, c] is the maximum over a box of "
    "such o; r(y) = max(y, 0); given for the middle position of each map"
)


@dataclass(frozen=True)
class PoolResult:
    """One pool's outcome: proved, or why not."""

    where: str
    ok: bool
    reason: str


@dataclass(frozen=True)
class Report:
    """The outcome of a check.

    Attributes:
        ok: whether the certificate holds for the two files.
        reason: the first thing that is wrong, or nothing.
        pools: each pool of the converted model.
        hypotheses: what the proof takes for granted.
    """

    ok: bool
    reason: str
    pools: tuple[PoolResult, ...]
    hypotheses: tuple[str, ...]


def certify(original: Source, converted: Source) -> dict[str, Any]:
    """Prove a conversion from its two files.

    Returns:
        The certificate, ready for JSON.

    Raises:
        ProofError: names the pool, or the other thing, that cannot be proved, and why.
    """
    proved = []
    for where, outcome in _outcomes(original, converted):
        if isinstance(outcome, ProofError):
            raise ProofError(f"{where}: {outcome}") from outcome
        proved.append(outcome)
    return _certificate(original, converted, proved, _compare(original, converted, proved))


def check(certificate: dict[str, Any], original: Source, converted: Source) -> Report:
    """Derive everything again from the two files, and compare it with a certificate field by field."""
    try:
        outcomes = list(_outcomes(original, converted))
    except ProofError as error:
        return Report(False, str(error), (), ())
    pools = tuple(
        PoolResult(w, not isinstance(o, ProofError), str(o) if isinstance(o, ProofError) else "") for w, o in outcomes
    )
    bad = [pool for pool in pools if not pool.ok]
    if bad:
        return Report(False, f"{bad[0].where}: {bad[0].reason}", pools, ())
    proved = [outcome for _, outcome in outcomes if isinstance(outcome, Derivation)]
    try:
        derived = _certificate(original, converted, proved, _compare(original, converted, proved))
    except ProofError as error:
        return Report(False, str(error), pools, ())
    differences = list(_differences(certificate, json.loads(json.dumps(derived)), ""))
    hypotheses = tuple(derived["hypotheses"])
    if not differences:
        return Report(True, "", pools, hypotheses)
    first = min(differences, key=lambda text: "sha256" in text)
    return Report(False, f"the certificate does not hold for these files: {first}", pools, hypotheses)


def _outcomes(original: Source, converted: Source) -> Iterator[tuple[str, Derivation | ProofError]]:
    """Each pool that the converted model tells of, proved or not."""
    before, after = _scopes(original), _scopes(converted)
    paths = {scope.path: i for i, scope in enumerate(before)}
    if len(before) != len(after):
        raise ProofError("the models do not contain the same subgraphs and functions")
    tables = shapes(converted.model)
    for claim in read_claims(converted.model, original.model):
        number = paths.get(claim.scope)
        if number is None:
            yield claim.where, ProofError(f"the original has no graph {claim.scope!r}")
            continue
        table = tables[number] if number < len(tables) and not after[number].is_function else {}
        try:
            yield claim.where, derive(claim, before[number], after[number], table.get(claim.source))
        except ProofError as error:
            yield claim.where, error
        except ODD as error:
            yield claim.where, ProofError(f"it cannot be read ({type(error).__name__}: {error})")


def _scopes(source: Source) -> list[Scope]:
    return list(scopes(source.model, source.folder))


def _compare(original: Source, converted: Source, proved: list[Derivation]) -> list[str]:
    """Check all that is not a pool; the input shapes that the conversion fixed."""
    fixed = check_interface(original.model, converted.model)
    for one, other in zip(_scopes(original), _scopes(converted), strict=True):
        mine = [d for d in proved if d.claim.scope == one.path]
        check_scope(
            one,
            other,
            pools={d.claim.output for d in mine},
            inner={name for d in mine for name in d.pool.inner},
            region={i for d in mine for i in d.region.nodes},
            weights={name for d in mine for name in d.region.weights},
        )
    return fixed


def _certificate(original: Source, converted: Source, proved: list[Derivation], fixed: list[str]) -> dict[str, Any]:
    pools = [entry(derivation) for derivation in proved]
    used = sorted({name for pool in pools for name in pool["lemmas"]})
    assumed = [f"{pool['pool']}: {text}" for pool in pools for text in pool["hypotheses"]]
    return {
        "certificate": "depool",
        "format": FORMAT,
        "claim": CLAIM,
        "hypotheses": ["all values are finite", *fixed, *assumed],
        "original": hashes(original),
        "converted": hashes(converted),
        "meaning": MEANING,
        "pools": pools,
        "nodes that nothing reads": [
            two.nodes[i].name
            for one, two in zip(_scopes(original), _scopes(converted), strict=True)
            for i in sorted(unread(one, two))
        ],
        "lemmas": {name: formula(name) for name in used},
    }


def _differences(one: Any, other: Any, path: str) -> Iterator[str]:
    """Where two certificates differ, in words."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*other, *(key for key in one if key not in other)]:
            here = f"{path}.{key}" if path else str(key)
            if key not in one:
                yield f"{here} is missing"
            elif key not in other:
                yield f"{here} is not part of a certificate"
            else:
                yield from _differences(one[key], other[key], here)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from _differences(a, b, f"{path}[{i}]")
    elif type(one) is not type(other) or one != other:
        yield f"{path} says {_short(one)}, derived is {_short(other)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:110]} ..."
