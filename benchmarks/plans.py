"""What the chooser takes for common pools, and what it costs: the table of docs/performance.md.

    python benchmarks/plans.py

Input known to be >= 0, target generic. A stage is its kernel, d its dilations, / its strides; the work is in elements
written (src/depool/cost.py), for each element of the input.
"""

from __future__ import annotations

from math import prod

import depool
from depool.choice import Choice
from depool.choose import choose
from depool.conversion import Conversion
from depool.cost import work
from depool.facts import InputFacts
from depool.passes import passes

POOLS = [
    ((2, 2), (2, 2), 0, 112), ((3, 3), (2, 2), 1, 112), ((3, 3), (2, 2), 0, 55), ((3, 3), (3, 3), 0, 57),
    ((4, 4), (4, 4), 0, 56), ((2, 1), (2, 1), 0, 32), ((2, 2), (1, 1), 0, 28), ((3, 3), (1, 1), 1, 28),
    ((5, 5), (1, 1), 2, 20), ((7, 7), (1, 1), 3, 28), ((9, 9), (1, 1), 4, 20), ((13, 13), (1, 1), 6, 20),
    ((7, 7), (1, 1), 0, 7), ((1, 3, 3), (1, 2, 2), 0, 28),
]  # fmt: skip


def described(made: Conversion) -> str:
    """The stages in short."""
    stages = []
    for stage in made.plan.stages if made.plan is not None else ():
        w = stage.window
        text = "x".join(map(str, w.kernel_shape))
        text += "d" + "x".join(map(str, w.dilations)) if max(w.dilations) > 1 else ""
        stages.append(text + ("/" + "x".join(map(str, w.strides)) if max(w.strides) > 1 else ""))
    return ", ".join(stages)


def main() -> None:
    """Print the table."""
    print(f"{'pool':<14}{'size':>4} {'work':>6} {'passes':>6} plan")
    for kernel, strides, pad, side in POOLS:
        spec = depool.PoolSpec(kernel, strides, tuple((pad if k > 1 else 0,) * 2 for k in kernel))
        sizes = (side,) * len(kernel)
        made = choose(spec, sizes, InputFacts(lower=0.0), Choice(), "float32")
        name = "x".join(map(str, kernel)) + "/" + "x".join(map(str, strides)) + (f" p{pad}" if pad else "")
        cost = work(made.program, sizes) / prod(sizes)
        print(f"{name:<14}{side:>4} {cost:>6.2f} {len(passes(made.program)):>6} {described(made)}")


if __name__ == "__main__":
    main()
