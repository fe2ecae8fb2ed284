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
from depool.torch.convert import replaced
from depool.torch.pool import DTYPES, ConvPool
from depool.torch.spec import Geometry, geometry, is_pool, kind_of, native
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
        known = self._program
        self.inputs = _arguments(self.module, self.converted) if known is None else _ports(known)

    def __call__(self, arrays: Sequence[Array], seen: Seen | None = None) -> dict[str, Array]:
        """Run in evaluation, without gradients; the module's mode is as before afterwards.

        Raises:
            UsageError: where it does not run.
        """
        tensors = [to_tensor(array, self._device) for array in arrays]
        args, kwargs = self._call(tensors)
        modes = {module: module.training for module in self.module.modules()}
        handles = []
        if seen is not None:
            for path, module in self.module.named_modules():
                if is_pool(module):
                    handles.append(module.register_forward_pre_hook(_watcher(path, seen)))
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
        args, kwargs = pytree.tree_unflatten(tensors, self._program.call_spec.in_spec)
        return args, kwargs

    def sides(self, where: str, converted: TorchSubject) -> tuple[Apply, Apply]:
        """The original's pool, or PyTorch's own of the same geometry where a function was called; and the new one."""
        made = dict(converted.module.named_modules()).get(where)
        if not isinstance(made, ConvPool):
            raise UsageError(f"{converted.name}: has no pool as convolutions at {where!r}")
        own = dict(self.module.named_modules()).get(where, native(made.planned.geometry))
        return _apply(own, self._device), _apply(made, converted._device)

    def like(self, original: TorchSubject) -> None:
        """Take the inputs, and the way to call, of the program that this module was made from."""
        self.inputs, self._program = original.inputs, original._program

    def restored(self, original: TorchSubject) -> TorchSubject | None:
        """With PyTorch's own pools where convolutions stand."""
        del original
        copied = self._copy()
        pools = [module for module in copied.modules() if isinstance(module, ConvPool)]
        made: dict[nn.Module, nn.Module] = {pool: native(pool.planned.geometry) for pool in pools}
        return self._again(replaced(copied, made)) if made else None

    def averaged(self, paths: Sequence[str]) -> TorchSubject | None:
        """With average pools; None where no module is at these paths."""
        copied = self._copy()
        pools = {path: module for path, module in copied.named_modules() if path in paths and is_pool(module)}
        made = {module: _average(module) for module in pools.values() if kind_of(module) == "max"}
        return self._again(replaced(copied, made)) if made else None

    def _copy(self) -> nn.Module:
        with exported.without_notices():
            return copy.deepcopy(self.module)

    def _again(self, module: nn.Module) -> TorchSubject:
        made = TorchSubject(module, self.name)
        made.like(self)
        return made

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
    dtype = next((p.dtype for p in module.parameters() if p.dtype in DTYPES), torch.get_default_dtype())
    names = [
        name
        for name, p in inspect.signature(module.forward).parameters.items()
        if p.default is p.empty and p.kind in {p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY, p.KEYWORD_ONLY}
    ]
    return tuple(Port(name, None, DTYPES[dtype]) for name in names)


def _ports(program: torch.export.ExportedProgram) -> tuple[Port, ...]:
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    found = []
    for name in map(str, program.graph_signature.user_inputs):
        value = values[name]
        shape = tuple(n if isinstance(n, int) else None for n in value.shape)
        found.append(Port(name, shape, str(value.dtype).removeprefix("torch.")))
    return tuple(found)
