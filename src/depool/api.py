"""The functions behind `depool.convert`, `depool.verify` and `depool.inspect`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import inf, isnan
from pathlib import Path
from typing import Any

from depool.choice import Channels, Choice, FormName, Scheme
from depool.errors import UsageError
from depool.objects import Wishes
from depool.onnx import files
from depool.onnx.convert import Options, Result, convert_file
from depool.onnx.find import Selection
from depool.onnx.inspect import Survey, survey
from depool.onnx.prepare import prepared
from depool.onnx.siblings import Planner
from depool.onnx.site import plan_site
from depool.progress import Progress, quiet
from depool.target import Target, named
from depool.verification.layouts import Layouts
from depool.verification.objects import verify_objects
from depool.verification.subjects import Framework, framework_of, subject
from depool.verification.verdict import Verdict
from depool.verification.verify import Check, verify_sources

StrPath = str | os.PathLike[str]
Ranges = Mapping[str, tuple[float, float]]
Shapes = Mapping[str, Sequence[int]]


def convert(
    path: StrPath,
    output: StrPath | None = None,
    *,
    scheme: Scheme = "auto",
    form: FormName = "auto",
    channels: Channels = "auto",
    target: str | Target = "generic",
    exact: bool = False,
    pairing: str = "ab|cd",
    pools: str = "max",
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    input_range: Ranges | tuple[float, float] | None = None,
    assume_nonnegative: bool = False,
    shapes: Shapes | None = None,
    opset: int | None = None,
    allow_partial: bool = False,
    verify: bool = True,
    certificate: StrPath | None = None,
    tune: bool = False,
    data: StrPath | None = None,
    force: bool = False,
    seed: int = 0,
    fold: bool = False,
    progress: Progress = quiet,
) -> Result:
    """Rewrite the pools of a model's file as convolutions, ReLUs, sums and concatenations.

    Objects are converted by `depool.torch.convert` and `depool.keras.convert`.

    Args:
        path: the model, ``.onnx``, ``.keras`` or ``.pt2`` (of torch.export); ``-`` is an ONNX file on standard input.
        output: the new file; by default `model.depool.onnx` (or .keras, .pt2) beside it; ``-`` is standard output.
        scheme: which maxima: ``tree``, ``separable``, ``horner``, ``shallow`` or ``auto``.
        form: ``branched``, ``concat`` (the published network), ``sequential`` or ``auto``.
        channels: ``grouped``, ``depthwise``, ``dense``, ``folded`` (into the batch, by Reshape) or ``auto``.
        target: what the consumer accepts: a preset's name (``depool targets`` lists them), a TOML file, or a `Target`.
        exact: bit-exact for all ``|x| <= MAX / 2``.
        pairing: of a 2x2 tree: ``ab|cd``, ``ac|bd`` or ``ad|bc``.
        pools: ``max``, or ``all`` to convert average pools too.
        only: patterns of the names of pools to convert.
        skip: patterns of the names of pools to leave.
        input_range: (low, high) of all the model's inputs, or by tensor name.
        assume_nonnegative: the inputs of the selected pools are known to be >= 0.
        shapes: dimensions to fix, by input name.
        opset: raise the model's opset first.
        allow_partial: leave refused pools as they are instead of failing.
        verify: check the result before it is written.
        certificate: prove the result over the reals as well, and write the certificate here.
        tune: measure the candidates of each pool in ONNX Runtime and take the fastest, which differs between machines;
            pools that share their input share maxima instead.
        data: an .npz of inputs to verify with as well.
        force: overwrite an existing file.
        seed: of the verification's inputs.
        fold: let a pool's last or only linear map become one with the convolution next to it, where that saves work;
            that convolution changes. Not with `exact` or `certificate`.
        progress: called with what is being done, how many are done and how many there are.

    Returns:
        What was done; `Result.verdict` says how equal the result is, `Result.path` where it is.

    Raises:
        NotConverted: a selected pool was refused; nothing was written.
        NotEqual: the result broke its promise; nothing was written but a counterexample.
        ProofError: the result could not be proved; nothing was written.
        FileError: a file cannot be read or written.
        UsageError: an argument makes no sense.
    """
    _nonnegative(seed)
    framework = _file(path)
    choice = Choice(scheme, form, channels, named(target), exact, pairing)
    if framework in {"torch", "keras"}:
        _onnx_only(input_range=input_range, shapes=shapes, opset=opset, certificate=certificate, tune=tune, fold=fold)
        chosen = selection(pools, only, skip, None, assume_nonnegative)
        wishes = Wishes(choice, chosen.pools, chosen.only, chosen.skip, chosen.nonnegative, allow_partial)
        where = None if output is None else str(output)
        from depool.saved import convert_saved

        return convert_saved(
            str(path), where, framework, wishes, verify=verify, force=force, seed=seed, data=data, progress=progress
        )
    options = Options(
        choice,
        selection(pools, only, skip, input_range, assume_nonnegative),
        fixed_shapes(shapes),
        opset,
        allow_partial,
        verify,
        force,
        seed,
        None if data is None else Path(data),
        None if certificate is None else Path(certificate),
        _planner(tune=tune),
        fold,
    )
    return convert_file(str(path), None if output is None else str(output), options, progress)


def verify(
    original: Any,
    converted: Any,
    *,
    data: StrPath | None = None,
    shapes: Shapes | None = None,
    input_range: Ranges | tuple[float, float] | None = None,
    tolerance: float = 1e-5,
    end_to_end: bool = True,
    seed: int = 0,
    counterexample: StrPath | None = None,
    nonfinite: bool = False,
    layouts: Layouts | None = None,
    progress: Progress = quiet,
) -> Verdict:
    """Check that two models compute the same.

    A model that depool converted carries its promises: each pool is checked against its own, all else must be
    as it was, and the outputs are measured end to end. Any other pair is compared end to end. The inputs of the
    two are matched by name, else by order.

    Args:
        original: the model before: a path (.onnx, .keras, .pt2), an nn.Module, an exported program, a keras.Model.
        converted: the model after: any of these.
        data: an .npz of inputs, named like the model's, to run besides the drawn ones.
        shapes: dimensions of the inputs, where dynamic.
        input_range: drawn inputs stay in (low, high), of all inputs or by name.
        tolerance: the t of ``|a - b| <= t + t |b|`` for models without promises.
        end_to_end: whether to run the whole models.
        seed: of the drawn inputs.
        counterexample: where to save an input that shows a difference; by default beside `converted`.
        nonfinite: show what becomes of infinities, NaN and other special values.
        layouts: where the channels stand in the one model and in the other, ``("NHWC", "NCHW")`` for last and
            first, whatever the number of spatial axes; needed where two frameworks meet and the shapes do not tell.
        progress: called with what is being done, how many are done and how many there are.

    Raises:
        FileError: a file cannot be read.
        UsageError: an argument makes no sense.
    """
    _nonnegative(seed)
    if not 0 <= tolerance < inf:
        raise UsageError(f"the tolerance must be a number of at least 0, not {tolerance}")
    if {_framework(original), _framework(converted)} != {"onnx"}:
        _onnx_only(nonfinite=nonfinite)
        if layouts is not None and (len(layouts) != 2 or not {*layouts} <= {"NHWC", "NCHW"}):
            raise UsageError(f"layouts must be two of NHWC and NCHW, such as ('NHWC', 'NCHW'), not {layouts!r}")
        check = Check(
            seed, None if data is None else Path(data), fixed_shapes(shapes), _ranges(input_range), tolerance,
            end_to_end, counterexample=None if counterexample is None else Path(counterexample),
        )  # fmt: skip
        return verify_objects(subject(original), subject(converted), check, layouts, progress)
    before, after = files.read(original), files.read(converted)
    default = Path("model" if str(converted) == files.STANDARD_IO else converted).with_suffix(".counterexample.npz")
    check = Check(
        seed,
        None if data is None else Path(data),
        fixed_shapes(shapes),
        _ranges(input_range),
        tolerance,
        end_to_end,
        nonfinite,
        default if counterexample is None else Path(counterexample),
    )
    return verify_sources(before, after, check, progress)


def inspect(
    path: StrPath,
    *,
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
) -> Survey:
    """What `convert` with the same arguments would do, and cost, without doing it.

    Raises:
        FileError: the file cannot be read.
        UsageError: an argument makes no sense.
    """
    if _file(path) != "onnx":
        raise UsageError(f"{path}: inspect reads ONNX files; depool convert says the same of this one as it converts")
    source = files.read(path)
    source = files.Source(prepared(source.model, fixed_shapes(shapes), opset), source.folder, source.name)
    choice = Choice(scheme, form, channels, named(target), exact)
    return survey(source, selection(pools, only, skip, input_range, assume_nonnegative), choice)


def selection(
    pools: str,
    only: Sequence[str],
    skip: Sequence[str],
    input_range: Ranges | tuple[float, float] | None,
    assume_nonnegative: bool,
) -> Selection:
    """Which pools, and what is known of their inputs.

    Raises:
        UsageError: for an unknown kind of pools or an empty range.
    """
    if pools not in {"max", "all"}:
        raise UsageError(f"pools must be max or all, not {pools!r}")
    return Selection(pools, tuple(only), tuple(skip), _ranges(input_range), assume_nonnegative)


def _ranges(given: Ranges | tuple[float, float] | None) -> tuple[tuple[str, tuple[float, float]], ...]:
    if given is None:
        return ()
    named = {"": given} if isinstance(given, tuple) else dict(given)
    for name, (low, high) in named.items():
        if isnan(low) or isnan(high) or low > high or low == inf or high == -inf:
            raise UsageError(f"the range {name or 'of the inputs'} [{low}, {high}] is empty; give LOW,HIGH")
    return tuple(named.items())


def _framework(model: Any) -> Framework:
    found = framework_of(model)
    if found is None:
        raise UsageError(f"a path or a model is needed, not {type(model).__name__}")
    return found


def _file(path: Any) -> Framework:
    """The framework of a file."""
    if not isinstance(path, str | os.PathLike):
        kind = type(path).__name__
        raise UsageError(
            f"a path is needed, not {kind}: this function takes a file; objects go to depool.torch.convert or "
            "depool.keras.convert"
        )
    return _framework(path)


def _planner(*, tune: bool) -> Planner:
    if not tune:
        return plan_site
    from depool.bench.tune import Tuner

    return Tuner()


def _onnx_only(**given: Any) -> None:
    for name, value in given.items():
        if value:
            raise UsageError(f"{name} is for ONNX files only; leave it out here")


def _nonnegative(seed: int) -> None:
    if seed < 0:
        raise UsageError(f"the seed must not be negative, not {seed}")


def fixed_shapes(given: Shapes | None) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Shapes by input name.

    Raises:
        UsageError: for a size below 1.
    """
    shapes = tuple((name, tuple(dims)) for name, dims in (given or {}).items())
    for name, dims in shapes:
        if not dims or min(dims) < 1:
            raise UsageError(f"the shape of {name!r} must be positive numbers, not {list(dims)}")
    return shapes
