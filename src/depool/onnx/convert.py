"""Find -> plan -> lower -> splice -> verify, over one ONNX model."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

import depool
from depool.choice import Choice
from depool.conversion import Conversion
from depool.errors import FileError, NotConverted, NotEqual, Refusal, UsageError
from depool.onnx import files
from depool.onnx.caveats import Caveat, caveats
from depool.onnx.ensures import check_written
from depool.onnx.find import Left, Selection, find
from depool.onnx.fold import fold
from depool.onnx.graph import subgraphs
from depool.onnx.place import emitted, put
from depool.onnx.prepare import prepared
from depool.onnx.records import Given, read_given, read_records, record_of, write_records
from depool.onnx.shapes import forget_shapes
from depool.onnx.siblings import Planner, plan_all
from depool.onnx.site import PoolSite, plan_site
from depool.progress import Progress, quiet
from depool.record import Record
from depool.target import named
from depool.verification.verdict import Verdict
from depool.verification.verify import Check, verify_sources


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What a conversion did.

    Attributes:
        model: the converted model, where it is an ONNX one; external data are references into the source's folder.
        path: where it was written, or None.
        records: each pool that became convolutions, as `verify` will check it.
        conversions: the same pools' programs.
        refusals: selected pools that were left as they were.
        left: other pools that stay (not selected, or not ours), with the reason where there is one.
        caveats: what the target will not take in the rest of the model.
        verdict: the verification's outcome, or None where it was not asked for.
        certificate: the proof over the reals, derived from the two files alone (see depool.proof).
        unproved: why there is none, where it was tried.
    """

    model: Any
    path: Path | None
    records: tuple[Record, ...]
    conversions: tuple[Conversion, ...]
    refusals: tuple[Refusal, ...]
    left: tuple[Refusal, ...]
    caveats: tuple[Caveat, ...] = ()
    verdict: Verdict | None = None
    certificate: dict[str, Any] | None = None
    unproved: str = ""


@dataclass(frozen=True)
class Options:
    """How to convert.

    Attributes:
        choice: scheme, form, channels, target, exactness.
        selection: which pools, and what is known of their inputs.
        shapes: dimensions to fix in the declarations of the model's inputs.
        opset: raise the model's opset first.
        allow_partial: convert what can be converted, and leave refused pools as they are.
        verify: check the result before it is written.
        force: overwrite an existing file.
        seed, data: for the verification.
        certificate: where to write the proof.
        plan: of one pool that shares its input with no other.
        fold: let pools become one with the convolutions next to them (see onnx/fold.py).
    """

    choice: Choice = Choice()
    selection: Selection = Selection()
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    opset: int | None = None
    allow_partial: bool = False
    verify: bool = True
    force: bool = False
    seed: int = 0
    data: Path | None = None
    certificate: Path | None = None
    plan: Planner = plan_site
    fold: bool = False

    @property
    def given(self) -> Given:
        """What the user declared."""
        chosen = self.selection
        return Given(chosen.ranges, chosen.nonnegative, self.shapes, self.opset)


def convert_file(path: str, output: str | None, options: Options, progress: Progress = quiet) -> Result:
    """Convert a file into a file, verified before it appears.

    Args:
        path: the model, or ``-`` for standard input.
        output: the new file, ``-`` for standard output; by default `model.depool.onnx` beside the model.
        options: how.
        progress: is told how far it is.

    Raises:
        NotConverted: where a selected pool was refused and `allow_partial` is not given; nothing is written.
        NotEqual: where the verification failed; the counterexample is saved, the model is not.
        FileError: where a file cannot be read or written.
    """
    _refuse_fold(options)
    target = target_path(path, output)
    if target is not None:
        files.check_target(target, path, force=options.force)
    if options.certificate is not None:
        files.check_target(options.certificate, path, force=options.force)
        if target is not None and options.certificate.absolute() == target.absolute():
            raise UsageError(f"--certificate {options.certificate}: is the new model itself; name another file")
    read = files.read(path)
    source = replace(read, model=prepared(read.model, options.shapes, options.opset))
    raised = source.model.opset_import != read.model.opset_import
    if raised and options.certificate is not None:
        raise UsageError(
            "--certificate: a certificate compares two files of one opset; raise the opset in a step of its own "
            "(depool convert MODEL --opset N --skip '*' -o RAISED), and convert that"
        )
    proved = source if raised else read  # what --shape fixed becomes a hypothesis about the file as it is
    result = convert_model(source, options, progress)
    if target is None:
        if files.external_locations(result.model):
            raise FileError("a model with external data cannot be written to standard output; give --output FILE")
        with tempfile.TemporaryDirectory(prefix="depool-") as scratch:
            written = files.write(source, result.model, Path(scratch) / "stdin.depool.onnx")[-1]
            result = _checked(source, proved, written, result, options, Path(written.name), progress)
        sys.stdout.buffer.write(files.serialized(result.model))
        sys.stdout.buffer.flush()
    else:
        with files.staged(source, result.model, target, force=options.force) as written:
            result = _checked(source, proved, written, result, options, target, progress)
    return replace(result, path=target)


