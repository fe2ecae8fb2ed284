"""Find the pools of an nn.Module, replace them, and compare what is around them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn

from depool.choice import Channels, Choice, FormName, Scheme
from depool.errors import Refusal, UsageError
from depool.objects import Wishes
from depool.target import Target
from depool.torch.compare import check_forward
from depool.torch.facts import nonnegative_inputs
from depool.torch.functional import lift, named_in_code, not_traceable
from depool.torch.spec import CONVERTIBLE, is_pool, kind_of_name
from depool.torch.splice import replace_pools
from depool.torch.watch import arguments, watch


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
            three times (four where its forwards call pooling functions), as copies, in evaluation and without
            gradients. Adaptive pools need them, and signed padded pools are cheaper with them; a pool that depends
            on their size refuses others. Only with them is the forward around the pools compared.
        scheme: which maxima: ``tree``, ``separable``, ``horner``, ``shallow`` or ``auto``.
        form: ``branched``, ``concat`` (the published network), ``sequential`` or ``auto``.
        channels: ``grouped``, ``depthwise``, ``dense``, ``folded`` (into the batch) or ``auto``.
        target: what a consumer behind PyTorch accepts; asymmetric pads are always written as longer kernels.
        exact: bit-exact for all ``|x| <= MAX / 2``.
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
        NotConverted: a selected pool was refused, or the forward around the pools does something else.
        UsageError: an argument makes no sense, or the module does not run on the example inputs.
    """
    if not isinstance(module, nn.Module) or isinstance(module, torch.jit.ScriptModule):
        kind = type(module).__name__
        raise UsageError(f"an nn.Module is needed, not {kind}; convert before torch.jit.script or torch.compile")
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
    pools = {path for path, module in native.named_modules() if is_pool(module)}
    paths = [record.where for record in done.records if record.where in pools]
    check_forward(first.output, again.output, native, result, paths, args, kwargs)
    result.depool = replace(done, inputs=_inputs(model, args, kwargs))
    return result


def _named(module: nn.Module) -> tuple[nn.Module, set[str]]:
    return module, named_in_code(module)


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
