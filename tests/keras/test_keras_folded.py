"""Channels in an axis of their own: the same pool in both data formats, by convolutions of at most two taps."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from keras_backend import BACKEND, array, channels_last, channels_second, keras, run
from oracle import draw, pool

import depool.keras
from depool import NotConverted, PoolSpec
from depool.choice import Choice
from depool.choose import choose
from depool.facts import InputFacts
from depool.geometry import Window
from depool.keras.fast import fast_layout
from depool.keras.folded import folded, two_taps, with_axis
from depool.lowering.adapt import one_map_each
from depool.numerics import Rounding
from depool.program import Conv, Program

layers = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, while it saves
SIZES = (9, 8)
SPECS = [
    PoolSpec((k,) * rank, (s,) * rank, **({"auto_pad": "SAME_UPPER"} if p == "same" else {"pads": ((p, p),) * rank}))
    for k, s, p, rank in product((2, 3, 5), (1, 2, 3), (0, 1, "same"), (1, 2))
]


def described(spec):
    return f"{spec.kernel_shape[0]}/{spec.strides[0]} {spec.auto_pad} {spec.pads[0] if spec.pads else ''} {spec.rank}-D"


def programs(spec, *, scheme="separable", form="branched"):
    """(program, sizes that are known, input): signed and not, exact and not, static and dynamic."""
    rng = np.random.default_rng(3)
    for lower, exact, known in product((0.0, -np.inf), (False, True), (True, False)):
        sizes = SIZES[: spec.rank]
        facts = InputFacts(lower=lower, reason="test")
        choice = Choice(scheme, form, "folded", "keras", exact)
        try:
            made = choose(spec, sizes if known else (None,) * spec.rank, facts, choice, "float32")
        except depool.errors.Refused:
            continue
        x = draw(rng, (2, 3, *sizes), "mixed", "float32")
        yield made.program, sizes if known else (), np.abs(x) if lower == 0 else x


@pytest.mark.parametrize("spec", SPECS, ids=described)
def test_short_kernels_give_the_very_same_values(spec):
    """Bit for bit: the sums are the same ones; and no kernel is longer than two, not even by a zero."""
    for program, sizes, x in programs(spec):
        apart = one_map_each(program)
        short = two_taps(apart, sizes)
        assert np.array_equal(short(x), apart(x))
        assert max(node.kernel.size for node in short.nodes if isinstance(node, Conv)) <= 2
        assert all(
            max(node.window.strides) == 1 or max(node.window.dilations) == 1
            for node in short.nodes
            if isinstance(node, Conv)
        )


APART = {
    "a stride and a gap": ([[1, 0, -1]], (1, 2), 2),
    "a diagonal": ([[1, 0], [0, -1]], (1, 1), 2),
    "a stride and a far tap": ([[0, 0, 0, 2]], (2, 3), 2),
    "a gap": ([[1, 0, 0, -1]], (1, 1), 2),
    "three taps": ([[1, 1, 1]], (1, 1), 3),
}


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("pads", [((0, 0), (0, 0)), ((0, 1), (1, 0)), ((1, 1), (2, 3))])
@pytest.mark.parametrize("name", APART)
def test_taps_that_no_one_kernel_holds(name, pads, known):
    kernel, strides, longest = np.array(APART[name][0], float), *APART[name][1:]
    window = Window(kernel.shape, strides, (1, 1), pads)
    program = Program(2, (Conv(0, kernel[np.newaxis, np.newaxis], window, (0.5,)),), Rounding())
    short = two_taps(program, SIZES if known else ())
    x = draw(np.random.default_rng(0), (2, 3, *SIZES), "integers", "float32")
    assert np.array_equal(short(x), program(x))
    convs = [node for node in short.nodes if isinstance(node, Conv)]
    assert max(node.kernel.size for node in convs) <= longest
    assert all(max(node.window.strides) == 1 or max(node.window.dilations) == 1 for node in convs)


@pytest.mark.parametrize("form", ["branched", "concat", "sequential"])
@pytest.mark.parametrize("scheme", ["tree", "separable", "shallow"])
def test_a_further_axis_changes_nothing(scheme, form):
    """Every form and scheme, and the border's Concat, with the channels at either end of the axes."""
    for spec in (PoolSpec((3, 2), (2, 1), ((1, 1), (0, 1))), PoolSpec((3,), (2,), ((1, 1),))):
        for program, sizes, x in programs(spec, scheme=scheme, form=form):
            bound = 2 * np.asarray(program.error_bound(float(np.abs(x).max()), "float32"))
            wanted = program(x)
            for axis, there in ((0, 1), (spec.rank, -1)):
                y = folded(program, axis, sizes)(np.expand_dims(np.moveaxis(x, 1, there), 1))[:, 0]
                assert (np.abs(np.moveaxis(y, there, 1) - wanted) <= bound).all()
            assert np.array_equal(with_axis(program, 0)(np.expand_dims(x, 1))[:, 0], wanted)


