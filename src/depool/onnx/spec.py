"""A pooling node's attributes -> PoolSpec."""

from __future__ import annotations

import onnx

from depool.errors import Refused
from depool.geometry import PoolSpec
from depool.onnx.graph import attributes

MAX_POOLS = ("MaxPool", "GlobalMaxPool")
AVERAGE_POOLS = ("AveragePool", "GlobalAveragePool")
NOT_OURS = ("LpPool", "GlobalLpPool", "MaxUnpool", "MaxRoiPool")
FLOATS: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
}


def pool_spec(node: onnx.NodeProto, rank: int) -> PoolSpec:
    """The geometry that a MaxPool or AveragePool node states, for so many spatial axes.

    Raises:
        Refused: ATTRIBUTES, where they are missing or contradict each other.
    """
    if any(attribute.ref_attr_name for attribute in node.attribute):
        raise Refused(
            "ATTRIBUTES",
            "its geometry is an attribute of the function it stands in, and can differ from call to call.",
            "Inline the model's functions first (onnx.inliner.inline_local_functions).",
        )
    found = attributes(node)
    kernel = tuple(found.get("kernel_shape", ()))
    pads = tuple(found.get("pads", ())) or (0,) * 2 * rank
    strides, dilations = (tuple(found.get(name, ())) or (1,) * rank for name in ("strides", "dilations"))
    if len(kernel) != rank or len(pads) != 2 * rank or len(strides) != rank or len(dilations) != rank:
        raise _attributes(f"its attributes do not fit {rank} spatial axes (kernel_shape {list(kernel)}).")
    auto_pad = found.get("auto_pad", "NOTSET")
    if auto_pad not in {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"}:
        raise _attributes(f"auto_pad {auto_pad!r} is unknown.")
    if min((*kernel, *strides, *dilations)) < 1 or min(pads) < 0:
        raise _attributes("kernel_shape, strides and dilations must be positive, and pads not negative.")
    explicit = tuple(zip(pads[:rank], pads[rank:], strict=True)) if auto_pad == "NOTSET" else ()
    return PoolSpec(
        kernel,
        strides,
        explicit,
        dilations,
        bool(found.get("ceil_mode", 0)),
        auto_pad,
        "average" if node.op_type in AVERAGE_POOLS else "max",
        bool(found.get("count_include_pad", 0)),
    )


def _attributes(reason: str) -> Refused:
    return Refused("ATTRIBUTES", reason, "Check the model with onnx.checker.")
