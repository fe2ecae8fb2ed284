"""What range of values each tensor of a scope can take: a forward interval analysis in one pass.

Zero padding of a max pool is exact where the input is known to be >= 0; a pure chain of convolutions needs some known
lower bound. Both rest on what is derived here, so "unknown" is the answer wherever a rule does not apply.
Assumed: gates (Sigmoid, 1 + Erf, 1 + Tanh) reach 0 far to the left, which was measured for ONNX Runtime on CPU only,
and convolutions are summed directly (a Winograd transform of non-negative data may give -1e-7).
"""

from depool.onnx.bounds.analysis import intervals
from depool.onnx.bounds.interval import Interval

__all__ = ["Interval", "intervals"]
