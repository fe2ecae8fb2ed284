"""What the passes of converted pools take in ONNX Runtime: what stands between strided pools alone and their goals.

    python benchmarks/onnxruntime_passes.py

One thread, float32. Strided pools on input >= 0, node by node: medians of the runtime's profile in microseconds, and
the tensors that each node reads and writes, whole. These pools, and networks with random weights, in turns, as ratios
to the native one:

depool          the conversion
fewest taps     the same passes, each with the fewest taps that give results of the same sizes: no pool any more, but
                what that many convolutions by channels take at least, whatever their taps are
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from architectures import ARCHITECTURES
from geometries import MAIN
from graphs import pool_alone
from onnx import helper, numpy_helper
from rows import Effort, print_rows, rows_of
from runtime import NATIVE, OURS, converted

from depool.bench.sessions import Bound
from depool.choice import Choice
from depool.program import Array
from depool.verification.models import Feeds

RUNS = 300
FEWEST = "fewest taps"


@dataclass(frozen=True)
class Ran:
    """A node that ran.

    Attributes:
        what: its operator and name.
        microseconds: the median.
        size: of the tensors that it reads and writes, in bytes; of some of them strides skip rows.
    """

    what: str
    microseconds: float
    size: int


def profile(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Ran]:
    """Each node of the optimised graph, in the order in which they ran."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for _ in range(RUNS):
            session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: dict[str, list[float]] = {}
    ran: dict[str, Ran] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            shapes = event["args"]["input_type_shape"] + event["args"]["output_type_shape"]
            size = sum(4 * prod(shape) for entry in shapes for shape in entry.values())
            times.setdefault(name, []).append(event["dur"])
            ran[name] = Ran(f"{event['args']['op_name']} {name[-32:]}", statistics.median(times[name]), size)
    return list(ran.values())


def fewest_taps(model: onnx.ModelProto) -> onnx.ModelProto:
    """The passes of a converted model's pools, each with the fewest taps that give results of the same sizes: 1 or 2.

    Sizes are static, convolutions by channels, as depool writes them where nothing else is asked for.
    """
    made = onnx.shape_inference.infer_shapes(model)
    values = (*made.graph.input, *made.graph.value_info, *made.graph.output)
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    weights = {tensor.name: tensor for tensor in made.graph.initializer}
    for node in made.graph.node:
        if node.op_type != "Conv" or "/depool/" not in node.name:
            continue
        before, after = shapes[node.input[0]][2:], shapes[node.output[0]]
        window = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        axes = list(zip(before, after[2:], window["strides"], strict=True))
        extents = [max(1, size - out * stride + 1) for size, out, stride in axes]
        ends = [max(0, (out - 1) * stride + e - size) for (size, out, stride), e in zip(axes, extents, strict=True)]
        kernel = [min(2, extent) for extent in extents]
        window |= {"kernel_shape": kernel, "dilations": [max(1, e - 1) for e in extents], "pads": [0, 0, *ends]}
        del node.attribute[:]
        node.attribute.extend(helper.make_attribute(name, value) for name, value in window.items())
        weight = np.full((after[1], 1, *kernel), 0.5, np.float32)
        weights[node.input[1]].CopyFrom(numpy_helper.from_array(weight, node.input[1]))
    return made


def timed(case: str, models: Mapping[str, onnx.ModelProto], feeds: Feeds, seconds: float) -> None:
    """In turns."""
    timings = Effort(seconds).time({name: Bound(model, feeds, 1) for name, model in models.items()})
    print_rows(rows_of("passes", case, timings, NATIVE))


def main() -> None:
    """Print it for the strided pools of the suite, and the ratios for whole networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each pool; networks get five times as many")
    seconds = parser.parse_args().seconds
    for geometry in (one for one in MAIN if max(one.strides) > 1):
        native = pool_alone(geometry.shape, *geometry.window)
        _, (made,), feeds = converted(native, {OURS: Choice()}, {}, signed=False)
        models = {NATIVE: native, OURS: made.source.model, FEWEST: fewest_taps(made.source.model)}
        for name, model in models.items():
            print(f"  {geometry.name}: {name}")
            for ran in profile(model, feeds):
                print(f"    {ran.microseconds:8.0f} us {ran.size / 1e6:7.1f} MB   {ran.what}")
        timed(geometry.name, models, feeds, seconds)
    for name, make in ARCHITECTURES.items():
        native = make()
        _, (made,), feeds = converted(native, {OURS: Choice()}, {}, signed=True)
        models = {NATIVE: native, OURS: made.source.model, FEWEST: fewest_taps(made.source.model)}
        timed(name, models, feeds, 5 * seconds)


if __name__ == "__main__":
    main()
