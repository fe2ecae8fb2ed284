"""Operators that pass values on: moved, picked, repeated, joined, padded or interpolated; and fresh ones of shapes."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np
import onnx

from depool.onnx.bounds.call import Call, Rule
from depool.onnx.bounds.interval import Range, hull, outward


def _inference(call: Call) -> bool:
    if call.opset < 7:
        return call.get("is_test", 0) != 0
    flag = call.array(2, np.zeros(1))
    return flag is not None and not flag.any()


def _inside(call: Call) -> bool:
    return call.text("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize"


def _padded(call: Call) -> Range | None:
    if call.text("mode", "constant") != "constant":
        return None
    if call.opset >= 11:
        value = call.x(2).bounds if call.has(2) else (0.0, 0.0)
    else:
        value = outward((call.get("value", 0.0),) * 2, 2**-7, 0.0)
    return hull(call.x().bounds, value)


def _filled(call: Call) -> Range:
    value = call.attributes.get("value")
    array = np.zeros(1) if value is None else onnx.numpy_helper.to_array(value).astype(np.float64)
    return float(array.min()), float(array.max())


def _interpolated(call: Call) -> Range | None:
    if call.text("mode", "nearest") not in {"linear", "bilinear"} or not _inside(call):
        return None
    return outward(call.x().bounds, call.number.slack, call.number.tiny)


_MOVED = (
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Gather", "Split"),
    *("GatherElements", "GatherND", "Expand", "Tile", "DepthToSpace", "SpaceToDepth"),
    *("MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin"),
)
# when the output's elements are elements of the input
PASSED: dict[str, Callable[[Call], bool]] = {
    **dict.fromkeys(_MOVED, lambda _: True),
    "Dropout": _inference,
    "Pad": lambda call: call.text("mode", "constant") in {"edge", "reflect", "wrap"},
    "Resize": lambda call: call.text("mode", "nearest") == "nearest" and _inside(call),
    "Upsample": lambda call: call.text("mode", "nearest") == "nearest",
}
SELECTED: dict[str, Rule] = {
    "Concat": lambda call: hull(*call.every()),
    "Pad": _padded,
    "Shape": lambda _: (0.0, inf),
    "Size": lambda _: (0.0, inf),
    "ConstantOfShape": _filled,
}
COMPUTED: dict[str, Rule] = {
    "Resize": _interpolated,  # a mean of neighbours
    "Upsample": _interpolated,
}
