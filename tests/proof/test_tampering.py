"""What was changed after the conversion is found, and named."""

import copy
import json

import numpy as np
import onnx
import pytest
from conversions import converted, pool_model, rewritten
from onnx import numpy_helper

from depool.onnx.records import KEY
from depool.proof import ProofError, certify, check

POOL = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}
KINDS = {
    "pair": {"before": "Relu"},
    "edge": {},
    "Y": {"exact": True},
    "K": {"before": "Relu", "exact": True},
    "chain": {"before": "Relu", "form": "sequential"},
    "dense": {"channels": "dense"},
    "folded": {"channels": "folded"},
    "shallow": {"before": "Relu", "scheme": "shallow"},
}


@pytest.fixture(scope="module", params=KINDS)
def case(request, tmp_path_factory):
    """(original, converted, certificate)."""
    options = dict(KINDS[request.param])
    before = options.pop("before", "")
    sources = converted(tmp_path_factory.mktemp("case"), pool_model(POOL, (5, 6), before=before), **options)
    return *sources, certify(*sources)


def set_weight(name, value):
    def change(model):
        (tensor,) = (t for t in model.graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(value, name))

    return change


def some_weights(source, count, *, zeros=False):
    """(name, array, place) of weights of a model, evenly drawn from all that are, or are not, zero."""
    found = []
    for tensor in source.model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.int64:  # the shape of a Reshape
            continue
        found += [(tensor.name, array, tuple(at)) for at in np.argwhere((array == 0) == zeros)]
    return [found[i] for i in sorted(set(np.linspace(0, len(found) - 1, count).astype(int)))] if found else []


def refused(case, tampered):
    """Why a tampered model is refused."""
    original, _, certificate = case
    report = check(certificate, original, tampered)
    assert not report.ok
    assert report.reason
    return report.reason


CHANGES = {
    "a millionth more": lambda v: v * np.float32(1 + 2e-6),
    "the other sign": lambda v: -v,
    "nothing": lambda v: v * 0,
}


@pytest.mark.parametrize("how", CHANGES)
def test_one_weight_changed(case, how):
    """Over the reals all weights matter but those of the exact gates' corrections, and these cost exactness."""
    original, after, certificate = case
    corrections = 0
    for name, array, at in some_weights(after, 12):
        value = array.copy()
        value[at] = CHANGES[how](array[at])
        tampered = rewritten(after, set_weight(name, value))
        reason = refused(case, tampered)
        if reason.startswith("pool: "):
            assert "position" in reason or "node" in reason
            with pytest.raises(ProofError, match=r"^pool: "):
                certify(original, tampered)
        else:
            corrections += 1
            assert "the certificate does not hold for these files: pools[0]" in reason
    assert corrections == 0 or certificate["pools"][0]["told"]["gate"] in {"Y", "K"}


def test_one_zero_raised(case):
    _, after, _ = case
    for name, array, at in some_weights(after, 8, zeros=True):
        value = array.copy()
        value[at] = 1e-6
        refused(case, rewritten(after, set_weight(name, value)))


@pytest.mark.parametrize("what", ["pads", "strides", "dilations", "group", "kernel_shape", "axis"])
def test_one_attribute_changed(case, what):
    _, after, _ = case
    if what == "axis" and not any(node.op_type == "Concat" for node in after.model.graph.node):
        pytest.skip("no Concat here")
    assert any(attribute.name == what for node in after.model.graph.node for attribute in node.attribute)
    for i, node in enumerate(after.model.graph.node):
        for j, attribute in enumerate(node.attribute):
            if attribute.name != what:
                continue

            def change(model, i=i, j=j):
                attribute = model.graph.node[i].attribute[j]
                if attribute.ints:
                    attribute.ints[0] += 1
                else:
                    attribute.i = 1 if attribute.i != 1 else 2

            refused(case, rewritten(after, change))


def test_one_edge_changed(case):
    _, after, _ = case
    inputs = {name for node in after.model.graph.node for name in node.output}
    for i, node in enumerate(after.model.graph.node):
        for j, name in enumerate(node.input):
            others = sorted(inputs - {name, *node.output})
            if name not in inputs or node.op_type == "Concat":
                continue

            def change(model, i=i, j=j, other=others[0]):
                model.graph.node[i].input[j] = other

            refused(case, rewritten(after, change))


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from leaves(inner, (*path, i))
    else:
        yield path


