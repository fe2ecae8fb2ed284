"""What a converted model remembers of its pools, in its metadata, for `verify` and for people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import inf, isinf
from typing import Any

import onnx

from depool.conversion import Conversion
from depool.errors import DepoolError, FileError
from depool.facts import InputFacts
from depool.geometry import PoolSpec
from depool.numerics import Rounding, Step
from depool.onnx.quantized import INTEGERS
from depool.onnx.site import PoolSite
from depool.onnx.spec import FLOATS
from depool.record import Record

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


def record_of(site: PoolSite, conversion: Conversion) -> Record:
    """The record of a conversion."""
    return Record.of(
        conversion,
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
    )


def write_records(model: onnx.ModelProto, records: Iterable[Record], given: Given, version: str) -> None:
    """Set the model's `depool.*` metadata; all other entries stay."""
    entries = {
        VERSION_KEY: version,
        GIVEN_KEY: json.dumps(plain(asdict(given)), separators=(",", ":")),
        KEY: json.dumps([plain(asdict(record)) for record in records], separators=(",", ":")),
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
        return tuple(record_from(item) for item in json.loads(found[0]))
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


def record_from(item: dict[str, Any]) -> Record:
    """A record from what `plain` made of it.

    Raises:
        ValueError, TypeError, KeyError, DepoolError: where it is not that.
    """
    texts = ("where", "scope", "op_type", "source", "output", "scheme", "form", "layout", "gate", "border", "reason")
    dtypes = {*FLOATS.values(), *INTEGERS.values()}
    if item["dtype"] not in dtypes or not all(isinstance(item[name], str) for name in texts):
        raise ValueError("a record's names or type are none")
    folded = tuple(str(name) for name in item.get("folded", ()))
    if len(folded) > 1:
        raise ValueError("a pool is folded into more than one convolution")
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
            "stages": _tuples(item["stages"]),
            "folded": folded,
        }
    )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """JSON has no infinities: an unknown bound is null."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and isinf(value) else value
