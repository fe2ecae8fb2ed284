"""What a conversion would do and cost, counted before it is done."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from depool.choice import Choice
from depool.conversion import Conversion
from depool.cost import activation_elements, nominal
from depool.errors import Refusal
from depool.geometry import Size
from depool.numerics import TYPES, statement
from depool.onnx import files
from depool.onnx.caveats import Caveat, caveats
from depool.onnx.find import Left, Selection, find
from depool.onnx.graph import standard_opset
from depool.onnx.siblings import plan_all
from depool.onnx.site import PoolSite
from depool.program import Conv, Program
from depool.target import named

LARGE_BYTES = 64 * 2**20
"""Dense weights above this are warned about."""


@dataclass(frozen=True)
class Cost:
    """Counted for one sample at `sizes`.

    Attributes:
        sizes: the spatial sizes that were counted with; the real ones, or nominal ones where dynamic.
        nominal: whether they are.
        comparisons: of the native pool.
        macs: multiply-accumulates of the convolutions, zeros of dense kernels included.
        parameters: weights and biases added.
        weight_bytes: what they add to the file.
        activation_bytes: the largest total of tensors alive at once.
        relu_layers: on the longest path.
        relus_per_output: neurons behind a ReLU for each output element.
    """

    sizes: tuple[int, ...]
    nominal: bool
    comparisons: int
    macs: int
    parameters: int
    weight_bytes: int
    activation_bytes: int
    relu_layers: int
    relus_per_output: float


@dataclass(frozen=True, eq=False)
class Planned:
    """A pool, and what convert would make of it.

    Attributes:
        site: the pool in its place.
        preceded_by: the operator that makes its input.
        conversion: how it would be converted, or None where it is refused.
        refusal: why it is refused, or None.
        promise: the floating-point statement.
        cost: of the conversion.
        warning: what the user should know before converting, or "".
    """

    site: PoolSite
    preceded_by: str
    conversion: Conversion | None
    refusal: Refusal | None
    promise: str = ""
    cost: Cost | None = None
    warning: str = ""


@dataclass(frozen=True, eq=False)
class Survey:
    """A model's pools.

    Attributes:
        name: the model's file.
        opset: of the model.
        ir_version: of the model.
        file_bytes: of the model without external data.
        pools: the selected ones.
        left: refused, or not selected with a reason.
        refused: how many selected pools convert would refuse.
        caveats: what the target will not take in the rest of the model.
    """

    name: str
    opset: int
    ir_version: int
    file_bytes: int
    pools: tuple[Planned, ...]
    left: tuple[Refusal, ...]
    refused: int
    caveats: tuple[Caveat, ...] = ()


def survey(source: files.Source, selection: Selection, choice: Choice) -> Survey:
    """Find the selected pools, and plan each without touching the model."""
    model = source.model
    pools: list[Planned] = []
    left: list[Refusal] = []
    refused = 0
    opset = 0
    found = list(find(model, source.folder, selection))
    made = plan_all(found, choice)
    for i, item in enumerate(found):
        if isinstance(item, Left):
            left.append(item.refusal)
            refused += item.selected
            continue
        opset = max(opset, item.scope.opset)
        planned = _planned(item, made[i])
        refused += planned.refusal is not None
        pools.append(planned)
    return Survey(
        source.name,
        opset or standard_opset(model.opset_import),
        model.ir_version,
        model.ByteSize(),
        tuple(pools),
        tuple(left),
        refused,
        caveats(model, source.folder, named(choice.target), _gone(pools)),
    )


def _gone(pools: list[Planned]) -> frozenset[str]:
    """The outputs of the nodes that convert would replace: pools, and what is absorbed with them."""
    sites = [planned.site for planned in pools if planned.refusal is None]
    return frozenset(name for site in sites for name in (site.output, site.node.output[0], *site.inner))


def _planned(site: PoolSite, conversion: Conversion | Refusal) -> Planned:
    made_by = site.scope.producers.get(site.source)
    before = made_by.op_type if made_by is not None else "input"
    if isinstance(conversion, Refusal):
        return Planned(site, before, None, conversion)
    price = cost(conversion, site.channels, site.sizes, site.dtype)
    warning = ""
    if conversion.channels == "dense" and price.weight_bytes > LARGE_BYTES:
        grouped = price.weight_bytes / site.channels
        warning = (
            f"dense kernels for {site.channels} channels weigh {price.weight_bytes / 2**20:.0f} MiB; "
            f"--channels grouped would need {grouped / 2**20:.1f} MiB"
        )
    return Planned(
        site,
        before,
        conversion,
        None,
        statement(conversion.program.rounding, TYPES.get(site.dtype, site.dtype), site.facts.max_abs),
        price,
        warning,
    )


def cost(conversion: Conversion, channels: int, sizes: tuple[Size, ...], dtype: str) -> Cost:
    """What a conversion costs on an input of so many channels and these sizes."""
    program = conversion.program
    counted = nominal(sizes, conversion.window.extent)
    outputs = prod(conversion.window.out_sizes(counted)) * channels
    item = np.dtype(TYPES.get(dtype, dtype)).itemsize
    wide = channels if conversion.channels == "dense" else 1
    parameters = _parameters(program, 1 if conversion.channels == "folded" else channels, wide)
    return Cost(
        sizes=counted,
        nominal=None in sizes,
        comparisons=outputs * (prod(conversion.spec.kernel_shape) - 1),
        macs=program.macs(counted) * channels * wide,
        parameters=parameters,
        weight_bytes=parameters * item,
        activation_bytes=activation_elements(program, counted) * channels * item,
        relu_layers=program.relu_layers,
        relus_per_output=float(program.relus_per_output),
    )


def _parameters(program: Program, channels: int, wide: int) -> int:
    """Weights and biases of all convolutions, each C x C / group times its kernel; C is 1 where it is folded."""
    convs = [node for node in program.nodes if isinstance(node, Conv)]
    return sum(node.kernel.size * channels * wide + len(node.bias or ()) * channels for node in convs)
