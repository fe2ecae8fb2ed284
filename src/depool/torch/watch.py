"""One run of a model on example inputs: what its pools get, and who calls pooling functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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

    Attributes:
        owners: modules whose own forward calls pooling functions, and the names of these.
        seen: by pooling module.
    """

    def __init__(self) -> None:
        super().__init__()
        self.owners: dict[nn.Module, set[str]] = {}
        self.seen: dict[nn.Module, Seen] = {}
        self._stack: list[nn.Module] = []

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward begins."""
        self._stack.append(module)
        x = args[0] if args else kwargs.get("input")
        if is_pool(module) and isinstance(x, Tensor):
            called = self.seen.setdefault(module, Seen())
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
    """Run a model once, in evaluation, without gradients, and without drawing from the random state.

    Raises:
        UsageError: where it does not run.
    """
    watching = Watch()
    modes = {module: module.training for module in model.modules()}
    handles = []
    for module in modes:
        handles.append(module.register_forward_pre_hook(watching.enter, with_kwargs=True))
        handles.append(module.register_forward_hook(watching.leave, with_kwargs=True, always_call=True))
    try:
        model.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=()), watching:
            model(*args, **kwargs)
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise UsageError(f"the module does not run on the example inputs: {type(error).__name__}: {text}") from error
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    return watching
