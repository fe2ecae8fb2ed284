"""Every way to convert one pool: scheme, pairing, form, exactness; each with the ONNX file that depool makes of it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, get_args

import numpy as np
from onnx import TensorProto, helper

from depool.choice import Choice, FormName, Scheme
from depool.conversion import Conversion
from depool.errors import NotConverted, Refusal
from depool.explain.asked import Asked
from depool.explain.formulas import maps
from depool.gates import CLOSING, EXACT_Y, PAIR
from depool.numerics import statement
from depool.onnx import files
from depool.onnx.convert import Options, convert_model
from depool.plan.tree import PAIRINGS
from depool.program import Concat, Conv, Node, Program, sources
from depool.report.html.typeset import typeset

SCHEMA = 1
"""Of the embedded JSON; raised when a key changes its meaning or goes away."""
NAME, OPSET, IR_VERSION = "pool", 17, 8
SCHEMES: tuple[Scheme, ...] = ("tree", "separable", "shallow")
"""Those that are explained. Horner is there for speed; with it the page of a 4x4 pool would pass its limit."""


@dataclass(frozen=True, eq=False)
class Way:
    """One combination.

    Attributes:
        scheme: as of `depool convert`.
        pairing: alike; the first one but for trees over four elements.
        form: alike.
        exact: alike.
        conversion: what the pool becomes, or None where it is refused.
        model: the ONNX file's bytes.
        refusal: why it is refused, or None.
    """

    scheme: Scheme
    pairing: str
    form: FormName
    exact: bool
    conversion: Conversion | None
    model: bytes
    refusal: Refusal | None


def ways(asked: Asked) -> Iterator[Way]:
    """All combinations, converted in memory."""
    source = files.Source(_model(asked), Path.cwd(), NAME)
    forms = [f for f in get_args(FormName) if f != "auto"]
    for scheme, form, exact in product(SCHEMES, forms, (False, True)):
        paired = scheme == "tree" and prod(asked.spec.kernel_shape) == 4
        for pairing in PAIRINGS if paired else PAIRINGS[:1]:
            choice = Choice(scheme, form, exact=exact, pairing=pairing)
            try:
                made = convert_model(source, Options(choice))
            except NotConverted as error:
                yield Way(scheme, pairing, form, exact, None, b"", error.refusals[0])
            else:
                yield Way(scheme, pairing, form, exact, made.conversions[0], files.serialized(made.model), None)


def _model(asked: Asked) -> Any:
    """A model of the one pool."""
    spec = asked.spec
    (top, bottom), (left, right) = spec.pads
    attributes: dict[str, Any] = {
        "kernel_shape": spec.kernel_shape,
        "strides": spec.strides,
        "pads": (top, left, bottom, right),
    }
    node = helper.make_node("MaxPool", ["x"], ["max"], name=NAME, **attributes)
    sizes = {"x": asked.size, "max": spec.resolve(asked.size).out_sizes(asked.size)}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, *size]) for name, size in sizes.items())
    graph = helper.make_graph([node], NAME, [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def embedded(asked: Asked, found: list[Way]) -> dict[str, Any]:
    """What the page's scripts read; docs/see.md describes it."""
    spec = asked.spec
    networks: list[list[dict[str, Any]]] = []
    return {
        "schema": SCHEMA,
        "pool": {"kernel_shape": spec.kernel_shape, "strides": spec.strides, "pads": spec.pads},
        "size": asked.size,
        "programs": [_entry(way, spec.kernel_shape, networks) for way in found],
        "networks": networks,
    }


def _entry(way: Way, kernel_shape: tuple[int, ...], networks: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """A combination; its nodes go to `networks`, where they stand once however many combinations give them."""
    entry: dict[str, Any] = {"scheme": way.scheme, "pairing": way.pairing, "form": way.form, "exact": way.exact}
    if way.conversion is None or way.refusal is not None:
        refusal = way.refusal
        return entry | {"refusal": f"{refusal.code}: {refusal.reason}" if refusal else ""}
    program = way.conversion.program
    nodes = _nodes(program, kernel_shape)
    if nodes not in networks:
        networks.append(nodes)
    closing = [CLOSING] if way.scheme == "shallow" and prod(kernel_shape) > 4 else []
    gates = [EXACT_Y] if way.exact else [PAIR, *closing]
    return entry | {
        "refusal": None,
        "lemma": "; ".join(gate.lemma for gate in gates).replace("-", "−"),
        "promise": typeset(statement(program.rounding, "float32")),
        "bound": program.error_bound(1.0, "float32"),
        "relu_layers": program.relu_layers,
        "relus_per_output": float(program.relus_per_output),
        "border": way.conversion.border.rule,
        "network": networks.index(nodes),
        "onnx": base64.b64encode(way.model).decode(),
    }


def _nodes(program: Program, kernel_shape: tuple[int, ...]) -> list[dict[str, Any]]:
    named = maps(program, kernel_shape)[1:]
    return [
        {
            "op": type(node).__name__,
            "reads": sources(node),
            **_attributes(node),
            "maps": [[m.name, m.formula] for m in tensor],
        }
        for node, tensor in zip(program.nodes, named, strict=True)
    ]


def _attributes(node: Node) -> dict[str, Any]:
    if isinstance(node, Concat):
        return {"axis": node.axis}
    if not isinstance(node, Conv):
        return {}
    kernel = node.kernel
    taps = [[*at, _plain(kernel[tuple(at)])] for at in np.argwhere(kernel).tolist()]
    window = node.window
    return {
        "shape": kernel.shape,
        "taps": taps,  # in the evaluator's order
        "strides": window.strides,
        "dilations": window.dilations,
        "pads": window.pads,
    } | ({} if node.bias is None else {"bias": node.bias})


def _plain(weight: float) -> int | float:
    """Without a fraction where there is none: half as long."""
    return int(weight) if weight == int(weight) else float(weight)
