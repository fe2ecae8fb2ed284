"""Models saved by torch.export (.pt2): read without running what is in them (archive.py), converted, written."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from depool.errors import FileError, Refusal, Refused, UsageError
from depool.objects import Wishes
from depool.onnx.files import check_there
from depool.torch.archive import unsafe
from depool.torch.facts import nonnegative_in
from depool.torch.functional import lift_call
from depool.torch.spec import WITH_INDICES, function_name, kind_of_name, rank_of
from depool.torch.splice import replace_pools
from depool.torch.watch import Seen

Program = torch.export.ExportedProgram


def load(path: str) -> Program:
    """Read a .pt2 file.

    Raises:
        FileError: where there is none, where it is not one, and where it holds pickles or machine code.
    """
    check_there(path)
    try:
        with ZipFile(path) as archive:
            said = unsafe(archive)
    except Exception as error:  # a damaged archive may fail in any way
        raise FileError(f"{path}: is not a model saved by torch.export.save, or is cut off") from error
    if said:
        raise FileError(f"{path}: {said}")
    try:
        with without_notices():
            return torch.export.load(path)
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise FileError(
            f"{path}: PyTorch {torch.__version__} cannot load it ({type(error).__name__}: {text})"
        ) from error


def convert(program: Program, wishes: Wishes) -> tuple[Program, nn.Module]:
    """An exported program whose pools are convolutions, exported again with the same inputs and dynamic sizes.

    Returns:
        The program, and the module that it was exported from, whose pools are still modules; the module's
        attribute ``depool`` says what was done.

    Raises:
        NotConverted: a selected pool was refused.
        UsageError: it holds no example inputs, or cannot be exported again.
    """
    if program.example_inputs is None:
        raise UsageError("the file holds no example inputs, without which it cannot be exported again")
    args, kwargs = program.example_inputs
    model = module_of_program(program)
    if not isinstance(model, fx.GraphModule):
        raise UsageError("the exported program has no graph")
    seen, refusals = _lifted(model, wishes)
    model.recompile()
    facts = nonnegative_in(model, model.graph)
    made = replace_pools(model, seen, facts, refusals, wishes)
    try:
        with without_notices():
            again = torch.export.export(made, args, kwargs, dynamic_shapes=_dynamic(program))
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise UsageError(f"the converted program cannot be exported again: {type(error).__name__}: {text}") from error
    return again, made


def module_of_program(program: Program) -> nn.Module:
    """The module of a program, without its guards: these are Python code from the file."""
    with without_notices():
        made: nn.Module = program.module(check_guards=False)
    return made


def _lifted(model: fx.GraphModule, wishes: Wishes) -> tuple[dict[nn.Module, Seen], list[Refusal]]:
    """Every pooling call as a module, with the type and shape that the export knew of its input."""
    seen: dict[nn.Module, Seen] = {}
    refusals: list[Refusal] = []
    for node in list(model.graph.nodes):
        name = function_name(node.target) if node.op == "call_function" else None
        if name is None:
            continue
        value = node.args[0].meta.get("val")
        try:
            pool = _lifted_call(model, node, name)
        except Refused as refused:
            if wishes.selects(kind_of_name(name), node.name):
                refusals.append(replace(refused.refusal, where=node.name))
            continue
        if value is not None:
            shape = tuple(n if isinstance(n, int) else None for n in value.shape[-rank_of(pool) - 1 :])
            seen[pool] = Seen({value.dtype}, {shape})
    return seen, refusals


def _lifted_call(model: fx.GraphModule, node: fx.Node, name: str) -> nn.Module:
    """A call that gives indices too counts as one without where nobody reads them."""
    if name not in WITH_INDICES and not name.startswith("adaptive_max"):
        return lift_call(model, model.graph, node, name)
    firsts = list(node.users)
    if all(user.target is operator.getitem and user.args[1] == 0 for user in firsts):
        pool = lift_call(model, model.graph, node, name.removesuffix("_with_indices"))
        for user in firsts:
            call = user.args[0]
            call.meta = dict(user.meta)  # type: ignore[union-attr]
            user.replace_all_uses_with(call)  # type: ignore[arg-type]
            model.graph.erase_node(user)
        return pool
    raise Refused(
        "INDICES_USED",
        "the positions of its maxima are read, which convolutions do not give.",
        "Leave this pool out (--skip NAME).",
    )


def _dynamic(program: Program) -> Any:
    """The dimensions of the inputs that were dynamic, and stay so within their bounds."""
    placeholders = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    known: dict[Any, Any] = {}
    for symbol, bounds in program.range_constraints.items():
        if symbol.is_Symbol:
            limits = {name: int(end) for name, end in (("min", bounds.lower), ("max", bounds.upper)) if end.is_Integer}
            known[symbol] = torch.export.Dim(str(symbol), **limits)

    def dim(expression: Any) -> Any:
        """A size, or a multiple of one plus a number."""
        if expression in known:
            return known[expression]
        symbols = list(expression.free_symbols)
        if len(symbols) != 1 or symbols[0] not in known:
            return torch.export.Dim.DYNAMIC
        factor = expression.coeff(symbols[0], 1)
        rest = expression - factor * symbols[0]
        if not (factor.is_Integer and rest.is_Integer):
            return torch.export.Dim.DYNAMIC
        scaled = known[symbols[0]] * int(factor) if factor != 1 else known[symbols[0]]
        return scaled + int(rest) if rest else scaled

    def dims(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return None
        symbolic: list[Any] = list(value.shape)
        return {axis: dim(n.node.expr) for axis, n in enumerate(symbolic) if not isinstance(n, int)}

    inputs = [dims(placeholders.get(str(name))) for name in program.graph_signature.user_inputs]
    args, kwargs = pytree.tree_unflatten(inputs, program.call_spec.in_spec)
    return (*args, *kwargs.values())


def save(program: Program, path: Path) -> None:
    """Write a .pt2 file."""
    with without_notices():
        torch.export.save(program, path)


@contextmanager
def without_notices() -> Iterator[None]:
    """Without PyTorch's warnings about its own use of what it deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
