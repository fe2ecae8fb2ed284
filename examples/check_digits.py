"""Convert digits.onnx and show on real images that nothing changed, and that a change would have been noticed.

``python examples/check_digits.py`` needs depool alone. It compares test accuracy, logits and each pool's own
output before and after; then it puts an average pool in the place of each max pool, which must show.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

import depool

HERE: Final = Path(__file__).parent
CLEARLY: Final = 1000
"""A swapped pool counts as noticed if it moves the logits so many times as far as the conversion does."""

Array = npt.NDArray[Any]


def run(model: onnx.ModelProto, images: Array, watched: list[str]) -> list[Array]:
    """Return the logits, then the watched tensors."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for name in watched:
        copy.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = ort.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"image": images}))


def averaged(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """Return the model with an average pool in the place of the max pool that writes `output`."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    (node,) = [node for node in copy.graph.node if output in node.output]
    node.op_type = "AveragePool"
    kept = [a for a in node.attribute if a.name not in {"storage_order", "dilations"}]
    del node.attribute[:]
    node.attribute.extend(kept)
    return copy


def apart(expected: Array, got: Array) -> tuple[float, float]:
    """Return the largest difference, absolute and in units in the last place of the expected value."""
    difference = np.abs(expected.astype(np.float64) - got)
    return float(difference.max()), float((difference / np.spacing(np.abs(expected))).max())


def main() -> int:
    """Print the comparison; 0 if the conversion is equal and a wrong one would show."""
    with np.load(HERE / "digits_test.npz") as data:
        images, labels = data["image"], data["label"]
    original = onnx.load(HERE / "digits.onnx")
    with tempfile.TemporaryDirectory() as scratch:
        result = depool.convert(HERE / "digits.onnx", Path(scratch) / "digits.depool.onnx")
        converted = onnx.load(Path(scratch) / "digits.depool.onnx")
    pools = [record.output for record in result.records]
    before, after = run(original, images, pools), run(converted, images, pools)

    def row(what: str, logits: Array) -> float:
        right = int((logits.argmax(axis=1) == labels).sum())
        moved = apart(before[0], logits)[0]
        print(f"{what:<34}{right:>5} of {len(labels)}  {right / len(labels):>7.2%}  {moved:>12.3g}")
        return moved

    print(f"{'digits.onnx on the test images':<36}{'right':>8}{'accuracy':>12}{'logits move':>14}")
    row("before", before[0])
    conversion = row("after", after[0])
    swaps = [row(f"average in place of {name}", run(averaged(original, name), images, [])[0]) for name in pools]
    print(f"\n{'each pool in the whole network':<36}{'values':>8}{'largest diff.':>16}{'ulps':>10}")
    for name, expected, got in zip(pools, before[1:], after[1:], strict=True):
        most, ulps = apart(expected, got)
        print(f"{name:<36}{expected.size:>8,}{most:>16.3g}{ulps:>10,.0f}")

    print("(the second pool also receives what the first one moved: many ulps of a value near zero)")

    same = np.array_equal(before[0].argmax(axis=1), after[0].argmax(axis=1))
    equal = same and result.verdict is not None and result.verdict.equal is True
    noticed = bool(swaps) and min(swaps) > CLEARLY * conversion
    print(f"\nequal: {'yes' if equal else 'NO'}; an average pool would be noticed: {'yes' if noticed else 'NO'}")
    return 0 if equal and noticed else 1


if __name__ == "__main__":
    sys.exit(main())
