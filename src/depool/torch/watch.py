"""One run of a model on example inputs: what its pools get, and who calls pooling functions."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from depool.errors import UsageError
from depool.geometry import Size
from depool.torch.spec import function_name, is_pool, rank_of


@dataclass
class Seen:
    """The inputs of one pool: their types, and their shapes [C, *spatial]; None for a size that may be any."""

    dtypes: set[torch.dtype] = field(default_factory=set)
    shapes: set[tuple[Size, ...]] = field(default_factory=set)


class Watch(TorchFunctionMode):
    """What was seen.

    Args:
        originals: the modules that are told of, by those that run.

    Attributes:
        owners: modules whose own forward calls pooling functions, and the names of these.
        seen: by pooling module.
        output: what the model gave.
    """

    def __init__(self, originals: Mapping[nn.Module, nn.Module]) -> None:
        super().__init__()
        self._originals = originals
        self.output: Any = None
        self.owners: dict[nn.Module, set[str]] = {}
        self.seen: dict[nn.Module, Seen] = {}
        self._stack: list[nn.Module] = []

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward begins."""
        self._stack.append(self._originals[module])
        x = args[0] if args else kwargs.get("input")
        if is_pool(module) and isinstance(x, Tensor):
            called = self.seen.setdefault(self._originals[module], Seen())
            called.dtypes.add(x.dtype)
            called.shapes.add(tuple(x.shape[-rank_of(module) - 1 :]))

    def leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """A forward ends."""
        del module, args, kwargs, output
        self._stack.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """A function is called."""
        del types
        name = function_name(func)
        if name is not None and self._stack and not is_pool(self._stack[-1]):
            self.owners.setdefault(self._stack[-1], set()).add(name)
        return func(*args, **(kwargs or {}))


def arguments(example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A tensor, a tuple of arguments, or a dict of keyword arguments, as a call takes them."""
    if isinstance(example_inputs, dict):
        return (), example_inputs
    if isinstance(example_inputs, tuple | list):
        return tuple(example_inputs), {}
    return (() if example_inputs is None else (example_inputs,)), {}


def watch(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Watch:
    """Run a copy of a model, which counts and remembers in its place, and see what its pools get.

    Raises:
        UsageError: where it does not run.
    """
    copied = copy.deepcopy(model)
    originals = dict(zip(copied.modules(), model.modules(), strict=True))
    watching = Watch(originals)
    for module in originals:
        if isinstance(module, torch.jit.ScriptModule):
            continue  # takes no such hooks, and holds no pools that could be replaced
        module.register_forward_pre_hook(watching.enter, with_kwargs=True)
        module.register_forward_hook(watching.leave, with_kwargs=True, always_call=True)
    try:
        with watching:
            watching.output = run(copied, args, kwargs)
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise UsageError(f"the module does not run on the example inputs: {type(error).__name__}: {text}") from error
    return watching


def run(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a model, which stays in evaluation, gives for copies of the arguments, without gradients.

    Each run draws the same random numbers, and leaves the random state as it was.
    """
    args, kwargs = pytree.tree_map_only(Tensor, lambda x: x.detach().clone(), (args, kwargs))
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(0)
        return model.eval()(*args, **kwargs)
