"""The converter itself: are time and memory linear in the model, and do weights stay on disk?

    python benchmarks/converter.py                     1,000 pools, the line from 250 to 2,000, and 4 GB of weights
    python benchmarks/converter.py --pools 1000        one model of so many pools
    python benchmarks/converter.py --gigabytes 4       one model with so many gigabytes of external data
    python benchmarks/converter.py --profile 1000      where the time goes
    python benchmarks/converter.py --json out.json     the numbers too

Each conversion is `depool convert --no-verify` in a process of its own: seconds from start to end, and the largest
memory that it held. The weights are a sparse file, made in no time; the conversion copies it. Exits with 1 where
1,000 pools take ten seconds or more, or 4 GB of weights take 1 GB of memory or more.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import depool

SECONDS = 10.0
MEMORY = 2**30
LINE = (250, 500, 1000, 2000)

CHILD = """
import json, resource, sys, time
start = time.perf_counter()
from depool.cli import main
sys.argv = ["depool", "convert", sys.argv[1], "--no-verify", "-q"]
try:
    main()
except SystemExit as stopped:
    code = stopped.code
seconds = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_SELF)
memory = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps([code, seconds, used.ru_utime + used.ru_stime, memory]))
"""


@dataclass(frozen=True)
class Conversion:
    """One conversion.

    Attributes:
        model: what was converted.
        pools: how many pools it has.
        weights: bytes of its external data.
        seconds: from start to end, imports included.
        processor: seconds of them that a processor worked on it, which a busy machine does not change as much.
        memory: the most bytes that the process held.
    """

    model: str
    pools: int
    weights: int
    seconds: float
    processor: float
    memory: int


def stack(pools: int) -> onnx.ModelProto:
    """A chain of Conv, Relu and a 3x3 pool of stride 1; every tenth pool is 5x5, and every fifth has no Relu before."""
    rng = np.random.default_rng(0)
    nodes, weights, value = [], [], "x"
    for i in range(pools):
        weights.append(numpy_helper.from_array(rng.normal(size=(8, 8, 1, 1)).astype(np.float32), f"w{i}"))
        nodes.append(helper.make_node("Conv", [value, f"w{i}"], [f"c{i}"], name=f"conv{i}"))
        value = f"c{i}"
        if i % 5:
            nodes.append(helper.make_node("Relu", [value], [f"r{i}"], name=f"relu{i}"))
            value = f"r{i}"
        size = 3 if i % 10 else 5
        window = {"kernel_shape": [size] * 2, "pads": [size // 2] * 4}
        nodes.append(helper.make_node("MaxPool", [value], [f"p{i}"], name=f"pool{i}", **window))
        value = f"p{i}"
    return _model(nodes, weights, (1, 8, 16, 16), value)


def heavy(folder: Path, gigabytes: float) -> Path:
    """Two pools between fully connected layers whose weights lie in one sparse external file."""
    width = 16384
    layers = round(gigabytes * 2**30 / (4 * width * width))
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p"], name="pool1", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("MaxPool", ["p"], ["q"], name="pool2", kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Flatten", ["q"], ["h0"], name="flatten"),
    ]
    weights = []
    for i in range(layers):
        tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[width, width])
        tensor.data_location = TensorProto.EXTERNAL
        for key, number in (("offset", i * 4 * width**2), ("length", 4 * width**2)):
            tensor.external_data.add(key=key, value=str(number))
        tensor.external_data.add(key="location", value="heavy.bin")
        weights.append(tensor)
        nodes.append(helper.make_node("MatMul", [f"h{i}", f"w{i}"], [f"h{i + 1}"], name=f"dense{i}"))
    path = folder / "heavy.onnx"
    path.write_bytes(_model(nodes, weights, (1, 16, 64, 64), f"h{layers}").SerializeToString())
    with (folder / "heavy.bin").open("wb") as file:
        file.truncate(layers * 4 * width**2)
    return path


def converted(path: Path, pools: int, weights: int = 0) -> Conversion:
    """Convert a file in a process of its own.

    Raises:
        RuntimeError: where the conversion fails.
    """
    command = [sys.executable, "-c", CHILD, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own words
    code, seconds, processor, memory = json.loads(done.stdout)
    if code:
        raise RuntimeError(f"{path.name}: depool convert exits with {code}")
    return Conversion(path.stem, pools, weights, seconds, processor, memory)


def print_profile(pools: int) -> None:
    """The functions that take most time, with all that they call."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "stack.onnx"
        onnx.save(stack(pools), path)
        depool.convert(path, verify=False, force=True)
        with cProfile.Profile() as profile:
            depool.convert(path, verify=False, force=True)
    pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


def main() -> int:
    """Convert what was asked for."""
    parser = argparse.ArgumentParser(description="Time the converter.")
    parser.add_argument("--pools", type=int, help="convert a model of so many pools")
    parser.add_argument("--gigabytes", type=float, help="convert a model with so much external data")
    parser.add_argument("--profile", type=int, help="profile the conversion of so many pools")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    given = parser.parse_args()
    if given.profile:
        print_profile(given.profile)
        return 0
    everything = given.pools is None and given.gigabytes is None
    made: list[Conversion] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for pools in LINE if everything else filter(None, [given.pools]):
            path = folder / f"{pools} pools.onnx"
            onnx.save(stack(pools), path)
            made.append(_shown(converted(path, pools)))
        gigabytes = 4.0 if everything else given.gigabytes
        if gigabytes:
            made.append(_shown(converted(heavy(folder, gigabytes), 2, (folder / "heavy.bin").stat().st_size)))
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in made], indent=1) + "\n", encoding="utf-8")
    slow = any(one.pools <= 1000 and not one.weights and one.seconds >= SECONDS for one in made)
    return 1 if slow or any(one.weights and one.memory >= MEMORY for one in made) else 0


def _shown(one: Conversion) -> Conversion:
    gigabytes = f", {one.weights / 2**30:.1f} GiB of weights" if one.weights else ""
    times = f"{one.seconds:6.2f} s ({one.processor:.2f} s of a processor)"
    print(f"{one.pools:5} pools{gigabytes}: {times}, {one.memory / 2**20:5.0f} MiB", flush=True)
    return one


def _model(
    nodes: list[onnx.NodeProto], weights: list[TensorProto], shape: tuple[int, ...], result: str
) -> onnx.ModelProto:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    made = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", [given], [made], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    sys.exit(main())
