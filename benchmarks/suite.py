"""How fast are conversions? Medians of ratios, candidates in turns in one process, with quartiles.

    python benchmarks/suite.py --json out.json --models FOLDER      everything, about a quarter of an hour
    python benchmarks/suite.py --quick                              a glance at it
    python benchmarks/suite.py --section alone --section context    parts of it

alone    x -> pool in ONNX Runtime, against every scheme and the published 2x2 network taken literally
context  Conv3x3 -> Relu -> pool -> Conv3x3; padded pools without the Relu too, where their input is signed
wild     the pools of published models
grid     sixty pools: is the fastest candidate chosen?
peer     against a dense sequential rewriting with three maps per pair
whole    VGG19, ResNet50, SqueezeNet and Inception v1 with random weights, and the models of a folder
torch    PyTorch eager, both memory formats, in a process of its own
keras    Keras on TensorFlow and on JAX, compiled, in a process each

Only what gives the native pool's output is timed. Float32, batch 1, one thread unless --threads says otherwise. On a
busy machine --clock processor leaves out what others computed meanwhile; what they do to the caches stays.
At the end the limits that depool sets itself, and what was measured. Exits with 0 also where a limit is missed: a
busy machine proves nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path

import runtime
from limits import print_targets, targets
from rows import CLOCKS, Effort, Row, loaded, print_rows

import depool
from depool.bench.machine import machine

HERE = Path(__file__).parent
PACKAGES = ("numpy", "onnx", "onnxruntime", "torch", "keras", "tensorflow-cpu", "jax")


def apart(script: str, *options: str) -> Callable[[Effort], list[Row]]:
    """A section in a process of its own."""

    def run(effort: Effort) -> list[Row]:
        told = ["--seconds", str(effort.seconds), "--clock", effort.clock]
        command = [sys.executable, str(HERE / script), *options, *told]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own words
        return loaded(done.stdout[done.stdout.index("[{") :])

    return run


def main() -> None:
    """Run the sections that were asked for."""
    parser = argparse.ArgumentParser(description="Time conversions against native pools.")
    parser.add_argument("--section", action="append", help="alone, context, wild, grid, peer, whole, torch or keras")
    parser.add_argument("--quick", action="store_true", help="0.2 seconds for each case")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each case")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="processor is for a busy machine and one thread"
    )
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime")
    parser.add_argument("--models", type=Path, help="a folder of ONNX models for the section whole")
    parser.add_argument("--json", type=Path, help="write all of it here")
    given = parser.parse_args()
    effort = Effort(0.2 if given.quick else given.seconds, given.clock, given.threads)
    sections: dict[str, list[Callable[[Effort], Iterable[Row]]]] = {
        "alone": [runtime.alone],
        "context": [runtime.context],
        "wild": [runtime.wild],
        "grid": [runtime.grid],
        "peer": [runtime.against_peer],
        "whole": [partial(runtime.whole, folder=given.models)],
        "torch": [apart("torch_pools.py")],
        "keras": [apart("keras_pools.py", "--backend", name) for name in ("tensorflow", "jax")],
    }
    if given.threads > 1 and given.clock == "processor":
        parser.error("the processor's time of several threads is their sum; leave out --clock")
    if unknown := set(given.section or ()) - set(sections):
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(sections)}")
    rows: list[Row] = []
    for name in given.section or sections:
        print(name)
        for part in sections[name]:
            fresh = list(part(effort))
            print_rows(fresh)
            rows += fresh
    found = targets(rows)
    print("limits")
    print_targets(found)
    if given.json:
        whole = {
            "depool": depool.__version__,
            "machine": asdict(machine()) | {name: version(name) for name in PACKAGES},
            **asdict(effort),
            "rows": [asdict(row) for row in rows],
            "targets": [asdict(target) | {"met": target.met} for target in found],
        }
        given.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
