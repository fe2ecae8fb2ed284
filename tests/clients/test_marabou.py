"""Marabou decides converted nets as a second solver does, where it refuses or misreads the native pool."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from nets import DILATED, HALF, PADDED, PLAIN, digits, enlarged, model_of, native
from onnx import helper

import depool

pytestmark = pytest.mark.clients
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it looks for TensorFlow, and says that there is none
    Marabou = pytest.importorskip("maraboupy.Marabou", reason="needs the extra `clients`")
exact = pytest.importorskip("exact", reason="needs the extra `clients` (pyscipopt)", exc_type=ImportError)


@pytest.fixture
def files(tmp_path):
    """Writes a model, and converts it for Marabou or another target; the two paths."""

    def write(model, **arguments):
        before, after = tmp_path / "net.onnx", tmp_path / "net.depool.onnx"
        onnx.save(model, before)
        depool.convert(before, after, **({"target": "marabou"} | arguments), force=True)
        return before, after

    return write


def box(x, eps):
    """The pixels that differ from x by at most eps."""
    return np.clip(x - eps, 0, 1), np.clip(x + eps, 0, 1)


def options():
    return Marabou.createOptions(verbosity=0, timeoutInSeconds=60)


def decide(path, low, high, label, other):
    """Whether some x of the box has logits[label] <= logits[other]: the verdict, that x, and its logits as claimed."""
    net = Marabou.read_onnx(str(path))
    pixels, logits = net.inputVars[0].ravel(), net.outputVars[0].ravel()
    for variable, least, most in zip(pixels, low.ravel(), high.ravel(), strict=True):
        net.setLowerBound(variable, float(least))
        net.setUpperBound(variable, float(most))
    net.addInequality([logits[label], logits[other]], [1, -1], 0.0)
    verdict, values, _ = net.solve(verbose=False, options=options())
    if verdict != "sat":
        return verdict, None, None
    x = np.array([values[v] for v in pixels], np.float32).reshape(1, *low.shape)
    return verdict, x, np.array([values[v] for v in logits])


def evaluated(path, x):
    """The logits that Marabou itself computes."""
    log = str(path.with_suffix(".log"))
    return Marabou.read_onnx(str(path)).evaluateWithMarabou([x], filename=log, options=options())[0].ravel()


def queries(model, count, size=8):
    """Images that the net gets right, with their label and the second best."""
    x, labels = enlarged(size)
    scores = np.concatenate([native(model, image[None]) for image in x[: 4 * count]])
    right = [i for i, score in enumerate(scores) if score.argmax() == labels[i]][:count]
    return [(x[i], int(labels[i]), int(np.argsort(scores[i])[-2])) for i in right]


def test_it_refuses_the_padded_pool_without_a_text(files):
    before, after = files(digits(PADDED))
    with pytest.raises(AssertionError, match=r"^$"):
        Marabou.read_onnx(str(before))
    assert Marabou.read_onnx(str(after))


def test_verdicts_are_those_of_a_second_solver(files):
    """A 3x3 pool, strides 2, pads 1, on digits: 18 boxes, decided by Marabou and, in the native net, by SCIP."""
    model = digits(PADDED)
    _, after = files(model)
    seen = []
    for x, label, other in queries(model, 9):
        for eps in (0.02, 0.04):
            low, high = box(x, eps)
            margin, _ = exact.optimum(model, low, high, lambda logits, a=label, b=other: logits[a] - logits[b])
            assert abs(margin) > 1e-4  # neither solver is asked to tell less
            verdict, found, _ = decide(after, low, high, label, other)
            assert verdict == ("sat" if margin < 0 else "unsat")
            seen.append(verdict)
            if found is not None:  # what it found is in the box, and the native net agrees
                assert (found[0] >= low - 1e-6).all()
                assert (found[0] <= high + 1e-6).all()
                logits = native(model, found)[0]
                assert logits[label] <= logits[other] + 1e-5
    assert len(seen) == 18
    assert min(seen.count("sat"), seen.count("unsat")) >= 5


def test_a_dilated_pool_is_wrong_before_and_right_after(files):
    """On 9x9 the shapes fit, so nothing is said: 2x2, strides 2, is read in the place of dilations 2."""
    model = digits(DILATED, size=9)
    before, after = files(model)
    wrong = 0
    for x, label, other in queries(model, 6, size=9):
        want = native(model, x[None])[0]
        assert np.abs(evaluated(before, x[None]) - want).max() > 0.01
        assert np.abs(evaluated(after, x[None]) - want).max() < 1e-5
        low, high = box(x, 0.03)
        margin, _ = exact.optimum(model, low, high, lambda logits, a=label, b=other: logits[a] - logits[b])
        right = "sat" if margin < 0 else "unsat"
        assert decide(after, low, high, label, other)[0] == right
        wrong += decide(before, low, high, label, other)[0] != right
    assert wrong > 0


def test_a_dilated_convolution_is_misread_and_groups_are_refused(files):
    """What the target rests on: the general form of the same pools is no form for Marabou."""
    model = digits(DILATED, size=9)
    x = enlarged(9)[0][:1]
    _, dilated = files(model, target="generic", channels="dense", form="sequential")
    assert np.abs(evaluated(dilated, x) - native(model, x)[0]).max() > 0.01
    _, grouped = files(digits(HALF), target="generic", form="sequential")
    with pytest.raises(AssertionError, match=r"^$"):
        Marabou.read_onnx(str(grouped))


def test_auto_pad_is_not_read(tmp_path):
    """So the shapes behind it do not fit; convert names the node."""
    same = {name: value for name, value in PLAIN.items() if name != "pads"} | {"auto_pad": "SAME_UPPER"}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", **same),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("MaxPool", ["r"], ["p"], name="pool", **HALF),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "m", "o"], ["y"], name="gemm"),
    ]
    weights = {"w": np.ones((2, 1, 3, 3)), "m": np.ones((32, 3)), "o": np.zeros(3)}
    tensors = {name: value.astype(np.float32) for name, value in weights.items()}
    onnx.save(model_of(nodes, tensors, [1, 1, 8, 8], [1, 3]), tmp_path / "same.onnx")
    result = depool.convert(tmp_path / "same.onnx", target="marabou")
    assert [(caveat.where, caveat.silent) for caveat in result.caveats] == [("conv", False)]
    for path in (tmp_path / "same.onnx", result.path):
        with pytest.raises(AssertionError, match=r"^$"):
            Marabou.read_onnx(str(path))


def test_branches_give_wrong_verdicts(files):
    """The net is the same, its outputs at the point found are right, and yet the point breaks the property."""
    model = digits(PADDED)
    _, after = files(model, target="generic", channels="dense", scheme="separable")
    broken = 0
    for x, label, other in queries(model, 4):
        verdict, found, claimed = decide(after, *box(x, 0.02), label, other)
        if verdict == "sat":
            logits = native(model, found)[0]
            assert np.abs(claimed - logits).max() < 1e-5
            broken += logits[label] > logits[other] + 0.01
    assert broken > 0


def vnnlib(low, high, label, other):
    """The same question as `decide`, in VNN-LIB."""
    pixels = range(low.size)
    lines = [*(f"(declare-const X_{i} Real)" for i in pixels), *(f"(declare-const Y_{i} Real)" for i in range(10))]
    lines += [f"(assert (>= X_{i} {low.flat[i]:.9f}))\n(assert (<= X_{i} {high.flat[i]:.9f}))" for i in pixels]
    return "\n".join([*lines, f"(assert (<= Y_{label} Y_{other}))"]) + "\n"


def test_a_vnnlib_property_gets_the_same_verdict_before_and_after(files, tmp_path):
    """On a plain 2x2 pool, which Marabou reads natively too; decided by its own program, not by maraboupy's reader."""
    program = Path(sys.executable).with_name("Marabou")
    model = digits(HALF, batch=1)
    before, after = files(model)
    prop = tmp_path / "property.vnnlib"
    verdicts = []
    for x, label, other in queries(model, 12):
        low, high = box(x, 0.02)
        prop.write_text(vnnlib(low, high, label, other))
        margin, _ = exact.optimum(model, low, high, lambda logits, a=label, b=other: logits[a] - logits[b])
        right = "sat" if margin < 0 else "unsat"
        for path in (before, after):
            command = [program, path, prop, "--verbosity", "0"]
            told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
            assert right in told.stdout.splitlines()
        verdicts.append(right)
    assert set(verdicts) == {"sat", "unsat"}
