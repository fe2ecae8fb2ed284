"""Which Keras operations give values >= 0; whatever is not listed may give any.

always                  relu, sigmoid, softmax, ...: by itself, or as the `activation` of a Dense or Conv
where all inputs are    sums, products, joins, pools, layers that move, repeat or drop elements
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from depool.facts import InputFacts
from depool.keras.spec import NAME, builtin

UNKNOWN = InputFacts()

ALWAYS = {"Relu", "Relu6", "Sigmoid", "HardSigmoid", "Softmax", "Softplus"}
ACTIVATIONS = ("relu", "relu6", "sigmoid", "hard_sigmoid", "softmax", "softplus")
ACTIVATED = {
    "Activation",
    "Dense",
    "EinsumDense",
    *(f"{kind}{rank}D" for kind in ("Conv", "DepthwiseConv", "SeparableConv") for rank in (1, 2, 3)),
    *(f"Conv{rank}DTranspose" for rank in (1, 2, 3)),
}
KEPT = {
    "Add",
    "Average",
    "Concatenate",
    "Maximum",
    "Minimum",
    "Multiply",
    "Dropout",
    "Flatten",
    "Identity",
    "Permute",
    "RepeatVector",
    "Reshape",
    "Transpose",
    *(f"{kind}{rank}D" for kind in ("Cropping", "SpatialDropout", "ZeroPadding") for rank in (1, 2, 3)),
    "UpSampling1D",
    "UpSampling3D",
}
"""GaussianDropout multiplies by a normal variable and AlphaDropout shifts: they are not among these."""


def result(op: Any, given: Sequence[InputFacts]) -> InputFacts:
    """What is known of an operation's results.

    Args:
        op: the layer or operation.
        given: what is known of each tensor it reads.
    """
    if not builtin(type(op)):
        return UNKNOWN
    name = type(op).__name__
    if name in ALWAYS or (name == "ReLU" and _rectifies(op)) or (name in ACTIVATED and _activated(op)):
        return InputFacts(lower=0.0, reason=f"behind {op.name}")
    if given and (name in KEPT or NAME.fullmatch(name) or (name == "UpSampling2D" and _convex(op))):
        return joined(given)
    return UNKNOWN


def joined(facts: Sequence[InputFacts]) -> InputFacts:
    """What is true of several tensors together."""
    if not facts or any(fact.signed for fact in facts):
        return UNKNOWN
    return InputFacts(lower=0.0, reason=" and ".join(dict.fromkeys(fact.reason for fact in facts)))


def _rectifies(op: Any) -> bool:
    """Both the layer and the operation of that name; a leaky one is not >= 0, nor one cut off below 0."""
    cut = op.max_value is not None and op.max_value < 0
    return op.negative_slope == 0 and op.threshold >= 0 and not cut


def _activated(op: Any) -> bool:
    return any(op.activation is getattr(keras.activations, name) for name in ACTIVATIONS)


def _convex(op: Any) -> bool:
    """Whether each result lies between its neighbours, as in nearest and bilinear interpolation."""
    return op.interpolation in {"nearest", "bilinear"}