def test_one_line_of_the_certificate_changed(case):
    original, after, certificate = case
    for path in list(leaves(certificate))[::29]:
        forged = copy.deepcopy(certificate)
        place = forged
        for key in path[:-1]:
            place = place[key]
        old = place[path[-1]]
        place[path[-1]] = (not old) if isinstance(old, bool) else old + 1 if isinstance(old, int | float) else f"{old}!"
        report = check(forged, original, after)
        assert not report.ok
        assert "the certificate does not hold for these files: " in report.reason
        assert str(path[-1]) in report.reason.split(" says ")[0]


def test_lines_removed_or_added(case):
    original, after, certificate = case
    for key in certificate:
        assert check({k: v for k, v in certificate.items() if k != key}, original, after).reason.endswith(
            f"{key} is missing"
        )
    assert not check(certificate | {"more": 1}, original, after).ok
    assert not check({}, original, after).ok


def test_another_original(case):
    original, after, certificate = case
    other = rewritten(original, lambda model: model.graph.node[-1].attribute[0].ints.__setitem__(0, 2), "other.onnx")
    report = check(certificate, other, after)
    assert not report.ok


def test_hashes(case):
    original, after, certificate = case
    same = rewritten(after, lambda model: setattr(model, "producer_name", "someone else"))
    report = check(certificate, original, same)
    assert "converted.sha256 says" in report.reason


# --- channels in the batch -------------------------------------------------------------------------------------------


def moved(node, source, after):
    """A Transpose between two nodes, to positions that fit their shapes."""

    def change(model):
        turn = onnx.helper.make_node("Transpose", [source], ["turned"], perm=[1, 0, 2, 3], name="turn")
        model.graph.node[node].input[0] = "turned"
        model.graph.node.insert(after, turn)

    return change


def shaped(end, *shape):
    return set_weight(f"pool/depool/{end}_shape", np.array(shape))


def to_inputs(model):
    (tensor,) = (t for t in model.graph.initializer if t.name == "pool/depool/unfold_shape")
    model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, [4]))


FOLDS = {
    "fewer channels back": (shaped("unfold", -1, 2, 0, 0), "channels are not the pool's"),
    "more channels back": (shaped("unfold", -1, 8, 0, 0), "node 'pool/depool/unfold': it makes 8 channels of 4"),
    "two channels to an item": (shaped("fold", -1, 2, 0, 0), "node 'pool/depool/0_Conv': its weight"),
    "no channels back": (shaped("unfold", -1, 1, 0, 0), "channels are not the pool's"),
    "channels where the batch was": (shaped("unfold", 4, -1, 0, 0), r"shape \[4, -1, 0, 0\] is not"),
    "sizes of their own": (shaped("unfold", -1, 4, 2, 3), r"shape \[-1, 4, 2, 3\] is not"),
    "sizes into the batch": (shaped("fold", -1, 1, 1, 0), r"shape \[-1, 1, 1, 0\] is not"),
    "sizes turned": (shaped("fold", 0, 1, -1, 0), r"shape \[0, 1, -1, 0\] is not"),
    "another rank": (shaped("fold", -1, 1, 0), r"shape \[-1, 1, 0\] is not"),
    "nothing": (shaped("fold", 0, 0, 0, 0), "is not"),
    "allowzero": (
        lambda m: m.graph.node[0].attribute.append(onnx.helper.make_attribute("allowzero", 1)),
        "in which 0 keeps a size, is expected",
    ),
    "a shape that a caller may give": (to_inputs, "constant shape"),
    "channels and batch turned": (moved(-1, "pool/depool/pooled", -1), "is a Transpose"),
}


@pytest.mark.parametrize("how", FOLDS)
def test_a_fold_that_is_none(tmp_path, how):
    """The batch is symbolic, so that all of these are models that run, or might."""
    model = pool_model({"kernel_shape": [2, 2], "strides": [2, 2]}, (4, 6), channels=4, opset=14)
    original, after = converted(tmp_path, model, channels="folded", scheme="separable")
    certify(original, after)
    change, reason = FOLDS[how]
    with pytest.raises(ProofError, match=reason) as caught:
        certify(original, rewritten(after, change))
    assert str(caught.value).startswith("pool: ")


