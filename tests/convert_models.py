"""Small models with pools: converted, read back, run without optimisations."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, parser

import depool

HEAD = '<ir_version: 8, opset_import: ["" : 13]>'
SAME3 = "kernel_shape = [3, 3], pads = [1, 1, 1, 1]"
X8 = "float[1,2,8,8]"


def graph(nodes, x=X8, y="float[n,c,h,w] y", head=HEAD, weights=""):
    return parser.parse_model(f"{head} g ({x} x) => ({y}) {f'<{weights}>' if weights else ''} {{ {nodes} }}")


def pool(attributes=SAME3, **options):
    return graph(f"[pool] y = MaxPool <{attributes}>(x)", **options)


def convert(folder, model, **options):
    """The result, and the model as read back."""
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    result = depool.convert(folder / "m.onnx", folder / "o.onnx", force=True, **options)
    return result, onnx.load(folder / "o.onnx")


def run(model, *arrays):
    """All outputs, as ONNX Runtime computes them without optimisations."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip((i.name for i in session.get_inputs()), arrays, strict=True)))


def signed(shape=(1, 2, 8, 8), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def operators(model):
    return [node.op_type for node in model.graph.node]


def crowded():
    """A model with everything in it that a conversion could lose."""
    model = parser.parse_model("""<ir_version: 10, opset_import: ["" : 13, "mine" : 3, "loc" : 1]>
        g (float[1,2,8,8] x, float[1,2,1,1] scale) => (float[1,2,8,8] y, float[1,2,8,8] z)
        <float[1,2,1,1] scale = {2.0, 3.0}, float[1,2,1,1] shift = {0.5, -1.0}, float[1,2,8,8] a, float[1] unused = {1}>
        { [first] a = Mul(x, scale)
          [blob] t = mine.Blob <strength: float = 0.25>(a)
          [pool] p = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(a)
          [last] y = Add(p, shift)
          [call] z = loc.F(p) }
        <domain: "loc", opset_import: ["" : 13]>
        F (q) => (w) { [inner] w = Neg(q) }""")
    model.producer_name, model.producer_version = "somebody", "9"
    model.domain, model.model_version, model.doc_string = "org.example", 7, "the model"
    model.graph.doc_string, model.graph.node[0].doc_string = "the graph", "the node"
    model.graph.input[0].doc_string, model.graph.initializer[1].doc_string = "the input", "the weight"
    model.metadata_props.add(key="author", value="me")
    model.graph.metadata_props.add(key="part", value="1")
    model.graph.node[0].metadata_props.add(key="layer", value="a")
    annotation = model.graph.quantization_annotation.add(tensor_name="a")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="shift")
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [3.0])
    indices = helper.make_tensor("at", TensorProto.INT64, [1], [2])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    training = model.training_info.add()
    training.initialization.name = "start"
    training.initialization_binding.add(key="scale", value="s")
    return model


def undone(converted, originals):
    """The converted model with the pools put back and all that is depool's taken away."""
    model = onnx.ModelProto()
    model.CopyFrom(converted)
    nodes, names = [], {node.name for node in originals}
    for node in converted.graph.node:
        owner = node.name.partition("/depool/")[0]
        if owner not in names:
            nodes.append(node)
        elif node.output[0] == next(n.output[0] for n in originals if n.name == owner):
            nodes.append(next(n for n in originals if n.name == owner))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for entries, added in (
        (model.graph.initializer, lambda tensor: "/depool/" in tensor.name),
        (model.metadata_props, lambda entry: entry.key.startswith("depool.")),
    ):
        for entry in [entry for entry in entries if added(entry)]:
            entries.remove(entry)
    return model


def three():
    """Pools named a/one, a/two and b/one."""
    pooled = " ".join(f"{out} = MaxPool <kernel_shape = [2, 2]>({x})" for out, x in ("px", "qp", "yq"))
    model = graph(pooled)
    for node, name in zip(model.graph.node, ["a/one", "a/two", "b/one"], strict=True):
        node.name = name
    return model
