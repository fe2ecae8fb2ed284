"""What a converted model remembers of its pools, in its metadata, for `verify` and for people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import inf, isinf
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from depool.choose import Conversion
from depool.errors import DepoolError, FileError
from depool.facts import InputFacts
from depool.geometry import PoolSpec, Size
from depool.numerics import Rounding, Step, bound
from depool.onnx.find import PoolSite
from depool.onnx.quantized import INTEGERS
from depool.onnx.spec import AVERAGE_POOLS, FLOATS
from depool.program import Array

KEY = "depool.pools"
VERSION_KEY = "depool.version"
GIVEN_KEY = "depool.given"


@dataclass(frozen=True)
class Given:
    """What the user declared for a conversion, and `verify` must know to repeat it.

    Attributes:
        ranges: (low, high) by tensor name; "" stands for every input of the model.
        nonnegative: the inputs of the converted pools were declared >= 0.
        shapes: dimensions that were fixed, by input name.
        opset: that the model was raised to first.
    """

    ranges: tuple[tuple[str, tuple[float, float]], ...] = ()
    nonnegative: bool = False
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    opset: int | None = None

    def after(self, earlier: Given) -> Given:
        """What has been declared in all, where the model was converted before."""
        return Given(
            tuple((dict(earlier.ranges) | dict(self.ranges)).items()),
            self.nonnegative or earlier.nonnegative,
            tuple((dict(earlier.shapes) | dict(self.shapes)).items()),
            self.opset or earlier.opset,
        )


@dataclass(frozen=True)
class Record:
    """One converted pool.

    Attributes:
        where: its name, with the path of its scope.
        scope: that path.
        op_type: of the original node.
        source, output: the tensors between which its convolutions stand.
        inner: the tensors between them that the original has and the conversion may not.
        spec, sizes, channels, dtype: its geometry and type; sizes are None where dynamic.
        facts: what was assumed of `source`.
        scheme, form, layout, gate, border, reason: how it was converted, and what licenses its border.
        rounding: what the promised bound is computed from.
    """

    where: str
    scope: str
    op_type: str
    source: str
    output: str
    inner: tuple[str, ...]
    spec: PoolSpec
    sizes: tuple[Size, ...]
    channels: int
    dtype: str
    facts: InputFacts
    scheme: str
    form: str
    layout: str
    gate: str
    border: str
    reason: str
    rounding: Rounding

    @property
    def average(self) -> bool:
        """Whether it is an average pool."""
        return self.op_type in AVERAGE_POOLS

    @property
    def exact(self) -> bool:
        """Whether bit-exactness was asked for."""
        return self.gate in {"Y", "K"} and self.border != "mask"

    def rounding_bound(self, max_abs: Array, dtype: npt.DTypeLike) -> Array:
        """What two honest computations may differ by, window by window.

        An average rounds in the oracle as well, so there it is twice the bound.
        """
        return np.asarray(bound(self.rounding, max_abs, dtype)) * (2 if self.average else 1)


def record_of(site: PoolSite, conversion: Conversion) -> Record:
    """The record of a conversion."""
    return Record(
        where=site.where,
        scope=site.scope.path,
        op_type=site.node.op_type,
        source=site.source,
        output=site.output,
        inner=site.inner,
        spec=site.spec,
        sizes=site.sizes,
        channels=site.channels,
        dtype=site.dtype,
        facts=site.facts,
        scheme=conversion.scheme,
        form=conversion.form,
        layout=conversion.channels,
        gate=conversion.gate,
        border=conversion.border.rule,
        reason=conversion.border.reason,
        rounding=conversion.program.rounding,
    )


def write_records(model: onnx.ModelProto, records: Iterable[Record], given: Given, version: str) -> None:
    """Set the model's `depool.*` metadata; all other entries stay."""
    entries = {
        VERSION_KEY: version,
        GIVEN_KEY: json.dumps(_plain(asdict(given)), separators=(",", ":")),
        KEY: json.dumps([_plain(asdict(record)) for record in records], separators=(",", ":")),
    }
    for key, value in entries.items():
        found = [entry for entry in model.metadata_props if entry.key == key]
        entry = found[0] if found else model.metadata_props.add(key=key)
        entry.value = value


def read_records(model: onnx.ModelProto) -> tuple[Record, ...]:
    """The records of a converted model; none where it has no such metadata.

    Raises:
        FileError: where the metadata are not what depool writes.
    """
    found = [entry.value for entry in model.metadata_props if entry.key == KEY]
    if not found:
        return ()
    try:
        return tuple(_record(item) for item in json.loads(found[0]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, DepoolError) as error:
        raise FileError(f"the model's {KEY} metadata are damaged ({error}); convert the original again") from error


def read_given(model: onnx.ModelProto) -> Given:
    """What the user declared when this model was converted; nothing where it was not.

    Raises:
        FileError: where the metadata are not what depool writes.
    """
    found = [entry.value for entry in model.metadata_props if entry.key == GIVEN_KEY]
    if not found:
        return Given()
    try:
        item = {name: _tuples(value) for name, value in json.loads(found[0]).items()}
        ends = item.pop("ranges")
        ranges = tuple((n, (-inf if lo is None else lo, inf if hi is None else hi)) for n, (lo, hi) in ends)
        return Given(ranges=ranges, **item)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FileError(
            f"the model's {GIVEN_KEY} metadata are damaged ({error}); convert the original again"
        ) from error


def _record(item: dict[str, Any]) -> Record:
    texts = ("where", "scope", "op_type", "source", "output", "scheme", "form", "layout", "gate", "border", "reason")
    dtypes = {*FLOATS.values(), *INTEGERS.values()}
    if item["dtype"] not in dtypes or not all(isinstance(item[name], str) for name in texts):
        raise ValueError("a record's names or type are none")
    facts = dict(item["facts"])
    facts["lower"] = -inf if facts["lower"] is None else float(facts["lower"])
    facts["upper"] = inf if facts["upper"] is None else float(facts["upper"])
    rounding = dict(item["rounding"])
    steps = rounding["steps"]
    rounding["steps"] = tuple(Step(int(s["ulps"]), _tuples(s["sums"]), float(s["growth"])) for s in steps)
    return Record(
        **item
        | {
            "spec": PoolSpec(**{name: _tuples(value) for name, value in item["spec"].items()}),
            "sizes": _tuples(item["sizes"]),
            "inner": _tuples(item["inner"]),
            "facts": InputFacts(**facts),
            "rounding": Rounding(**rounding),
        }
    )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """JSON has no infinities: an unknown bound is null."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and isinf(value) else value