def test_a_sum_of_what_is_in_the_batch_and_what_is_not(tmp_path):
    """The pool's input in the place of an identity on it: the same meanings, and a broadcast that nobody meant."""
    model = pool_model({"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, (4, 6), before="Relu", channels=4)
    original, after = converted(tmp_path, model, channels="folded", scheme="separable")
    node = {node.name: node for node in after.model.graph.node}
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in after.model.graph.initializer}
    number, add = next((i, n) for i, n in enumerate(after.model.graph.node) if n.op_type == "Add")
    kept = weights[node[add.input[0]].input[1]]
    assert kept.shape == (1, 1, 1, 3)
    assert kept.tolist() == [[[[0, 1, 0]]]]
    tampered = rewritten(after, lambda m: m.graph.node[number].input.__setitem__(0, "before"))
    with pytest.raises(ProofError, match=f"pool: node {add.name!r}: it joins tensors whose channels are in the batch"):
        certify(original, tampered)


# --- what the metadata say is not believed ---------------------------------------------------------------------------


def retold(source, change):
    def rewrite(model):
        (entry,) = (e for e in model.metadata_props if e.key == KEY)
        records = json.loads(entry.value)
        change(records)
        entry.value = json.dumps(records)

    return rewritten(source, rewrite)


def test_a_licence_that_nothing_gives(tmp_path):
    """Zero padding of a signed input, passed off as one that is known to be >= 0."""
    model = pool_model(POOL, (5, "w"))
    original, after = converted(tmp_path, model, input_range=(0.0, 1.0))

    def claimed(records):
        records[0]["facts"] |= {"declared": False, "reason": "Relu 'x'"}

    with pytest.raises(ProofError, match=r"pool: channel 0, position .* means max\(.*, 0\), where the pool means"):
        certify(original, retold(after, claimed))


def test_another_size_than_the_models(tmp_path):
    original, after = converted(tmp_path, pool_model(POOL, (5, 6)))
    with pytest.raises(ProofError, match="converted for"):
        certify(original, retold(after, lambda records: records[0].update(sizes=[5, 7])))


def test_a_pool_left_untold(tmp_path):
    original, after = converted(tmp_path, pool_model(POOL, (5, 6)))
    with pytest.raises(ProofError, match="outside the pools"):
        certify(original, retold(after, lambda records: records.clear()))


@pytest.mark.parametrize("damage", ["[{}]", "{", '[{"where": 1}]', '["x"]'])
def test_damaged_metadata(tmp_path, damage):
    original, after = converted(tmp_path, pool_model(POOL, (5, 6)))

    def rewrite(model):
        (entry,) = (e for e in model.metadata_props if e.key == KEY)
        entry.value = damage

    with pytest.raises(ProofError):
        certify(original, rewritten(after, rewrite))


# --- outside the pools ----------------------------------------------------------------------------------------------


def layered():
    """A convolution, a pool, another convolution."""
    return onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 15], metadata_props: ["mine" : "1"]>
        g (float[N,1,6,6] x) => (float[N,1,h,w] y) <float[1,1,1,1] w = {2.0}, float[1,1,1,1] v = {3.0}> {
            a = Conv(x, w)
            p = MaxPool <kernel_shape = [2, 2]> (a)
            y = Conv(p, v)
        }""")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_weight("w", np.full((1, 1, 1, 1), 2.5, np.float32)), "weight 'w' is not the original's"),
        (lambda m: m.graph.initializer.remove(m.graph.initializer[0]), "weight 'w' is missing"),
        (lambda m: m.graph.node[-1].attribute.append(onnx.helper.make_attribute("group", 1)), "not the original's"),
        (lambda m: m.graph.node.append(onnx.helper.make_node("Relu", ["y"], ["z"])), ""),
        (lambda m: m.graph.node.append(onnx.helper.make_node("Relu", ["x"], ["w2"], name="odd")), ""),
        (
            lambda m: m.graph.initializer.append(numpy_helper.from_array(np.zeros(1), "odd")),
            "weight 'odd' belongs to no",
        ),
        (lambda m: setattr(m.opset_import[0], "version", 16), "different opsets"),
        (lambda m: setattr(m.metadata_props[0], "value", "2"), "metadata differ"),
        (lambda m: setattr(m.graph.input[0], "name", "z"), ""),
        (lambda m: setattr(m.graph.output[0], "name", "a"), "outputs differ"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", 7), ""),
    ],
)
def test_outside_the_pools(tmp_path, change, reason):
    original, after = converted(tmp_path, layered())
    certificate = certify(original, after)
    report = check(certificate, original, rewritten(after, change))
    assert not report.ok
    assert reason in report.reason
