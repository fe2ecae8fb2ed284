"""What a conversion keeps: structure, names, values, flags, compile state; and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from keras_backend import BACKEND, array, channels_second, keras, pools_in, run
from oracle import draw, pool

import depool.keras
from depool import NotConverted, PoolSpec, UsageError
from depool.keras import operations

layers = keras.layers
BUILT_IN = {
    *(f"{kind}{rank}D" for kind in ("Conv", "DepthwiseConv", "ZeroPadding") for rank in (1, 2, 3)),
    "InputLayer",
    "ReLU",
    "Add",
    "Concatenate",
    "Reshape",
}


def signed(*shape, seed=0):
    """Data with all-negative windows, so that a zero at a border would win."""
    return (np.random.default_rng(seed).normal(size=shape) - 1.5).astype(np.float32)


def nested():
    """A shared Sequential in a Functional model, pools before and behind it, and one that is an operation."""
    inner = keras.Sequential(
        [keras.Input((None, None, 4)), layers.Conv2D(4, 1, name="mix"), layers.MaxPooling2D(2, 1, "same", name="pool")],
        name="inner",
    )
    first = keras.Input((9, 8, 4), name="first")
    second = keras.Input((9, 8, 4), name="second")
    x = layers.Add(name="sum")([inner(first), inner(second)])
    x = layers.MaxPooling2D(3, 2, name="stem")(x)
    x = keras.ops.max_pool(x, 2, 1, "same")
    x = layers.Dropout(0.5, name="drop")(layers.BatchNormalization(name="norm")(x))
    y = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model({"first": first, "second": second}, [layers.Dense(3, name="head")(y), x], name="whole")


def both(model, new, x):
    """Results of both models, flat."""
    return [
        [array(y) for y in keras.tree.flatten(made(keras.tree.map_structure(keras.ops.convert_to_tensor, x)))]
        for made in (model, new)
    ]


def test_nested_and_shared_models_keep_their_structure():
    model = nested()
    before = sorted(operations(model))
    new = depool.keras.convert(model)
    x = {"first": signed(5, 9, 8, 4), "second": signed(5, 9, 8, 4, seed=1)}
    for a, b in zip(*both(model, new, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    found = {(record.where, record.op_type) for record in new.depool.records}
    named = {("inner/pool", "MaxPooling2D"), ("stem", "MaxPooling2D"), ("mean", "GlobalAveragePooling2D")}
    assert named < found
    assert [op_type for _, op_type in found - named] == ["MaxPool"]
    assert sorted(operations(model)) == before  # the original is as it was
    assert set(before) <= set(operations(new))
    assert not pools_in(new)
    assert (new.name, new.output_names) == (model.name, model.output_names)
    assert sorted(new.input) == ["first", "second"]
    replaced = operations(new)["inner/pool"]
    assert {type(op).__name__ for op in replaced.layers} <= BUILT_IN


def test_values_are_copies():
    model = nested()
    new = depool.keras.convert(model)
    held = {v.path: v for v in model.weights}
    copies = [v for v in new.weights if v.path in held]
    assert len(copies) == len(held)
    for v in copies:
        assert np.array_equal(array(v.value), array(held[v.path].value))
        v.assign(v + 1)
        assert not np.any(array(v.value) == array(held[v.path].value))
    assert array(operations(model)["drop"].seed_generator.state.value).tolist() == (
        array(operations(new)["drop"].seed_generator.state.value).tolist()
    )


@pytest.mark.parametrize("frozen", [["inner"], ["mix"], ["head", "norm"], []])
def test_trainable_flags_are_kept(frozen):
    model = nested()
    for path, op in operations(model).items():
        if path.rpartition("/")[2] in frozen:
            op.trainable = False
    new = depool.keras.convert(model)
    assert [v.path for v in new.trainable_variables] == [v.path for v in model.trainable_variables]
    there = operations(new)
    for path, op in operations(model).items():
        if isinstance(op, keras.Layer) and path not in {record.where for record in new.depool.records}:
            assert there[path].trainable == op.trainable, path
    assert not any(there[record.where].trainable for record in new.depool.records)


def test_a_model_frozen_as_a_whole_stays_so():
    model = nested()
    model.trainable = False
    new = depool.keras.convert(model)
    assert not new.trainable
    assert not new.trainable_variables


class Net(keras.Model):
    """A subclassed model that holds pools in an attribute, a list, a dict and a model within."""

    def __init__(self, width=4, **words):
        super().__init__(**words)
        self.width = width
        self.stem = layers.Conv2D(width, 3, padding="same")
        self.pool = layers.MaxPooling2D(2)
        self.more = [layers.ReLU(), layers.MaxPooling2D(3, 2, "same")]
        self.ends = {"mean": layers.AveragePooling2D(2)}
        self.body = keras.Sequential(
            [keras.Input((None, None, width)), layers.Conv2D(width, 1), layers.MaxPooling2D(2, 1)]
        )

    def get_config(self):
        return {**super().get_config(), "width": self.width}

    def call(self, x):
        x = self.pool(self.stem(x))
        for layer in self.more:
            x = layer(x)
        return self.body(self.ends["mean"](x))


def test_a_subclassed_model_gets_its_layers_exchanged():
    model = Net(width=3)
    x = signed(2, 17, 16, 3)
    run(model, x)
    new = depool.keras.convert(model)
    assert isinstance(new, Net)
    assert len(new.depool.records) == 4
    assert not pools_in(new)
    assert pools_in(model)
    np.testing.assert_allclose(run(model, x), run(new, x), rtol=1e-4, atol=1e-5)
    assert len(new.trainable_variables) == len(model.trainable_variables)
    larger = signed(2, 24, 21, 3)  # its code may be given other sizes than it was built with
    np.testing.assert_allclose(run(model, larger), run(new, larger), rtol=1e-4, atol=1e-5)


class Block(layers.Layer):
    """A layer without a configuration of its own."""

    def __init__(self, **words):
        super().__init__(**words)
        self.pool = layers.MaxPooling2D(2)

    def call(self, x):
        return self.pool(x)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Block(name="block"),
        lambda: layers.TimeDistributed(layers.MaxPooling1D(3, 2, "same")),
        lambda: layers.TimeDistributed(keras.Sequential([layers.Conv1D(2, 1), layers.MaxPooling1D(2)])),
    ],
)
def test_pools_inside_layers_are_exchanged(make):
    model = keras.Sequential([keras.Input((4, 8, 3)), make()])
    new = depool.keras.convert(model)
    assert len(new.depool.records) == 1
    assert not pools_in(new)
    x = signed(2, 4, 8, 3)
    np.testing.assert_allclose(run(model, x), run(new, x), rtol=1e-5, atol=1e-6)


class Odd(layers.MaxPooling2D):
    """A pool of the user's own."""

    def call(self, inputs):
        return -super().call(-inputs)


