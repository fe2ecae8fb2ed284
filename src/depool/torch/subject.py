"""A module or exported program of PyTorch, for verification: arrays in, arrays out, in evaluation."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from depool.errors import UsageError
from depool.numerics import TYPES
from depool.objects import Converted
from depool.program import Array
from depool.torch import exported
from depool.torch.pool import DTYPES, ConvPool
from depool.torch.spec import Geometry, geometry, is_pool, kind_of, native
from depool.torch.splice import like, replaced
from depool.verification.subjects import Apply, Framework, Port, Seen


class TorchSubject:
    """A module, or the module of an exported program."""

    framework: Framework = "torch"

    def __init__(self, model: nn.Module | torch.export.ExportedProgram, name: str = "") -> None:
        self._program = model if isinstance(model, torch.export.ExportedProgram) else None
        self.module = model if isinstance(model, nn.Module) else exported.module_of_program(model)
        self.name = name or type(self.module).__name__
        found: Any = model
        self.converted: Converted | None = getattr(found, "depool", None)
        weights = (*self.module.parameters(), *self.module.buffers())
        self._device = next((tensor.device for tensor in weights), torch.device("cpu"))
        self.repeats = self._device.type == "cpu"
        known_types = (tensor.dtype for tensor in weights if tensor.dtype in DTYPES)
        self.dtype = DTYPES[next(known_types, torch.get_default_dtype())]
        known = self._program
        self.inputs = _arguments(self.module, self.converted) if known is None else _ports(known)

    def __call__(
        self, arrays: Sequence[Array], seen: Seen | None = None, instead: Mapping[str, Any] | None = None
    ) -> dict[str, Array]:
        """Run in evaluation, without gradients; the module's mode is as before afterwards.

        Raises:
            UsageError: where it does not run.
        """
        args, kwargs = self._call([to_tensor(array, self._device) for array in arrays])
        modes = {module: module.training for module in self.module.modules()}
        handles = []
        for path, module in self.module.named_modules():
            if seen is not None and is_pool(module):
                handles.append(module.register_forward_pre_hook(_watcher(path, seen)))
            if instead is not None and path in instead:
                handles.append(module.register_forward_hook(_giver(instead[path]), prepend=True))
        try:
            for module in modes:
                module.training = False
            with torch.no_grad(), torch.random.fork_rng(devices=()):
                result = self.module(*args, **kwargs)
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise UsageError(f"{self.name} does not run: {type(error).__name__}: {text}") from error
        finally:
            for handle in handles:
                handle.remove()
            for module, training in modes.items():
                module.training = training
        leaves = pytree.tree_flatten_with_path(result)[0]
        return {f"output{pytree.keystr(path)}": to_array(value) for path, value in leaves if isinstance(value, Tensor)}

    def _call(self, tensors: list[Tensor]) -> tuple[Any, Any]:
        if self._program is None:
            named = dict(zip((port.name for port in self.inputs), tensors, strict=True))
            takes = inspect.signature(self.module.forward).parameters
            only = {name for name, p in takes.items() if p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY}}
            return ((), named) if named.keys() <= only else (tuple(tensors), {})
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, Tensor) else leaf for leaf in _leaves(self._program)]
        args, kwargs = pytree.tree_unflatten(leaves, self._program.call_spec.in_spec)
        return args, kwargs

    def sides(self, where: str, converted: TorchSubject) -> tuple[Apply, Apply]:
        """The original's pool, or PyTorch's own of the same geometry where a function was called; and the new one."""
        made = dict(converted.module.named_modules()).get(where)
        if not isinstance(made, ConvPool):
            raise UsageError(f"{converted.name}: has no pool as convolutions at {where!r}")
        own = dict(self.module.named_modules()).get(where, native(made.planned.geometry))
        return _apply(own, self._device), _apply(made, converted._device)

    def layers(self, paths: Sequence[str]) -> Mapping[str, Any]:
        """The modules at these paths."""
        return {path: module for path, module in self.module.named_modules() if path in paths}

    def averages(self, paths: Sequence[str]) -> Mapping[str, Any]:
        """Average pools of the same windows."""
        found = self.layers(paths)
        return {path: _average(pool) for path, pool in found.items() if is_pool(pool) and kind_of(pool) == "max"}

    def with_pools(self, converted: TorchSubject, paths: Sequence[str]) -> TorchSubject:
        """Itself; where functions are called, the converted module with PyTorch's own pools at these paths."""
        if len(self.layers(paths)) == len(paths):
            return self
        with exported.without_notices():
            copied = copy.deepcopy(converted.module)
        made: dict[nn.Module, nn.Module] = {}
        for path, pool in copied.named_modules():
            if path in paths and isinstance(pool, ConvPool):
                made[pool] = like(pool, native(pool.planned.geometry))
        again = TorchSubject(replaced(copied, made), self.name)
        again.inputs, again._program = self.inputs, self._program
        return again

    def called_like(self, original: TorchSubject) -> None:
        """Take the inputs, and the way to call, of the program that this module was made from."""
        self.inputs, self._program = original.inputs, original._program

    def state(self) -> Mapping[str, Array]:
        """The state_dict; the buffers of converted pools are not in it."""
        return {name: to_array(value) for name, value in self.module.state_dict().items() if isinstance(value, Tensor)}