def model_of(layer, sizes, data_format, channels=3):
    shape = (*sizes, channels) if data_format == "channels_last" else (channels, *sizes)
    return keras.Sequential([keras.Input(shape), layer])


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("rank", "size", "strides", "padding"), [(1, 3, 2, "same"), (2, 2, 2, "valid"), (2, 3, 2, "same")]
)
def test_both_data_formats(rank, size, strides, padding, exact, data_format):
    """On TensorFlow for CPUs too, which has no convolutions with channels first."""
    layer = getattr(layers, f"MaxPooling{rank}D")(size, strides, padding, data_format)
    spec = PoolSpec((size,) * rank, (strides,) * rank, auto_pad="SAME_UPPER" if padding == "same" else "NOTSET")
    for sizes in (SIZES[:rank], (None,) * rank):
        new = depool.keras.convert(model_of(layer, sizes, data_format), channels="folded", exact=exact)
        (record,) = new.depool.records
        assert record.layout == "folded"
        rng = np.random.default_rng(1)
        x = np.concatenate(
            [draw(rng, (2, 3, *SIZES[:rank]), kind, "float32") for kind in ("mixed", "negative", "ties")]
        )
        y = run(new, channels_last(x) if data_format == "channels_last" else x)
        y = channels_second(y) if data_format == "channels_last" else y
        bound = record.rounding_bound(pool(np.abs(x), spec), "float32")
        assert y.shape == pool(x, spec).shape
        assert (np.abs(y - pool(x, spec).astype(np.float64)) <= bound).all()
        assert not exact or np.array_equal(y, pool(x, spec))


def test_its_weights_do_not_grow_with_the_channels_and_stand_on_no_others(tmp_path):
    counts = set()
    for channels in (1, 3, 50):
        new = depool.keras.convert(
            model_of(layers.MaxPooling2D(3, 2), SIZES, "channels_last", channels), channels="folded"
        )
        (made,) = new.layers
        assert {type(layer).__name__ for layer in made.layers} <= {"InputLayer", "Conv3D", "ReLU", "Add", "Concatenate"}
        assert {layer.groups for layer in made.layers if isinstance(layer, layers.Conv3D)} == {1}
        counts.add(
            sum(
                weight.shape.num_elements() if hasattr(weight.shape, "num_elements") else np.prod(weight.shape)
                for weight in made.weights
            )
        )
    assert len(counts) == 1
    x = draw(np.random.default_rng(0), (1, *SIZES, 50), "normal", "float32")
    new.save(tmp_path / "folded.keras")
    back = keras.saving.load_model(tmp_path / "folded.keras", safe_mode=True)
    assert np.array_equal(run(back, x), run(new, x))


def test_global_and_adaptive_pools():
    x = draw(np.random.default_rng(0), (2, *SIZES, 3), "mixed", "float32")
    for layer in (
        layers.GlobalMaxPooling2D(),
        layers.GlobalMaxPooling2D(keepdims=True),
        layers.AdaptiveMaxPooling2D((3, 4)),
    ):
        if BACKEND == "jax" and "Adaptive" in type(layer).__name__:
            continue  # JAX computes some of them wrongly: backends.py
        model = model_of(layer, SIZES, "channels_last")
        new = depool.keras.convert(model, channels="folded", exact=True)
        assert new.output_shape == model.output_shape
        assert np.array_equal(run(new, x), run(model, x))


def test_three_axes_are_refused_and_left_to_groups():
    model = model_of(layers.MaxPooling3D(2), (4, 5, 6), "channels_last")
    with pytest.raises(NotConverted, match=r"TARGET_LACKS.*four axes"):
        depool.keras.convert(model, channels="folded")
    assert depool.keras.convert(model).depool.records[0].layout == "depthwise"


def test_the_layout_follows_the_backend():
    """Folded where XLA runs everything; not for averages and chains, whose convolutions have more than two taps."""
    quick = "folded" if BACKEND == "jax" else "depthwise"
    assert fast_layout("max", 2, "auto") == fast_layout("max", 1, "branched") == quick
    assert fast_layout("max", 3, "auto") == fast_layout("average", 2, "auto") == "depthwise"
    assert fast_layout("max", 2, "sequential") == "grouped"
    model = keras.Sequential([keras.Input((8, 8, 4)), layers.MaxPooling2D(2), layers.AveragePooling2D(2)])
    new = depool.keras.convert(model)
    assert [record.layout for record in new.depool.records] == [quick, "depthwise"]
    assert new.depool.records[0].scheme == "horner"
    x = draw(np.random.default_rng(0), (2, 8, 8, 4), "normal", "float32")
    np.testing.assert_allclose(array(new(x)), array(model(x)), rtol=1e-5, atol=1e-6)
    assert depool.verify(model, new).equal