class Hidden(layers.Layer):
    """A layer whose code is not to be found in its configuration."""

    def __init__(self, function, **words):
        super().__init__(**words)
        self.function = function

    def call(self, x):
        return self.function(x)


def functional(shape, *made):
    x = start = keras.Input(shape)
    for layer in made:
        x = layer(x)
    return keras.Model(start, x)


def shared_channels():
    pool, x = layers.MaxPooling2D(2), keras.Input((8, 8, 2))
    return keras.Model(x, [pool(x), pool(layers.Conv2D(3, 1)(x))])


REFUSED = {
    "UNBUILT": lambda: keras.Sequential([layers.MaxPooling2D(2)]),
    "CUSTOM_POOL": lambda: functional((4, 4, 1), Odd(2)),
    "MASKED": lambda: functional((6,), layers.Embedding(5, 3, mask_zero=True), layers.GlobalAveragePooling1D()),
    "CHANNELS_DIFFER": shared_channels,
    "DYNAMIC_CHANNELS": lambda: functional((4, 4, None), layers.MaxPooling2D(2)),
    "DTYPE": lambda: functional((4, 4, 1), lambda x: keras.ops.max_pool(keras.ops.cast(x, "int32"), 2)),
    "DYNAMIC_GLOBAL": lambda: functional((None, 4, 1), layers.GlobalMaxPooling2D()),
    "AVERAGE_EXCLUDES_PAD": lambda: functional((None, 4, 1), layers.AveragePooling2D(2, 1, "same")),
    "NOT_REBUILT": lambda: functional((4, 4, 1), Hidden(abs), layers.MaxPooling2D(2)),
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_refusal_names_code_layer_and_remedy(code):
    with pytest.raises(NotConverted) as caught:
        depool.keras.convert(REFUSED[code]())
    (refusal,) = caught.value.refusals
    assert refusal.code == code
    assert refusal.reason
    assert refusal.fix


def test_what_is_refused_may_stay():
    model = functional((8, 8, 1), layers.MaxPooling2D(2, name="plain"), Odd(2, name="odd"))
    new = depool.keras.convert(model, allow_partial=True)
    assert [refusal.where for refusal in new.depool.refusals] == ["odd"]
    assert pools_in(new) == [] and type(operations(new)["odd"]) is Odd  # noqa: PT018 - one thing


def test_selection_by_kind_and_name():
    model = nested()

    def chosen(**words):
        return {record.where for record in depool.keras.convert(model, **words).depool.records}

    assert chosen() - chosen(pools="max") == {"mean"}
    assert chosen(only=("inner/*", "mean")) == {"inner/pool", "mean"}
    assert chosen(skip=("pool", "m*")) == {"stem"}
    with pytest.raises(UsageError, match="no pool is named like nothing"):
        depool.keras.convert(model, only=("nothing",))
    with pytest.raises(UsageError, match="pools must be max or all, not 'avg'"):
        depool.keras.convert(model, pools="avg")


def test_a_layer_is_no_model():
    with pytest.raises(UsageError, match=r"keras\.Model"):
        depool.keras.convert(layers.MaxPooling2D(2))


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "bfloat16", "mixed_bfloat16", "float64"])
def test_dtype_policies_are_kept_and_constants_fit_them(policy):
    """The border of a signed input of unknown size is masked with MAX/2 of the type it is computed in."""
    if (policy, BACKEND) == ("float64", "jax"):
        pytest.skip("JAX computes in float64 only where it is told to")
    model = functional((None, None, 2), layers.MaxPooling2D(3, 2, "same", dtype=policy, name="pool"))
    new = depool.keras.convert(model)
    (record,) = new.depool.records
    assert (record.border, record.dtype) == ("mask", keras.DTypePolicy(policy).compute_dtype)
    assert {layer.dtype_policy.name for layer in operations(new)["pool"].layers[1:]} == {policy}
    x = np.concatenate([signed(2, 7, 6, 2), 1e4 * signed(2, 7, 6, 2)])
    rounded = np.asarray(array(keras.ops.cast(x, record.dtype)), np.float64)
    wanted = pool(channels_second(rounded), PoolSpec((3, 3), (2, 2), auto_pad="SAME_UPPER"))
    y = new(keras.ops.convert_to_tensor(x))
    assert keras.backend.standardize_dtype(y.dtype) == record.dtype
    assert np.array_equal(channels_second(np.asarray(array(y), np.float64)), wanted)  # the mask needs an exact gate