def _refuse_fold(options: Options) -> None:
    for name, given in (("--exact", options.choice.exact), ("--certificate", options.certificate is not None)):
        if options.fold and given:
            raise UsageError(
                f"--fold: changes the convolutions next to the pools, which {name} rules out; leave one of the two out"
            )


def target_path(path: str, output: str | None) -> Path | None:
    """Where the result goes; None is standard output."""
    if output == files.STANDARD_IO or (output is None and path == files.STANDARD_IO):
        return None
    if output is None and not Path(path).name:
        raise FileError(f"{path!r}: is a folder; name a file")
    return Path(output) if output is not None else Path(path).with_suffix(".depool.onnx")


def convert_model(source: files.Source, options: Options, progress: Progress = quiet) -> Result:
    """Convert in memory, unverified; the source stays as it is.

    Raises:
        NotConverted: where a selected pool was refused and `allow_partial` is not given.
    """
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    found = list(find(model, source.folder, options.selection))
    if options.selection.only and not any(isinstance(item, PoolSite) or item.selected for item in found):
        raise UsageError(f"no pool is named like {', '.join(options.selection.only)}; depool inspect lists the names")
    previous = read_records(model)
    if previous and options.fold:
        raise UsageError("--fold: pools of this model were converted before; give --fold when converting the original")
    planned = plan_all(found, options.choice, options.plan, progress)
    records: list[Record] = []
    conversions: list[Conversion] = []
    refusals: list[Refusal] = []
    left: list[Refusal] = []
    for i, item in enumerate(found):
        made = planned.get(i)
        if isinstance(item, Left):
            (refusals if item.selected else left).append(item.refusal)
        elif isinstance(made, Refusal):
            refusals.append(made)
        elif made is not None:
            records.append(record_of(item, made))
            conversions.append(made)
    if refusals and not options.allow_partial:
        raise NotConverted(tuple(refusals))
    for pools in reversed(emitted(model, found, planned, progress).values()):  # what is inside first: nodes are copied
        put(pools)
    if any(conversion.spec.ceil_mode for conversion in conversions):
        _correct_shapes(model)
    if options.fold:
        records = list(fold(source.model, model, source.folder, tuple(records)))
    write_records(model, (*previous, *records), options.given.after(read_given(model)), depool.__version__)
    progress("converting", len(planned), len(planned))
    warned = caveats(model, source.folder, named(options.choice.target))
    return Result(model, None, tuple(records), tuple(conversions), tuple(refusals), tuple(left), warned)


def _correct_shapes(model: onnx.ModelProto) -> None:
    """Where the declared shapes counted a window that no runtime computes, declare the true ones."""
    try:
        onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError:
        bare = onnx.ModelProto()
        bare.CopyFrom(model)
        forget_shapes(bare.graph)
        true = {v.name: v for v in onnx.shape_inference.infer_shapes(bare, data_prop=True).graph.output}
        del model.graph.value_info[:]
        for output in model.graph.output:
            if output.name in true and true[output.name].type.tensor_type.HasField("shape"):
                output.type.tensor_type.shape.CopyFrom(true[output.name].type.tensor_type.shape)
        for node in model.graph.node:
            for _, inner in subgraphs(node):
                forget_shapes(inner)


def _checked(
    source: files.Source,
    proved: files.Source,
    path: Path,
    result: Result,
    options: Options,
    target: Path,
    progress: Progress,
) -> Result:
    """The conversion's contract on the written file, the proof against `proved`, and the verification."""
    written = files.read(path)
    check_written(source, written, path, result.records)
    if options.verify or options.certificate is not None:
        result = _proved(proved, written, result, options, progress)
    if not options.verify:
        return _certified(result, options)
    check = Check(
        seed=options.seed,
        data=options.data,
        counterexample=target.with_suffix(".counterexample.npz"),
    )
    verdict = verify_sources(source, written, check, progress)
    if verdict.equal is False:
        saved = f"; counterexample in {verdict.counterexample}" if verdict.counterexample else ""
        raise NotEqual(f"{target}: not written: {verdict.summary}{saved}")
    return _certified(replace(result, verdict=verdict), options)


def _certified(result: Result, options: Options) -> Result:
    """Write the certificate, where one is wanted, before the model appears."""
    if options.certificate is not None:
        files.write_text(json.dumps(result.certificate, indent=1) + "\n", options.certificate)
    return result


def _proved(
    source: files.Source, written: files.Source, result: Result, options: Options, progress: Progress
) -> Result:
    """The certificate, or why there is none; where one was asked for, its absence is an error."""
    from depool.proof import ProofError, certify

    folded = sum(bool(record.folded) for record in result.records)
    if folded:
        return replace(result, unproved=f"{folded} of {len(result.records)} pools are folded into convolutions")
    progress("proving", 0, len(result.records))
    try:
        return replace(result, certificate=certify(source, written))
    except ProofError as error:
        if options.certificate is not None:
            raise
        return replace(result, unproved=str(error))
