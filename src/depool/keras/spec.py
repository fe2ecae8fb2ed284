"""Which Keras operations are pools, and their geometry in ONNX's terms.

padding="valid"                   no pads
padding="same"                    SAME_UPPER; an average does not count its padding
Global...                         the window is the whole input
Adaptive...                       output i of m reads the elements floor(i n / m) ... ceil((i + 1) n / m) - 1
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import keras

from depool.errors import Refused, UsageError
from depool.geometry import AutoPad, Kind, PoolSpec

NAME = re.compile(r"(Global|Adaptive|)(Max|Average)Pool(?:ing[123]D)?")
"""Classes of layers (MaxPooling2D) and of operations in a graph (MaxPool, from keras.ops.max_pool)."""


@dataclass(frozen=True)
class Pool:
    """A pool as the model states it.

    Attributes:
        op: the layer, or the operation.
        kind: max or average.
        reach: ``Global``, ``Adaptive`` or nothing.
        base: Keras' class from which the op's own is derived, if it is derived; then what it computes is not known.
    """

    op: Any
    kind: Kind
    reach: str
    base: str = ""

    @property
    def channels_first(self) -> bool:
        """Whether the channels are axis 1; else they are the last."""
        return bool((self.op.data_format or keras.config.image_data_format()) == "channels_first")

    @property
    def drops_axes(self) -> bool:
        """Whether the result has no spatial axes."""
        return self.reach == "Global" and not bool(self.op.keepdims)

    @property
    def averages_a_mask(self) -> bool:
        """Whether elements that a mask excludes are not counted."""
        return type(self.op).__name__ == "GlobalAveragePooling1D"

    def outputs(self, rank: int) -> tuple[int, ...]:
        """The output's sizes of an adaptive pool."""
        return per_axis(self.op.output_size, rank)

    def spec(self, rank: int) -> PoolSpec:
        """The geometry of a pool that is neither global nor adaptive.

        Raises:
            Refused: POOL_ATTRIBUTES.
        """
        size, strides = self.op.pool_size, self.op.strides
        same: AutoPad = "SAME_UPPER" if self.op.padding == "same" else "NOTSET"
        try:
            return PoolSpec(
                per_axis(size, rank),
                per_axis(size if strides is None else strides, rank),
                auto_pad=same,
                kind=self.kind,
            )
        except UsageError as error:
            raise Refused(
                "POOL_ATTRIBUTES", f"its attributes describe no pool ({error}).", "Mend the layer, or leave it out."
            ) from error


def pool(op: Any) -> Pool | None:
    """What kind of pool an operation is; None for anything else."""
    for made in type(op).__mro__:
        found = NAME.fullmatch(made.__name__)
        if found and builtin(made):
            kind: Kind = "max" if found[2] == "Max" else "average"
            return Pool(op, kind, found[1], "" if made is type(op) else made.__name__)
    return None


def builtin(made: type) -> bool:
    """Whether a class is Keras' own."""
    return made.__module__.partition(".")[0] == "keras"


def per_axis(value: Any, rank: int) -> tuple[int, ...]:
    """One number for each spatial axis."""
    return (value,) * rank if isinstance(value, int) else tuple(value)
