"""What a converted model remembers of one pool: where it was, how it was converted, what was promised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from depool.conversion import Conversion
from depool.facts import InputFacts
from depool.geometry import PoolSpec, Size
from depool.numerics import Rounding, bound
from depool.plan.horner import Described, described
from depool.program import Array


@dataclass(frozen=True)
class Record:
    """One converted pool.

    Attributes:
        where: its name, with the path of its scope.
        scope: that path.
        op_type: of the original node.
        source: the tensor that its convolutions read.
        output: the tensor that they make.
        inner: the tensors between them that the original has and the conversion may not.
        spec: its geometry.
        sizes: spatial, of `source`; None where dynamic.
        channels: of `source`.
        dtype: of `source`.
        facts: what was assumed of `source`.
        scheme: how it was converted: which maxima,
        form: how values travel,
        layout: how kernels were widened to all channels,
        gate: how one maximum is taken,
        border: the padding rule,
        reason: and what licenses it.
        rounding: what the promised bound is computed from.
        stages: the plan, where the scheme's name does not settle it.
        folded: the original's convolution that became one with the pool, by its output's name.
    """

    where: str
    scope: str
    op_type: str
    source: str
    output: str
    inner: tuple[str, ...]
    spec: PoolSpec
    sizes: tuple[Size, ...]
    channels: int
    dtype: str
    facts: InputFacts
    scheme: str
    form: str
    layout: str
    gate: str
    border: str
    reason: str
    rounding: Rounding
    stages: Described = ()
    folded: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        conversion: Conversion,
        *,
        where: str,
        op_type: str,
        spec: PoolSpec,
        sizes: tuple[Size, ...],
        channels: int,
        dtype: str,
        facts: InputFacts,
        scope: str = "",
        source: str = "",
        output: str = "",
        inner: tuple[str, ...] = (),
    ) -> Record:
        """The record of a conversion; `source` and `output` have names in ONNX models only."""
        return cls(
            where, scope, op_type, source, output, inner, spec, sizes, channels, dtype, facts,
            scheme=conversion.scheme,
            form=conversion.form,
            layout=conversion.channels,
            gate=conversion.gate,
            border=conversion.border.rule,
            reason=conversion.border.reason,
            rounding=conversion.program.rounding,
            stages=described(conversion.plan) if conversion.plan is not None else (),
        )  # fmt: skip

    @property
    def average(self) -> bool:
        """Whether it is an average pool."""
        return self.spec.kind == "average"

    @property
    def exact(self) -> bool:
        """Whether bit-exactness was asked for."""
        return self.gate in {"Y", "K"} and self.border != "mask"

    def rounding_bound(self, max_abs: Array, dtype: npt.DTypeLike) -> Array:
        """What two honest computations may differ by, window by window.

        An average rounds in the oracle as well, so there it is twice the bound.
        """
        return np.asarray(bound(self.rounding, max_abs, dtype)) * (2 if self.average else 1)
