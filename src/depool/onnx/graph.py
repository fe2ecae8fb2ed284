"""A read-only view of one scope of an ONNX model: its main graph, a subgraph, or a model-local function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

Array = npt.NDArray[Any]
LARGEST = 2**23
"""Elements of an external tensor that are still loaded to look at."""


@dataclass(frozen=True, eq=False, repr=False)
class Scope:
    """One graph or function body, indexed.

    Attributes:
        container: the GraphProto or FunctionProto itself.
        path: where it stands: "" for the main graph, "if_1/then_branch/" or "function ns:Block/" for others.
        opset: the version of the standard operators.
        producers: the node that makes a value.
        consumers: the nodes that read a value, those in nested subgraphs included.
        outputs: names that leave this scope as its results.
        parent: the scope whose values are visible here.
        folder: where external data lies.
    """

    container: Any
    path: str
    opset: int
    producers: dict[str, onnx.NodeProto]
    consumers: dict[str, list[onnx.NodeProto]]
    outputs: frozenset[str]
    parent: Scope | None
    folder: Path
    _initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)

    @property
    def is_function(self) -> bool:
        """Whether this is the body of a model-local function, which has no initialisers."""
        return isinstance(self.container, onnx.FunctionProto)

    @property
    def nodes(self) -> Any:
        """The scope's nodes, in topological order."""
        return self.container.node

    def constant(self, name: str) -> Array | None:
        """The value's array where it is a constant of the model, and not one too large to be worth loading, else None.

        Raises:
            OSError, ValueError: where it lies in an external file that is missing or too short.
        """
        if name in self._initializers:
            tensor = self._initializers[name]
            if tensor.data_location == onnx.TensorProto.EXTERNAL and prod(tensor.dims) > LARGEST:
                return None
            return numpy_helper.to_array(tensor, base_dir=str(self.folder))
        node = self.producers.get(name)
        if node is not None:
            return constant_node(node, self.folder)
        return self.parent.constant(name) if self.parent is not None else None


def constant_node(node: onnx.NodeProto, folder: Path) -> Array | None:
    """The array of a Constant node, else None."""
    if node.op_type != "Constant" or node.domain not in {"", "ai.onnx"}:
        return None
    for attribute in node.attribute:
        if attribute.name == "value":
            return numpy_helper.to_array(attribute.t, base_dir=str(folder))
        if attribute.name in {"value_float", "value_floats"}:
            return np.asarray(onnx.helper.get_attribute_value(attribute), np.float32)
        if attribute.name in {"value_int", "value_ints"}:
            return np.asarray(onnx.helper.get_attribute_value(attribute), np.int64)
    return None


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes by name; strings decoded."""
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute if not a.ref_attr_name}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


def subgraphs(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """The graphs inside a node's attributes, by attribute name."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.name, attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from ((f"{attribute.name}[{i}]", graph) for i, graph in enumerate(attribute.graphs))


def inner_graphs(container: Any, path: str) -> Iterator[tuple[str, onnx.GraphProto]]:
    """The graphs right inside a scope, each with a path of its own that outlives changes of the nodes around it.

    A node is called by its name; by its first output where it has none, or shares it with another such node.
    """
    found = [(node, graphs) for node in container.node if (graphs := list(subgraphs(node)))]
    count = Counter(node.name for node, _ in found)
    for node, graphs in found:
        label = node.name if node.name and count[node.name] == 1 else f"{node.op_type}:{next(iter(node.output), '')}"
        yield from ((f"{path}{label}/{name}/", graph) for name, graph in graphs)


def scopes(model: onnx.ModelProto, folder: Path) -> Iterator[Scope]:
    """The main graph, its subgraphs at any depth, and every model-local function with its subgraphs."""
    opset = standard_opset(model.opset_import)
    yield from _scope(model.graph, "", opset, None, folder, overridable=model.ir_version >= 4)
    for function in model.functions:
        path = function_path(function)
        yield from _scope(
            function, path, standard_opset(function.opset_import) or opset, None, folder, overridable=True
        )


def function_path(function: onnx.FunctionProto) -> str:
    """The path of a model-local function's scope."""
    overload = f":{function.overload}" if function.overload else ""
    return f"function {function.domain}:{function.name}{overload}/"


def standard_opset(imports: Any) -> int:
    """The version of the standard operators that is imported, 0 if none."""
    return max((entry.version for entry in imports if entry.domain in {"", "ai.onnx"}), default=0)


def _scope(
    container: Any, path: str, opset: int, parent: Scope | None, folder: Path, *, overridable: bool
) -> Iterator[Scope]:
    producers = {name: node for node in container.node for name in node.output if name}
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in container.node:
        for name in reads(node):
            consumers.setdefault(name, []).append(node)
    initializers = {}
    if isinstance(container, onnx.GraphProto):
        outputs = frozenset(value.name for value in container.output)
        # from IR 4 an initialiser that is also an input is only a default, which a caller may override
        inputs = {value.name for value in container.input} if overridable else set()
        initializers = {tensor.name: tensor for tensor in container.initializer if tensor.name not in inputs}
    else:
        outputs = frozenset(container.output)
    scope = Scope(container, path, opset, producers, consumers, outputs, parent, folder, initializers)
    yield scope
    for inner, graph in inner_graphs(container, path):
        yield from _scope(graph, inner, opset, scope, folder, overridable=overridable)


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """The values that a node reads, those that its subgraphs take from outside included."""
    yield from filter(None, node.input)
    for _, graph in subgraphs(node):
        own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        own |= {name for inner in graph.node for name in inner.output}
        for inner in graph.node:
            yield from (name for name in reads(inner) if name not in own)
        yield from (value.name for value in graph.output if value.name not in own)
