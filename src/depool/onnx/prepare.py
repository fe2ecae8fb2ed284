"""The model as the user wants it read: opset raised, input shapes fixed."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from depool.errors import FileError, UsageError
from depool.onnx.graph import standard_opset


def prepared(
    model: onnx.ModelProto, shapes: tuple[tuple[str, tuple[int, ...]], ...], opset: int | None
) -> onnx.ModelProto:
    """The model with its opset raised and its input shapes fixed; the model itself if nothing is asked.

    Raises:
        FileError: where onnx cannot convert it.
        UsageError: where a shape does not fit.
    """
    newest = onnx.defs.onnx_opset_version()
    if opset is not None and not 1 <= opset <= newest:
        raise FileError(f"--opset {opset}: the installed onnx knows opsets up to {newest}")
    if opset is not None and opset < standard_opset(model.opset_import):
        raise UsageError(
            f"--opset {opset}: the model has opset {standard_opset(model.opset_import)}; it is only raised"
        )
    if opset is not None and opset != standard_opset(model.opset_import):
        lost = _lost_by_converter(model)
        if lost:
            raise FileError(f"--opset {opset}: onnx's version converter would drop {lost}; export at that opset")
        try:
            model = onnx.version_converter.convert_version(model, opset)
        except Exception as error:  # onnx raises bare RuntimeErrors here
            text = " ".join(str(error).split())[:200]
            raise FileError(f"--opset {opset}: onnx cannot convert this model ({text})") from error
    if shapes:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        fix_input_shapes(copy, dict(shapes))
        model = copy
    return model


def _lost_by_converter(model: onnx.ModelProto) -> str:
    """What onnx's version converter leaves out without a word."""
    return ", ".join(
        name
        for name, there in {
            "model-local functions (inline them first, with onnx.inliner)": model.functions,
            "training_info": model.training_info,
            "sparse initialisers": model.graph.sparse_initializer,
            "quantisation annotations": model.graph.quantization_annotation,
        }.items()
        if there
    )


def fix_input_shapes(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Write these dimensions into the declarations of the model's inputs.

    Raises:
        UsageError: for a name that is no input, or another number of dimensions.
    """
    inputs = {value.name: value for value in model.graph.input}
    for name, dims in shapes.items():
        if name not in inputs:
            raise UsageError(f"--shape {name}: the model has no such input; it has {', '.join(sorted(inputs))}")
        tensor = inputs[name].type.tensor_type
        if tensor.HasField("shape") and len(tensor.shape.dim) != len(dims):
            raise UsageError(f"--shape {name}: the input has {len(tensor.shape.dim)} dimensions, not {len(dims)}")
        for declared, wanted in zip(tensor.shape.dim, dims, strict=False):
            if declared.dim_value > 0 and declared.dim_value != wanted:
                raise UsageError(f"--shape {name}: the input's {declared.dim_value} cannot become {wanted}")
        del tensor.shape.dim[:]
        for size in dims:
            tensor.shape.dim.add().dim_value = size
