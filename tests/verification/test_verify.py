"""Verify: what holds is said to hold, and what cannot be known is not claimed."""

import math
import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, parser
from verify_models import HEAD, SIGNED, X6, X, change, edited, found_out, graph, pair, saved

import depool
from depool.errors import Exit

# --- what holds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [False, True])
def test_an_honest_conversion(exact, tmp_path):
    verdict = depool.verify(*pair(tmp_path, graph(SIGNED), exact=exact))
    assert verdict.equal is True
    assert verdict.exit_code == Exit.DONE == 0
    assert verdict.summary == "equal: 1 pool keeps its promise, and nothing else was changed"
    assert verdict.counterexample is None
    (check,) = verdict.pools
    assert check.equal
    assert check.windows > 10 * 72
    assert check.difference.max_abs == 0 if exact else check.difference.max_abs > 0
    (output,) = verdict.outputs
    assert output.name == "y"
    assert output.noticed is True
    assert output.within is None
    assert not list(tmp_path.glob("*.npz"))


def test_pools_are_checked_without_the_whole_model_too(tmp_path):
    verdict = depool.verify(*pair(tmp_path, graph(SIGNED)), end_to_end=False)
    assert verdict.equal is True
    assert verdict.outputs == ()


def test_every_seed_agrees(tmp_path):
    paths = pair(tmp_path, graph(SIGNED))
    assert {depool.verify(*paths, seed=seed).equal for seed in range(5)} == {True}
    assert depool.verify(*paths, seed=3) == depool.verify(*paths, seed=3)


# --- elsewhere in the model ------------------------------------------------------------------------------------------


AROUND = f"a = Mul(x, k) {SIGNED.replace('(x)', '(a)').replace('y =', 'p =')} y = Sub(p, k)"


def test_a_weight_changed_elsewhere(tmp_path):
    before, after = pair(tmp_path, graph(AROUND, weights="float[1] k = {1.5}"))
    assert depool.verify(before, after).equal is True

    def edit(model):
        change(next(t for t in model.graph.initializer if t.name == "k"), lambda array: array * 1.01)

    verdict = found_out(depool.verify(before, edited(after, edit)))
    assert "the smallest tolerance that would pass is" in verdict.summary
    assert any("weight k changed" in note for note in verdict.notes)
    assert all(check.equal for check in verdict.pools)


def test_a_node_changed_elsewhere(tmp_path):
    before, after = pair(tmp_path, graph(AROUND, weights="float[1] k = {1.5}"))

    def edit(model):
        model.graph.node[-1].op_type = "Add"

    verdict = found_out(depool.verify(before, edited(after, edit)))
    assert any("changed" in note for note in verdict.notes)


def test_a_harmless_change_elsewhere_is_measured_and_nothing_is_promised(tmp_path):
    before, after = pair(tmp_path, graph(AROUND, weights="float[1] k = {1.5}"))

    def edit(model):
        model.graph.node.append(helper.make_node("Neg", ["y"], ["unused"]))

    tampered = edited(after, edit)
    verdict = depool.verify(before, tampered)
    assert verdict.equal is True
    assert "nothing is promised" in verdict.summary
    assert any("1 Neg added" in note for note in verdict.notes)
    undecided = depool.verify(before, tampered, end_to_end=False)
    assert undecided.equal is None
    assert undecided.exit_code == Exit.INCONCLUSIVE == 4


def test_an_interface_that_changed(tmp_path):
    before, after = pair(tmp_path, graph(SIGNED))

    def edit(model):
        model.graph.output[0].name = model.graph.node[-1].output[0] = "z"

    verdict = depool.verify(before, edited(after, edit))
    assert verdict.equal is not True


# --- models without records ------------------------------------------------------------------------------------------


