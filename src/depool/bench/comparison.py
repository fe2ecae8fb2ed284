"""`depool.bench.compare`: native against converted, pool by pool and as whole models, in one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import get_args

from depool.api import Ranges, Shapes, StrPath, fixed_shapes, selection
from depool.bench.candidates import Converted
from depool.bench.machine import cpus, machine
from depool.bench.measure import Measure, timed
from depool.bench.results import CONVERTED, Bench
from depool.choice import Channels, Choice, FormName, Scheme
from depool.errors import NotConverted, NotEqual, Refusal, UsageError
from depool.onnx import files
from depool.onnx.convert import Options, convert_model
from depool.onnx.prepare import prepared
from depool.onnx.records import read_given, read_records
from depool.progress import Progress, quiet
from depool.target import Target, named
from depool.verification.subjects import framework_of
from depool.verification.verify import Check, verify_sources


def compare(
    path: StrPath,
    converted: StrPath | None = None,
    *,
    schemes: bool = False,
    scheme: Scheme = "auto",
    form: FormName = "auto",
    channels: Channels = "auto",
    target: str | Target = "generic",
    exact: bool = False,
    pools: str = "max",
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    input_range: Ranges | tuple[float, float] | None = None,
    assume_nonnegative: bool = False,
    shapes: Shapes | None = None,
    opset: int | None = None,
    seconds: float = 1.0,
    threads: Sequence[int] = (),
    seed: int = 0,
    progress: Progress = quiet,
) -> Bench:
    """Time the pools of an ONNX model, and the model, before and after conversion, in ONNX Runtime.

    Args:
        path: the model.
        converted: the converted model; without it, one is made in memory as the following arguments say.
        schemes: compare every scheme as well.
        scheme: as of `depool.convert`, like all up to `assume_nonnegative`.
        form: which one.
        channels: how kernels are widened.
        target: what the consumer accepts.
        exact: bit-exact.
        pools: ``max`` or ``all``.
        only: names of pools to convert.
        skip: names of pools to leave.
        input_range: of the model's inputs; those drawn here stay inside.
        assume_nonnegative: the inputs of the pools are known to be >= 0.
        shapes: dimensions of the inputs, where dynamic. A model that is converted here gets them for good, as by
            `depool.convert`; of two given files, they are the shapes to run on.
        opset: raise the model's opset first.
        seconds: for each pool, and for the model, at each number of threads.
        threads: the numbers of threads; one and all if not given.
        seed: of the inputs.
        progress: called with what is being done, how many are done and how many there are.

    Raises:
        NotEqual: a converted pool does not give what the native one gives, so it is not timed.
        NotConverted: every pool was refused.
        FileError: a file cannot be read.
        UsageError: an argument makes no sense, or the model has no pools.
    """
    measure = _measure(seconds, threads, seed)
    for model in (path, converted):
        if model is not None and framework_of(model) != "onnx":
            raise UsageError(f"{model}: bench times ONNX files; export the model to ONNX first")
    choice = Choice(scheme, form, channels, named(target), exact)
    chosen = selection(pools, only, skip, input_range, assume_nonnegative)
    options = Options(choice, chosen, fixed_shapes(shapes), opset, allow_partial=True)
    read = files.read(path)
    refused: tuple[Refusal, ...] = ()
    notes: list[str] = []
    if converted is None:
        original = replace(read, model=prepared(read.model, options.shapes, opset))
        candidates, refused, notes = _conversions(original, options, schemes=schemes)
    else:
        if (
            schemes
            or choice != Choice(target=named("generic"))
            or replace(chosen, ranges=()) != selection("max", (), (), None, False)
            or opset
        ):
            raise UsageError("flags of a conversion were given beside CONVERTED; leave out one of the two")
        after = files.read(converted)
        given = read_given(after.model)
        original = replace(read, model=prepared(read.model, given.shapes, given.opset))
        candidate, notes = _checked(original, after, options, seed, progress)
        candidates = [candidate]
    measured = timed(original, candidates, dict(options.shapes), dict(chosen.ranges), measure, progress)
    return Bench(
        str(path), None if converted is None else str(converted), seconds, *measured, refused, tuple(notes), machine()
    )


def _measure(seconds: float, threads: Sequence[int], seed: int) -> Measure:
    if not 0 < seconds < inf:
        raise UsageError(f"the seconds must be a positive number, not {seconds}")
    if threads and min(threads) < 1:
        raise UsageError(f"the number of threads must be positive, not {min(threads)}")
    if seed < 0:
        raise UsageError(f"the seed must not be negative, not {seed}")
    return Measure(seconds, tuple(dict.fromkeys(threads or (1, cpus()))), seed)


def _conversions(
    original: files.Source, options: Options, *, schemes: bool
) -> tuple[list[Converted], tuple[Refusal, ...], list[str]]:
    """The model converted as asked, and in every scheme; what was refused as asked, and in a scheme."""
    choices = {CONVERTED: options.choice}
    if schemes:
        choices |= {name: replace(options.choice, scheme=name) for name in get_args(Scheme) if name != "auto"}
    made = {name: convert_model(original, replace(options, choice=choice)) for name, choice in choices.items()}
    refused = made[CONVERTED].refusals
    if not any(result.records for result in made.values()):
        if refused:
            raise NotConverted(refused)
        raise UsageError(f"{original.name}: has no pool to convert, so there is nothing to compare")
    notes = [f"{name}: {refusal}" for name in choices for refusal in made[name].refusals if name != CONVERTED]
    candidates = [
        Converted.of(name, replace(original, model=result.model), result.records) for name, result in made.items()
    ]
    return candidates, refused, notes


def _checked(
    original: files.Source, converted: files.Source, options: Options, seed: int, progress: Progress
) -> tuple[Converted, list[str]]:
    """A converted file, once it is verified; what is to know where that is undecided.

    Raises:
        NotEqual: where it is not what it says.
    """
    known = set(read_records(original.model))
    records = tuple(record for record in read_records(converted.model) if record not in known)
    ranges = options.selection.ranges
    check = Check(seed, shapes=options.shapes, ranges=ranges, counterexample=None)
    verdict = verify_sources(original, converted, check, progress)
    if verdict.equal is False:
        raise NotEqual(f"{converted.name}: not timed: {verdict.summary}")
    unsure = [] if verdict.equal else [f"whether the two models are equal is undecided: {verdict.summary}"]
    return Converted.of(CONVERTED, converted, records), unsure