@pytest.mark.skipif(BACKEND != "jax", reason="the other backends have float64")
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64:UserWarning")
def test_float64_that_is_none_is_refused():
    model = functional((None, None, 2), layers.MaxPooling2D(3, 2, "same", dtype="float64"))
    with pytest.raises(NotConverted, match="BACKEND_DIFFERS"):
        depool.keras.convert(model)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, of PyTorch's tensors
@pytest.mark.parametrize("sizes", [(None, None), (9, 10)])
def test_compiled_as_a_whole_it_is_still_exact(sizes):
    """A compiler that fused the mask, or reordered the gates' sums, would lose bits here."""
    model = functional((*sizes, 3), layers.MaxPooling2D(3, 2, "same"))
    new = depool.keras.convert(model, exact=True)
    assert new.depool.records[0].border == ("edge" if sizes[0] else "mask")
    rng = np.random.default_rng(0)
    x = np.concatenate([draw(rng, (2, 9, 10, 3), kind, "float32") for kind in ("huge", "mixed", "negative", "ties")])
    for made in (model, new):
        made.compile(jit_compile=BACKEND != "torch")
    assert np.array_equal(model.predict(x, verbose=0), new.predict(x, verbose=0))


def test_dynamic_sizes_take_any_size():
    model = functional((None, None, 2), layers.MaxPooling2D(3, 2, "same"), layers.MaxPooling2D(2))
    new = depool.keras.convert(model)
    for size in ((9, 8), (5, 12), (16, 16)):
        x = signed(2, *size, 2)
        np.testing.assert_allclose(run(model, x), run(new, x), rtol=1e-5, atol=1e-6)


def test_a_converted_model_has_nothing_left_to_convert():
    new = depool.keras.convert(nested())
    again = depool.keras.convert(new)
    assert again.depool.records == new.depool.records
    assert sorted(operations(again)) == sorted(operations(new))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, of PyTorch's tensors
def test_a_second_conversion_tells_of_both():
    model = functional((9, 9, 2), layers.MaxPooling2D(3, 2, "same", name="a"), layers.AveragePooling2D(2, name="b"))
    first = depool.keras.convert(model, only=["a"])
    both_of_them = depool.keras.convert(first, only=["b"])
    assert [record.where for record in first.depool.records] == ["a"]
    assert [record.where for record in both_of_them.depool.records] == ["a", "b"]
    assert [made.scheme for made in both_of_them.depool.conversions] == ["horner", "average"]
    assert depool.verify(model, both_of_them).equal
    operations(both_of_them)["a"].weights[0].assign_add(operations(both_of_them)["a"].weights[0])
    assert depool.verify(model, both_of_them).equal is False