def saved(path: str) -> TorchSubject:
    """The subject of a .pt2 file."""
    return TorchSubject(exported.load(path), path)


def to_tensor(array: Array, device: torch.device) -> Tensor:
    """bfloat16 by its bits, since NumPy's own types do not have it."""
    whole = np.ascontiguousarray(array)
    if whole.dtype.name == "bfloat16":
        return torch.from_numpy(whole.view(np.int16)).view(torch.bfloat16).to(device)
    return torch.from_numpy(whole).to(device)


def to_array(tensor: Tensor) -> Array:
    """The other way."""
    here = tensor.detach().cpu().contiguous()
    if here.dtype == torch.bfloat16:
        found: Array = here.view(torch.int16).numpy().view(TYPES["bfloat16"])
        return found
    plain: Array = here.numpy()
    return plain


def _apply(module: nn.Module, device: torch.device) -> Apply:
    def apply(x: Array) -> Array:
        with torch.no_grad():
            return to_array(module(to_tensor(x, device)))

    return apply


def _giver(made: nn.Module) -> Any:
    """A hook that gives what another module computes; its own hooks stand at the pool already."""

    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        del module, output
        return made.forward(*args)

    return hook


def _watcher(path: str, seen: Seen) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        del module
        if args and isinstance(args[0], Tensor) and args[0].numel():
            seen(path, to_array(args[0]).astype(np.float64))

    return hook


def _average(pool: nn.Module) -> nn.Module:
    found = geometry(pool)
    if found.spec is None:
        return native(Geometry("average", found.rank, outputs=found.outputs))
    # an average pool knows no dilation: its window has the extent of the other's
    extent = tuple((k - 1) * d + 1 for k, d in zip(found.spec.kernel_shape, found.spec.dilations, strict=True))
    spec = replace(found.spec, kind="average", kernel_shape=extent, dilations=(1,) * found.rank)
    return native(Geometry("average", found.rank, spec))


def _arguments(module: nn.Module, converted: Converted | None) -> tuple[Port, ...]:
    """The example inputs of a conversion, else the forward's arguments without a default."""
    if converted is not None and converted.inputs:
        return tuple(Port(*given) for given in converted.inputs)
    names = [
        name
        for name, p in inspect.signature(module.forward).parameters.items()
        if p.default is p.empty and p.kind in {p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY, p.KEYWORD_ONLY}
    ]
    return tuple(Port(name, None, "") for name in names)


def _ports(program: torch.export.ExportedProgram) -> tuple[Port, ...]:
    """The tensors among a program's inputs, with the shapes of its example inputs: these are in its bounds."""
    names, leaves = program.graph_signature.user_inputs, _leaves(program)
    return tuple(
        Port(str(name), tuple(leaf.shape), str(leaf.dtype).removeprefix("torch."))
        for name, leaf in zip(names, leaves, strict=True)
        if isinstance(leaf, Tensor)
    )


def _leaves(program: torch.export.ExportedProgram) -> list[Any]:
    if program.example_inputs is None:
        raise UsageError("the exported program holds no example inputs, so it cannot be run on inputs like these")
    return pytree.tree_flatten(program.example_inputs)[0]
