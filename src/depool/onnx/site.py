"""A pool in its place in an ONNX model, and how it becomes convolutions there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import onnx

from depool.choice import Choice
from depool.choose import choices
from depool.conversion import Conversion
from depool.errors import Refused
from depool.facts import InputFacts
from depool.geometry import PoolSpec, Size
from depool.numerics import TYPES
from depool.onnx.graph import Scope
from depool.plan.horner import Described


@dataclass(frozen=True, eq=False)
class PoolSite:
    """One pool in its place.

    Attributes:
        node: the pool.
        scope: the graph it stands in.
        where: its name, with the scope's path.
        source, output: the names of the tensors that the convolutions will connect.
        spec: its geometry, an absorbed Pad included.
        sizes: spatial sizes of `source`.
        channels: of `source`.
        dtype: NumPy's name of the element type.
        facts: what is known of `source`.
        inner: tensors between `source` and `output` that go with the pool: of an absorbed Pad, or of
            the DequantizeLinear before it and the pool itself.
        scale: of an integer tensor.
        exact: whether the pool must be converted bit-exactly whatever the user asked.
    """

    node: onnx.NodeProto = field(repr=False)
    scope: Scope = field(repr=False)
    where: str
    source: str
    output: str
    spec: PoolSpec
    sizes: tuple[Size, ...]
    channels: int
    dtype: str
    facts: InputFacts
    inner: tuple[str, ...] = ()
    scale: float = 1.0
    exact: bool = False


def plan_site(site: PoolSite, choice: Choice, given: tuple[Conversion, ...] = (), stages: Described = ()) -> Conversion:
    """How a pool becomes convolutions; `given` and `stages` as `choose` takes them.

    Raises:
        Refused: where it cannot.
    """
    return ranked_site(site, choice, given, stages)[0]


def ranked_site(
    site: PoolSite, choice: Choice, given: tuple[Conversion, ...] = (), stages: Described = ()
) -> list[Conversion]:
    """The cheapest ways, cheapest first.

    Raises:
        Refused: where there is none.
    """
    wanted = replace(choice, exact=True) if site.exact else choice
    dtype = TYPES.get(site.dtype, site.dtype)
    found = choices(site.spec, site.sizes, site.facts, wanted, dtype, given, stages, site.channels)
    if found[0].channels == "folded" and site.scope.opset < 9:
        raise Refused(
            "OPSET_TOO_OLD",
            f"the model uses opset {site.scope.opset}, in which no Constant node can hold the shape of a Reshape.",
            "Give --opset 13 to raise the model's opset first, or leave out --channels folded.",
        )
    if site.scope.opset <= 6 and found[0].form == "branched":  # its Adds pass on an infinity, and a Conv makes it NaN
        wanted = replace(wanted, form="concat")
        found = choices(site.spec, site.sizes, site.facts, wanted, dtype, channels=site.channels)
    return found