def plain(folder, *texts, x=X6):
    """Two models without metadata."""
    paths = [folder / f"{i}.onnx" for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(graph(text, x=x, weights="float[1] two = {2.0}, float[1] more = {2.0002}").SerializeToString())
    return paths


def test_models_without_records_are_compared_at_a_tolerance(tmp_path):
    paths = plain(tmp_path, "y = Mul(x, two)", "y = Mul(x, more)")
    verdict = found_out(depool.verify(*paths))
    smallest = float(re.search(r"smallest tolerance that would pass is (\S+)$", verdict.summary).group(1))
    assert 1e-5 < smallest < 2e-4
    assert verdict.outputs[0].difference.tolerance == pytest.approx(smallest, rel=0.01)
    above, below = (verdict.outputs[0].difference.tolerance * factor for factor in (1.0, 0.999))
    passing = depool.verify(*paths, tolerance=above)
    assert passing.equal is True
    assert "nothing is promised" in passing.summary
    assert passing.outputs[0].within is True
    assert depool.verify(*paths, tolerance=below).equal is False


def test_the_same_model_twice(tmp_path):
    first, second = plain(tmp_path, "y = Mul(x, two)", "y = Mul(x, two)")
    verdict = depool.verify(first, second, tolerance=0.0)
    assert verdict.equal is True
    assert verdict.outputs[0].difference.max_abs == 0
    assert verdict.pools == ()


def test_models_that_give_nan_in_different_places(tmp_path):
    verdict = found_out(
        depool.verify(*plain(tmp_path, "y = Relu(x)", "a = Log(x) b = Sub(a, a) r = Relu(x) y = Add(r, b)"))
    )
    assert math.isinf(verdict.outputs[0].difference.max_abs)


def test_a_second_model_that_fails_to_run(tmp_path):
    before, after = plain(tmp_path, "y = Relu(x)", "y = Relu(x)")
    model = onnx.load(after)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 9
    model.graph.node[0].input[0] = "z"
    after.write_bytes(model.SerializeToString())
    verdict = depool.verify(before, after)
    assert verdict.equal is not True
    assert verdict.summary


def test_a_converted_model_whose_output_is_lost_in_infinities(tmp_path):
    """-inf from elsewhere meets the pool: the convolutions make NaN of it, whatever each pool promises by itself."""
    text = "n = Log(z) a = Add(x, n) [pool] y = MaxPool <kernel_shape = [2, 2]>(a)"
    before, after = pair(tmp_path, graph(text, weights="float[1,1,1,6] z = {1, 1, 0, 1, 1, 1}"))
    verdict = found_out(depool.verify(before, after))
    assert "'y' is no longer finite" in verdict.summary
    assert verdict.counterexample.exists()


# --- what the whole model can show -----------------------------------------------------------------------------------


def test_it_is_said_where_the_whole_model_does_not_show_its_pools(tmp_path):
    text = SIGNED.replace("y =", "p =") + " y = Mul(p, zero)"
    verdict = depool.verify(*pair(tmp_path, graph(text, weights="float[1] zero = {0.0}")))
    assert verdict.equal is True
    assert verdict.outputs[0].noticed is False
    assert any("average pools instead of the max pools would not be noticed at y" in note for note in verdict.notes)


def test_and_not_said_where_it_does(converted):
    verdict = depool.verify(*converted)
    assert verdict.outputs[0].noticed is True
    assert verdict.outputs[0].swapped > 0.1
    assert not verdict.notes


def test_an_output_that_does_not_pass_the_pool_is_blind(tmp_path):
    text = SIGNED + " z = Neg(x)"
    verdict = depool.verify(*pair(tmp_path, graph(text, y="float[n,c,h,w] y, float[n,c,h,w] z")))
    assert {check.name: check.noticed for check in verdict.outputs} == {"y": True, "z": False}
    assert any("would not be noticed at z:" in note for note in verdict.notes)


def test_a_scalar_output(tmp_path):
    text = SIGNED.replace("y =", "p =") + " y = ReduceSum <keepdims = 0>(p)"
    verdict = depool.verify(*pair(tmp_path, graph(text, y="float y")))
    assert verdict.equal is True
    assert verdict.outputs[0].difference.index == ()


def test_an_integer_input_before_the_image(tmp_path):
    model = parser.parse_model(f"{HEAD} g (int64[1] k, {X6} x) => (float[n,c,h,w] y) {{ {SIGNED.replace('y =', 'p =')}"
                               " f = Cast <to = 1>(k) y = Add(p, f) }")  # fmt: skip
    verdict = depool.verify(*pair(tmp_path, model))
    assert verdict.equal is True
    assert [check.name for check in verdict.outputs] == ["y"]


def test_dynamic_sizes_are_run_at_several(tmp_path):
    model = graph("[pool] y = MaxPool <kernel_shape = [3, 2], strides = [2, 1]>(x)", x="float[N,2,h,w]")
    before, after = pair(tmp_path, model)
    seen = []
    verdict = depool.verify(before, after, progress=lambda what, done, total: seen.append((what, done, total)))
    assert verdict.equal is True
    assert max(done for what, done, _ in seen if what == "end to end") >= 8
    assert not verdict.notes


def test_a_shape_that_only_works_at_one_size_can_be_given(tmp_path):
    text = "[pool] p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]>(x) y = Add(p, w)"
    weights = f"float[1,2,3,3] w = {{{', '.join(['1.0'] * 18)}}}"
    before, after = pair(tmp_path, graph(text, x="float[N,2,h,w0]", weights=weights))
    lost = depool.verify(before, after)
    assert lost.outputs == ()
    assert any("give --shape or --data" in note for note in lost.notes)
    assert depool.verify(before, after, shapes={"x": (1, 2, 6, 6)}).outputs[0].name == "y"


def test_a_pool_that_no_runtime_here_can_run_is_not_called_equal(converted, monkeypatch):
    from depool.verification import pools
    from depool.verification.oracle import CannotRunError

    def unable(record, scope):  # noqa: ARG001
        raise CannotRunError("no runtime")

    monkeypatch.setattr(pools, "original_side", unable)
    verdict = depool.verify(*converted)
    assert verdict.equal is None
    assert verdict.exit_code == 4
    assert "pool could not be run: no runtime" in verdict.summary


def test_the_oracle_runs_without_optimisations_and_the_convolutions_with_both(converted, monkeypatch):
    """A runtime that breaks convolutions only when it optimises is found out; one that breaks pools is not asked."""
    honest, off = onnxruntime.InferenceSession, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    seen = []

    def session(model, options, **more):
        held = {node.op_type for node in onnx.load_from_string(model).graph.node}
        seen.append(("MaxPool" in held, options.graph_optimization_level == off))
        return honest(model, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    (check,) = depool.verify(*converted, end_to_end=False).pools
    assert sorted(seen) == [(False, False), (False, True), (True, True)]
    assert check.oracle.startswith("ONNX Runtime, optimisations off against ")


def test_a_pad_of_zeros_on_negative_windows(tmp_path):
    """Some of ONNX Runtime's optimisers fold such a Pad into the pool, and are wrong there."""
    weights = "int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}, float zero = {0.0}"
    text = "p = Pad(x, pads, zero) [pool] y = MaxPool <kernel_shape = [3, 3], strides = [2, 2]>(p)"
    before, after = pair(tmp_path, graph(text, weights=weights), exact=True)
    negative = saved(tmp_path, x=-np.abs(X) - 1)
    verdict = depool.verify(before, after, data=negative)
    assert verdict.equal is True
    assert verdict.outputs[0].difference.max_abs == 0


def test_nothing_is_left_in_the_temporary_folder(converted, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    depool.verify(*converted)
    assert not list(scratch.iterdir())


def test_external_tensors_of_both_models(tmp_path):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 2, 6, 6])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    tensor.external_data.add(key="length", value="288")
    (tmp_path / "w.bin").write_bytes(X.tobytes())
    model = graph("a = Mul(x, w) " + SIGNED.replace("(x)", "(a)"))
    model.graph.initializer.append(tensor)
    verdict = depool.verify(*pair(tmp_path, model))
    assert verdict.equal is True
    assert verdict.outputs
