"""The forward around the pools, before and after: it may ask what its layers are, and must do the same.

Given   for layer in self.features: if isinstance(layer, nn.MaxPool2d): taps.append(x)
Result  no layer is one any more

So the original runs once more, its native pools still in place, but with what the new pools give as their results.
Then each number of the outputs must be the same, bit for bit: no rounding can explain a difference.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from depool.errors import NotConverted, Refused
from depool.torch.watch import run


def check_forward(
    original: Any,
    lifted: Any,
    native: nn.Module,
    result: nn.Module,
    paths: Sequence[str],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Compare forwards on the example inputs; says nothing of a model that differs from itself from run to run.

    Args:
        original: what the original gave.
        lifted: what it gave with modules in the place of its pooling functions.
        native: the original, its pooling functions modules too.
        result: the conversion.
        paths: where the two differ.
        args: the example inputs.
        kwargs: those with names.

    Raises:
        NotConverted: BEHAVES_OTHERWISE.
    """
    try:
        got = run(copy.deepcopy(result), args, kwargs)
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise _otherwise(f"does not run any more ({type(error).__name__}: {text})") from error
    # the first pair finds what replacing functions changed, the second what replacing modules changed
    for before, after, again in (
        (original, lifted, copy.deepcopy(native)),
        (run(_mocked(native, result, paths), args, kwargs), got, copy.deepcopy(result)),
    ):
        if not _same(before, after) and _same(after, run(again, args, kwargs)):
            raise _otherwise("gives other numbers for the same results of the pools")


def _mocked(native: nn.Module, result: nn.Module, paths: Sequence[str]) -> nn.Module:
    """A copy whose native pools give what the new ones do."""
    copied, new = copy.deepcopy(native), copy.deepcopy(result)
    for path in paths:
        hook = partial(_give, new.get_submodule(path))
        copied.get_submodule(path).register_forward_hook(hook, prepend=True, with_kwargs=True)
    return copied


def _give(pool: nn.Module, module: nn.Module, args: tuple[Any, ...], kwargs: Any, output: Any) -> Any:
    del module, output
    return pool.forward(*args, **kwargs)


def _same(a: Any, b: Any) -> bool:
    """Whether two outputs are bit for bit the same; objects that PyTorch cannot look into count by their type."""
    (ours, shape), (theirs, other) = pytree.tree_flatten(a), pytree.tree_flatten(b)
    return shape == other and all(map(_equal, ours, theirs))


def _equal(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        alike = (a.dtype, a.shape, a.layout) == (b.dtype, b.shape, b.layout)
        return alike and (a.layout != torch.strided or torch.equal(_bytes(a), _bytes(b)))
    return not isinstance(a, bool | int | float | str) or a == b or a != a


def _bytes(x: Tensor) -> Tensor:
    return x.detach().resolve_conj().resolve_neg().cpu().contiguous().flatten().view(torch.uint8)


def _otherwise(what: str) -> NotConverted:
    refused = Refused(
        "BEHAVES_OTHERWISE",
        f"the forward around the pools {what}.",
        "Let it not ask what its layers are (isinstance, type, hasattr), or leave those pools out (skip=...).",
    )
    return NotConverted((refused.refusal,))
