"""A program as Keras layers.

    Conv     ZeroPadding where Keras cannot say the pads, then
             DepthwiseConv1D, 2D          where each map of the result reads one map, and the strides are alike
             Conv1D, 2D, 3D with groups   else
    Relu     ReLU
    Add      Add
    Concat   Concatenate

TensorFlow runs depthwise convolutions of equal strides alone at full speed on CPUs; grouped ones go through XLA.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers

from depool.geometry import Pads, Size, same_pads
from depool.keras.folded import folded
from depool.layout import WideConv, widen
from depool.numerics import TYPES
from depool.program import Add, Array, Concat, Conv, Program, Relu, sources


@dataclass(frozen=True)
class Place:
    """Where a program stands.

    Attributes:
        name: of the pool that it replaces.
        sizes: spatial sizes of the input.
        channels: of the input.
        channels_first: whether they are axis 1.
        dtype: NumPy's name of the type that the program runs in.
        policy: Keras' dtype policy, from which that type follows.
        drops_axes: whether the result loses its spatial axes.
    """

    name: str
    sizes: tuple[Size, ...]
    channels: int
    channels_first: bool
    dtype: str
    policy: Any
    drops_axes: bool

    @property
    def options(self) -> dict[str, Any]:
        """What all convolutions and paddings are told."""
        data_format = "channels_first" if self.channels_first else "channels_last"
        return {"data_format": data_format, "dtype": self.policy, "trainable": False}


def layers_of(program: Program, place: Place, layout: str) -> keras.Model:
    """The Functional model of built-in layers that computes a program; its weights are fixed.

    Args:
        program: the pool, channel-free.
        place: where it stands.
        layout: of the channels.
    """
    shape = (place.channels, *place.sizes) if place.channels_first else (*place.sizes, place.channels)
    x = keras.Input(shape, dtype=place.dtype, name=f"{place.name}_input")
    if layout == "folded":
        static = tuple(size for size in place.sizes if size is not None)
        axis = 0 if place.channels_first else program.rank
        program = folded(program, axis, static if len(static) == program.rank else ())
        inside = replace(place, sizes=shape, channels=1, channels_first=False)
        result = keras.ops.squeeze(_result(program, inside, layout, keras.ops.expand_dims(x, -1)), -1)
    else:
        result = _result(program, place, layout, x)
    if place.drops_axes:
        result = layers.Reshape((place.channels,), name="drop_axes", dtype=place.policy)(result)
    made = keras.Model(x, result, name=place.name)
    made.trainable = False
    return made


def _result(program: Program, place: Place, layout: str, x: Any) -> Any:
    values = [x]
    static = tuple(size for size in place.sizes if size is not None)
    sizes = program.sizes(static) if len(static) == program.rank else [()] * (len(program.nodes) + 1)
    for i, (node, conv) in enumerate(zip(program.nodes, widen(program, place.channels, layout), strict=True)):
        read = [values[ref] for ref in sources(node)]
        if isinstance(node, Conv) and conv is not None:
            values.append(_convolved(node, conv, read[0], sizes[node.source], f"conv_{i}", place, layout))
        elif not isinstance(node, Conv):
            layer = _joint(node, f"{type(node).__name__.lower()}_{i}", place)
            values.append(layer(read if len(read) > 1 else read[0]))
    return values[-1]


def _joint(node: Relu | Add | Concat, name: str, place: Place) -> Any:
    if isinstance(node, Relu):
        return layers.ReLU(name=name, dtype=place.policy)
    if isinstance(node, Add):
        return layers.Add(name=name, dtype=place.policy)
    axis = 1 + node.axis if place.channels_first else (node.axis or -1)
    return layers.Concatenate(axis=axis, name=name, dtype=place.policy)


def _convolved(node: Conv, conv: WideConv, x: Any, sizes: tuple[int, ...], name: str, place: Place, layout: str) -> Any:
    """The convolution of x, with its pads."""
    rank = len(node.window.kernel_shape)
    padding, pads = _padding(node, sizes)
    if pads is not None:
        amount = pads[0] if rank == 1 else pads
        named = {"name": f"{name}_pad", "dtype": place.policy, "data_format": place.options["data_format"]}
        x = getattr(layers, f"ZeroPadding{rank}D")(amount, **named)(x)
    options = place.options | {
        "kernel_size": node.window.kernel_shape,
        "strides": node.window.strides,
        "dilation_rate": node.window.dilations,
        "padding": padding,
        "use_bias": conv.bias is not None,
        "name": name,
    }
    maps_out, maps_in = node.kernel.shape[:2]
    apart = layout not in {"dense", "folded"} and conv.group == place.channels and maps_in == 1
    if apart and rank < 3 and len(set(node.window.strides)) == 1:
        layer = getattr(layers, f"DepthwiseConv{rank}D")(
            depth_multiplier=maps_out, depthwise_initializer="zeros", **options
        )
        kernel = conv.weight.reshape(place.channels, maps_out, *conv.weight.shape[2:])
    else:
        layer = getattr(layers, f"Conv{rank}D")(
            len(conv.weight), groups=conv.group, kernel_initializer="zeros", **options
        )
        kernel = conv.weight.swapaxes(0, 1)
    y = layer(x)
    weights = [np.moveaxis(kernel, (0, 1), (-2, -1)), *([] if conv.bias is None else [conv.bias])]
    layer.set_weights([_rounded(weight, place.dtype) for weight in weights])
    return y


def _padding(node: Conv, sizes: tuple[int, ...]) -> tuple[str, Pads | None]:
    """Keras' word for the pads, and what a ZeroPadding layer must add before; `sizes` are empty where dynamic."""
    window = node.window
    if isinstance(window.pads, str):
        if window.pads != "SAME_UPPER":
            raise AssertionError(f"Keras cannot say {window.pads}")
        return "same", None
    if not window.padded:
        return "valid", None
    if sizes:
        rows = zip(sizes, window.extent, window.strides, strict=True)
        if tuple(same_pads(*row, "SAME_UPPER") for row in rows) == window.pads:
            return "same", None
    return "valid", window.pads


def _rounded(weight: Array, dtype: str) -> Array:
    """The weight as the program's type has it, so that casting to that type later rounds nothing more."""
    return weight.astype(np.dtype(TYPES.get(dtype, dtype))).astype(np.float64)
