"""Find -> plan -> splice over the modules of an nn.Module."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn

from depool.choose import Channels, Choice, FormName, Scheme
from depool.errors import NotConverted, Refusal, Refused, UsageError
from depool.facts import InputFacts
from depool.objects import Converted, Wishes
from depool.record import Record
from depool.target import Target, named
from depool.torch.compare import check_forward
from depool.torch.facts import nonnegative_inputs
from depool.torch.functional import lift, named_in_code, not_traceable
from depool.torch.pool import DTYPES, ConvPool, conversion_of, plan
from depool.torch.spec import CONVERTIBLE, GEOMETRY, geometry, is_pool, kind_of, kind_of_name
from depool.torch.watch import Seen, arguments, watch


def convert(
    module: nn.Module,
    example_inputs: Any = None,
    *,
    scheme: Scheme = "auto",
    form: FormName = "auto",
    channels: Channels = "auto",
    target: str | Target = "pytorch",
    exact: bool = False,
    pairing: str = "ab|cd",
    pools: str = "all",
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    assume_nonnegative: bool = False,
    allow_partial: bool = False,
) -> nn.Module:
    """A copy of a module whose pools are convolutions, ReLUs, sums and concatenations; the module stays as it is.

    Args:
        module: any nn.Module; its MaxPool, AvgPool, AdaptiveMaxPool and AdaptiveAvgPool modules are replaced, and
            calls of the functions of these names (F.max_pool2d, ...) in a forward that torch.fx can trace.
        example_inputs: a tensor, a tuple of arguments, or a dict of keyword arguments, on which the module is run
            once, in evaluation and without gradients. Adaptive pools need them, and signed padded pools are cheaper
            with them; a pool that depends on their size refuses others.
        scheme: which maxima: ``tree``, ``separable``, ``shallow`` or ``auto``.
        form: ``branched``, ``concat`` (the published network), ``sequential`` or ``auto``.
        channels: ``grouped``, ``depthwise``, ``dense`` or ``auto``.
        target: what a consumer behind PyTorch accepts; asymmetric pads are always written as longer kernels.
        exact: bit-exact for all |x| <= MAX / 2.
        pairing: of a 2x2 tree: ``ab|cd``, ``ac|bd`` or ``ad|bc``.
        pools: ``all``, or ``max`` to leave average pools.
        only: patterns of the paths of pools to convert, such as ``features.*``.
        skip: patterns of the paths of pools to leave.
        assume_nonnegative: the inputs of the selected pools are known to be >= 0.
        allow_partial: leave refused pools as they are instead of failing.

    Returns:
        The copy. Its attribute ``depool`` (a `depool.objects.Converted`) says what was done; its state_dict has the
        keys of the original, less nothing and plus nothing.

    Raises:
        NotConverted: a selected pool was refused.
        UsageError: an argument makes no sense, or the module does not run on the example inputs.
    """
    if not isinstance(module, nn.Module) or isinstance(module, torch.jit.ScriptModule):
        kind = type(module).__name__
        raise UsageError(f"an nn.Module is needed, not {kind}; convert before torch.jit.script or torch.compile")
    if pools not in {"max", "all"}:
        raise UsageError(f"pools must be max or all, not {pools!r}")
    wishes = Wishes(
        Choice(scheme, form, channels, target, exact, pairing),
        pools,
        tuple(only),
        tuple(skip),
        assume_nonnegative,
        allow_partial,
    )
    try:
        made = copy.deepcopy(module)
    except (RuntimeError, TypeError) as error:
        raise UsageError(f"the module cannot be copied ({error})") from error
    return _converted(made, example_inputs, wishes)


def _converted(model: nn.Module, example_inputs: Any, wishes: Wishes) -> nn.Module:
    args, kwargs = arguments(example_inputs)
    first = watch(model, args, kwargs) if example_inputs is not None else None
    owners = dict(filter(itemgetter(1), map(_named, model.modules()))) if first is None else first.owners
    refusals: list[Refusal] = []
    said: set[str] = set()
    for path, owner in list(model.named_modules()):
        if owner in owners:
            lifted = lift(owner, path, owners[owner], wishes)
            refusals += lifted.refusals
            said |= lifted.stay
    if first is None:
        return replace_pools(model, {}, nonnegative_inputs(model), refusals, wishes)
    again = watch(model, args, kwargs) if owners else first
    for path, owner in list(model.named_modules()):
        for name in sorted(again.owners.get(owner, ())):
            where = f"{path}.{name}".strip(".")
            if name in CONVERTIBLE and wishes.selects(kind_of_name(name), where) and where not in said:
                refused = not_traceable(f"{name} is called from outside of it, such as from a hook").refusal
                refusals.append(replace(refused, where=where))
    native = copy.deepcopy(model)
    result = replace_pools(model, again.seen, nonnegative_inputs(model), refusals, wishes)
    done: Any = result.depool
    check_forward(
        first.output,
        native,
        result,
        [record.where for record in done.records if is_pool(native.get_submodule(record.where))],
        args,
        kwargs,
    )
    result.depool = replace(done, inputs=_inputs(model, args, kwargs))
    return result


def _named(module: nn.Module) -> tuple[nn.Module, set[str]]:
    return module, named_in_code(module)


def replace_pools(
    model: nn.Module,
    seen: Mapping[nn.Module, Seen],
    facts: Mapping[nn.Module, InputFacts],
    already: Sequence[Refusal],
    wishes: Wishes,
) -> nn.Module:
    """Replace the pooling modules of a module that nobody else holds.

    Args:
        model: to be changed.
        seen: what its pools get, where it is known.
        facts: what is known of that.
        already: refusals of pools that are no modules.
        wishes: how, and which pools.

    Returns:
        The module, or what replaces it if it is a pool itself.

    Raises:
        NotConverted: a selected pool was refused.
    """
    # PyTorch's convolutions pad alike at both ends, whatever is to read the model later
    choice = replace(wishes.choice, target=replace(named(wishes.choice.target), asymmetric_pads=False, auto_pad=False))
    refusals = [refusal for refusal in already if refusal.code != "NOT_A_MAX_POOL"]
    default = next((p.dtype for p in model.parameters() if p.dtype in DTYPES), torch.get_default_dtype())
    device = next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    records: list[Record] = []
    left = [refusal for refusal in already if refusal.code == "NOT_A_MAX_POOL"]
    made: dict[nn.Module, ConvPool] = {}
    before: Any = getattr(model, "depool", None) or Converted((), (), (), ())
    for path, pool in list(model.named_modules()):
        if not is_pool(pool):
            continue
        try:
            found = geometry(pool)
        except Refused as refused:
            reason = replace(refused.refusal, where=path)
            ours = reason.code != "NOT_A_MAX_POOL" and wishes.selects(kind_of(pool), path)
            (refusals if ours else left).append(reason)
            continue
        if not wishes.selects(found.kind, path):
            continue
        known = facts.get(pool, InputFacts())
        if wishes.nonnegative and known.lower < 0:
            known = InputFacts(lower=0.0, reason="declared by assume_nonnegative", declared=True)
        called = seen.get(pool, Seen())
        dtype = next(iter(called.dtypes)) if len(called.dtypes) == 1 else default
        try:
            if dtype not in DTYPES:
                raise _dtype(dtype)
            planned = plan(found, frozenset(called.shapes), known, choice, DTYPES[dtype])
            made[pool] = _like(pool, ConvPool(planned, dtype, device))
        except Refused as refused:
            refusals.append(replace(refused.refusal, where=path))
            continue
        conversion = conversion_of(made[pool])
        records.append(
            Record.of(
                conversion,
                where=path,
                source=path,
                op_type=type(pool).__name__,
                spec=conversion.spec,
                sizes=planned.sizes,
                channels=planned.channels,
                dtype=DTYPES[dtype],
                facts=known,
            )
        )
    if wishes.only and not (made or refusals):
        raise UsageError(f"no pool is named like {', '.join(wishes.only)}; print(module) shows the names")
    if refusals and not wishes.allow_partial:
        raise NotConverted(tuple(refusals))
    result = replaced(model, made)
    conversions = tuple(map(conversion_of, made.values()))
    result.depool = Converted(  # type: ignore[assignment]
        (*before.records, *records),
        (*before.conversions, *conversions),
        tuple(refusals),
        tuple(left),
        before.inputs,
    )
    return result


def _inputs(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[str, tuple[int, ...], str], ...]:
    """The example inputs by the names of the forward's arguments; nothing where not all are tensors."""
    try:
        bound = inspect.signature(model.forward).bind(*args, **kwargs).arguments
    except TypeError:
        return ()
    if not all(isinstance(value, Tensor) for value in bound.values()):
        return ()
    return tuple((name, tuple(x.shape), str(x.dtype).removeprefix("torch.")) for name, x in bound.items())


def replaced(model: nn.Module, made: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Put modules in the places of others, also where several names share one; returns the new root."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and child in made:
                parent._modules[name] = made[child]
    return made.get(model, model)


def _like(pool: nn.Module, made: ConvPool) -> ConvPool:
    """With the hooks and the mode of the pool, and its geometry for forwards that read it."""
    for name, value in vars(pool).items():
        if name in GEOMETRY or ("hooks" in name and value):
            setattr(made, name, value)
    return made.train(pool.training)


def _dtype(dtype: torch.dtype) -> Refused:
    return Refused(
        "DTYPE",
        f"its input is {dtype}, and convolutions need floating-point numbers of 16 bits or more.",
        "Convert the model before its tensors get this type.",
    )
