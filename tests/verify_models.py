"""Small models and their conversions, and ways to tamper with these."""

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper, parser

import depool
from depool.errors import Exit

HEAD = '<ir_version: 8, opset_import: ["" : 13]>'
X6 = "float[1,2,6,6]"
SIGNED = "[pool] y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)"


def graph(nodes, x=X6, y="float[n,c,h,w] y", head=HEAD, weights=""):
    return parser.parse_model(f"{head} g ({x} x) => ({y}) {f'<{weights}>' if weights else ''} {{ {nodes} }}")


def pair(folder, model, **options):
    """The paths of a model and of what it was converted to."""
    before, after = folder / "m.onnx", folder / "o.onnx"
    before.write_bytes(model.SerializeToString())
    depool.convert(before, after, force=True, verify=False, **options)
    return before, after


def edited(path, edit):
    """The model at `path` after `edit`, at another path."""
    model = onnx.load(path)
    edit(model)
    other = path.with_name("tampered.onnx")
    other.write_bytes(model.SerializeToString())
    return other


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def change(tensor, edit):
    """Set a weight's array to what `edit` makes of it."""
    array = numpy_helper.to_array(tensor).copy()
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(edit(array), array.dtype), tensor.name))


def one(factor, place=0):
    """Multiplies one entry that is not 0."""

    def edit(array):
        array.flat[np.flatnonzero(array)[place]] *= factor
        return array

    return edit


def found_out(verdict):
    """Not equal, with the exit code and one line of reason."""
    assert verdict.equal is False
    assert verdict.exit_code == Exit.NOT_EQUAL == 1
    assert verdict.summary
    assert "\n" not in verdict.summary
    return verdict


def saved(folder, **arrays):
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


X = np.random.default_rng(5).normal(size=(1, 2, 6, 6)).astype(np.float32) * 100
