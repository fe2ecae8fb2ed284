"""A whole report as data, from a conversion that was done or from one that was planned."""

from __future__ import annotations

from dataclasses import dataclass

from depool.onnx.convert import Result
from depool.onnx.inspect import Survey
from depool.report import words
from depool.report.html.pools import OVERVIEW, Pool, converted, planned_pool
from depool.report.html.sheets import Sheet, caveats, end_to_end, refusals, special


@dataclass(frozen=True)
class View:
    """A whole report; the template prints it from top to bottom.

    Attributes:
        model: the model's file.
        title: what was done.
        status, verdict: as of a pool, for the model as a whole.
        facts: (label, text) about the files.
        overview: the table of all pools.
        pools: each of them.
        sheets: further tables: end to end, refusals, caveats, timings.
        proof: what was proved, sentence by sentence.
        notes: what to know besides.
    """

    model: str
    title: str
    status: str
    verdict: str
    facts: tuple[tuple[str, str], ...]
    overview: Sheet
    pools: tuple[Pool, ...]
    sheets: tuple[Sheet, ...]
    proof: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def of_result(result: Result, name: str, timing: Sheet | None = None) -> View:
    """A conversion that was done."""
    checks = {check.where: check for check in result.verdict.pools} if result.verdict else {}
    pools = tuple(
        converted(f"pool-{n}", record, conversion, checks.get(record.where))
        for n, (record, conversion) in enumerate(zip(result.records, result.conversions, strict=True), 1)
    )
    status, verdict = _verdict(result)
    sheets = [*end_to_end(result.verdict), *special(result.verdict)]
    sheets += [*refusals((*result.refusals, *result.left)), *caveats(result.caveats)]
    target = str(result.path) if result.path is not None else "standard output"
    return View(
        model=_model(name),
        title=f"{words.many(len(pools), 'pool')} became convolutions",
        status=status,
        verdict=verdict,
        facts=(("model", _model(name)), ("written to", target)),
        overview=Sheet("All pools", OVERVIEW, tuple(pool.brief for pool in pools)),
        pools=pools,
        sheets=(*sheets, *([timing] if timing is not None else [])),
        proof=_proof(result),
        notes=(*(result.verdict.notes if result.verdict else ()), "For finite input only: 0 * inf is not a number."),
    )


def of_survey(survey: Survey) -> View:
    """What a conversion would do."""
    pools = tuple(planned_pool(f"pool-{n}", planned) for n, planned in enumerate(survey.pools, 1))
    refused = survey.refused
    size = f"opset {survey.opset}, IR version {survey.ir_version}, {words.size(survey.file_bytes)}"
    verdict = "Every pool can be converted." if not refused else f"{words.many(refused, 'pool')} would be refused."
    return View(
        model=_model(survey.name),
        title=f"{words.many(len(pools), 'pool')} to convert",
        status="refused" if refused else "planned",
        verdict=f"{verdict} Nothing was converted or run; this is what depool convert would do.",
        facts=(("model", _model(survey.name)), ("format", size)),
        overview=Sheet("All pools", OVERVIEW, tuple(pool.brief for pool in pools)),
        pools=pools,
        sheets=(*refusals(survey.left), *caveats(survey.caveats)),
    )


def _model(name: str) -> str:
    return "standard input" if name == "-" else name


def _verdict(result: Result) -> tuple[str, str]:
    if not result.records:
        return "planned", "No pool was converted: the file is a copy of the model."
    if result.verdict is None:
        return "unsure", "Not verified (--no-verify)."
    status = {True: "kept", False: "refused", None: "unsure"}[result.verdict.equal]
    summary = result.verdict.summary
    return status, f"{summary[:1].upper()}{summary[1:]}."


def _proof(result: Result) -> tuple[str, ...]:
    if result.certificate is not None:
        lemmas = (f"Lemma {name}: {said}" for name, said in result.certificate["lemmas"].items())
        provided = (f"Provided that {said}." for said in result.certificate["hypotheses"])
        return ("Proved over the reals, from the two files alone: every converted pool has its original's meaning.",
                *provided, *lemmas)  # fmt: skip
    if result.unproved:
        return (f"Not proved over the reals, measured only: {result.unproved}.",)
    return ("No proof over the reals was tried.",)
