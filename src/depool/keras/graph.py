"""The way through a model: every operation by its path, and every use of one with what is known of its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras.src.backend import compute_output_spec  # Keras has no public way to run code on shapes alone

from depool.facts import InputFacts
from depool.geometry import Size
from depool.keras.calls import Call, calls_replaced
from depool.keras.facts import UNKNOWN, joined, result
from depool.keras.spec import pool


@dataclass(frozen=True)
class Use:
    """A place where an operation is called.

    Of several inputs the first is meant, but for the facts, which hold for all.

    Attributes:
        shape: of what it reads, batch included.
        dtype: of what it reads.
        facts: what is known of it.
        masked: whether a mask comes with it.
    """

    shape: tuple[Size, ...]
    dtype: str
    facts: InputFacts
    masked: bool


def operations(model: keras.Model) -> dict[str, Any]:
    """Every layer and operation of a model by its path, such as ``block/pool1``; a shared one by its first path."""
    return {path: op for path, op, _ in walk(model)}


def walk(model: keras.Model) -> Iterator[tuple[str, Any, bool]]:
    """(path, operation, whether it stands inside a layer that is no graph), each once, depth first."""
    seen: set[int] = set()
    taken: dict[str, int] = {}

    def visit(parent: Any, prefix: str, inside: bool) -> Iterator[tuple[str, Any, bool]]:
        for op in parts(parent):
            if id(op) in seen:
                continue
            seen.add(id(op))
            path = prefix + op.name
            taken[path] = taken.get(path, 0) + 1
            path = path if taken[path] == 1 else f"{path}#{taken[path]}"
            yield path, op, inside
            yield from visit(op, f"{path}/", inside or graph(op) is None)

    yield from visit(model, "", graph(model) is None)


def parts(op: Any) -> list[Any]:
    """What an operation consists of."""
    whole = graph(op)
    if whole is not None:
        return [inner for inner in whole.operations if not isinstance(inner, keras.layers.InputLayer)]
    return list(op._flatten_layers(include_self=False, recursive=False)) if isinstance(op, keras.Layer) else []


def inside(op: Any) -> list[Any]:
    """What an operation consists of, down to the last."""
    found = parts(op)
    return [*found, *(inner for part in found for inner in inside(part))]


def graph(op: Any) -> Any:
    """The graph that a Functional model, or a Sequential one that is built, runs; None for anything else."""
    if not isinstance(op, keras.Model) or type(op).call.__module__.partition(".")[0] != "keras":
        return None
    if isinstance(op, keras.Sequential):
        return op._functional
    return op if hasattr(op, "_nodes_by_depth") else None


def uses(model: keras.Model) -> dict[int, list[Use]]:
    """By id, how each operation of a model's graphs is used."""
    found: dict[int, list[Use]] = {}

    def run(whole: Any, given: InputFacts) -> list[InputFacts]:
        known = {id(tensor): given for tensor in whole.inputs}
        for node in _in_order(whole):
            facts = [known.get(id(tensor), UNKNOWN) for tensor in node.input_tensors]
            found.setdefault(id(node.operation), []).append(_use(node, joined(facts)))
            if _reads_more(node):
                facts.append(UNKNOWN)
            inner = graph(node.operation)
            if inner is None:
                _observe(node.operation, node.arguments.args, node.arguments.kwargs, found)
            outputs = node.output_tensors
            made = [result(node.operation, facts)] * len(outputs) if inner is None else run(inner, joined(facts))
            if len(made) == len(outputs):
                known |= zip(map(id, outputs), made, strict=True)
        return [known.get(id(tensor), UNKNOWN) for tensor in whole.outputs]

    whole = graph(model)
    if whole is not None:
        run(whole, UNKNOWN)
    elif model.built:
        shapes = model.get_build_config() or {}
        tensors = keras.tree.map_shape_structure(keras.KerasTensor, shapes.get("input_shape", ()))
        _observe(model, (tensors,), {}, found)
    return found


def _observe(op: Any, args: Any, kwargs: Any, found: dict[int, list[Use]]) -> None:
    """Note how an operation's own code uses the pools inside it, by having Keras trace that code."""
    pools = {str(id(inner)): inner for inner in inside(op) if pool(inner) is not None}
    if not pools:
        return

    def noting(key: str, call: Call) -> Call:
        def noted(x: Any, *more: Any, **words: Any) -> Any:
            masked = words.get("mask") is not None or getattr(x, "_keras_mask", None) is not None
            use = Use(tuple(x.shape), keras.backend.standardize_dtype(x.dtype), UNKNOWN, masked)
            found.setdefault(int(key), []).append(use)
            return call(x, *more, **words)

        return noted

    try:
        with calls_replaced(pools, noting):
            compute_output_spec(op, *args, **kwargs)
    except Exception:  # noqa: BLE001 - it is the user's code; a pool of which no use is known is refused
        found |= {int(key): [] for key in pools}


def _in_order(whole: Any) -> Iterator[Any]:
    """The calls of a graph, each after those it reads from, as Keras runs them."""
    for _, nodes in sorted(whole._nodes_by_depth.items(), reverse=True):
        yield from (node for node in nodes if not node.is_input)


def _use(node: Any, facts: InputFacts) -> Use:
    tensor = node.input_tensors[0]
    masked = getattr(tensor, "_keras_mask", None) is not None or node.arguments.kwargs.get("mask") is not None
    return Use(tuple(tensor.shape), str(tensor.dtype), facts, masked)


def _reads_more(node: Any) -> bool:
    """Whether a call has an argument of unknown value, such as a constant, beside the tensors of the graph."""
    leaves = keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
    return any(not (leaf is None or isinstance(leaf, (bool, keras.KerasTensor))) for leaf in leaves)
