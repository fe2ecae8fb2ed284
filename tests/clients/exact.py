"""The optimum of a network with native pools over a box, by SCIP: a second solver, and an encoding that shares nothing.

z = r(c)       z >= c, z >= 0, z <= c - l (1 - d), z <= u d               with l <= c <= u
y = max x_i    y >= x_i, y <= x_i + (u - l_i) (1 - d_i), sum d_i = 1      over the elements inside the input
"""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper
from oracle import inside
from pyscipopt import Model, quicksum

from depool.geometry import PoolSpec


def optimum(model, low, high, objective, sense="minimize"):
    """The optimum of objective(logits) over low <= x <= high [1, 8, 8], and an x that attains it.

    Reads conv 3x3 without pads, perhaps ReLU, MaxPool, Gemm, as nets.digits makes them.
    """
    weights = {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in model.graph.initializer}
    spec = _spec(next(node for node in model.graph.node if node.op_type == "MaxPool"))
    scip = Model()
    scip.hideOutput()
    scip.setParam("limits/gap", 0.0)
    for name in ("numerics/feastol", "numerics/dualfeastol"):
        scip.setParam(name, 1e-9)
    relu = any(node.op_type == "Relu" for node in model.graph.node)
    pixels = _array(low.shape[1:], lambda at: scip.addVar(lb=float(low[(0, *at)]), ub=float(high[(0, *at)])))
    flat = []
    for m, kernel in enumerate(weights["w"][:, 0]):
        offset = float(weights["b"][m]) if "b" in weights else 0.0
        maps = _convolved(scip, pixels, low[0], high[0], kernel, offset, relu=relu)
        flat += _pooled(scip, maps, spec)
    matrix, last = weights["m"], weights["o"]
    logits = [quicksum(float(w) * v for w, (v, _, _) in zip(column, flat, strict=True)) + float(o)
              for column, o in zip(matrix.T, last, strict=True)]  # fmt: skip
    value = scip.addVar(lb=None)
    scip.addCons(value == objective(logits))
    scip.setObjective(value, sense)
    scip.optimize()
    assert scip.getStatus() == "optimal"
    return scip.getObjVal(), np.vectorize(scip.getVal)(pixels)[None]


def _spec(node):
    told = {a.name: list(a.ints) or a.i or a.s.decode() for a in node.attribute}
    pads = told.get("pads", [0, 0, 0, 0])
    return PoolSpec(
        tuple(told["kernel_shape"]),
        tuple(told.get("strides", [1, 1])),
        ((pads[0], pads[2]), (pads[1], pads[3])),
        tuple(told.get("dilations", [1, 1])),
    )


def _array(shape, make):
    made = np.empty(shape, object)
    for at in np.ndindex(*shape):
        made[at] = make(at)
    return made


def _convolved(scip, pixels, low, high, kernel, offset, *, relu):
    """(variable, lower, upper) of each output of a 3x3 convolution, behind a ReLU where there is one."""

    def one(at):
        cut = tuple(slice(i, i + 3) for i in at)
        least = offset + np.where(kernel > 0, kernel * low[cut], kernel * high[cut]).sum()
        most = offset + np.where(kernel > 0, kernel * high[cut], kernel * low[cut]).sum()
        c = quicksum(float(k) * v for k, v in zip(kernel.ravel(), pixels[cut].ravel(), strict=True)) + offset
        if not relu:
            z = scip.addVar(lb=None)
            scip.addCons(z == c)
            return z, least, most
        z = scip.addVar(lb=0.0, ub=max(most, 0.0))
        if least >= 0:
            scip.addCons(z == c)
        elif most > 0:
            d = scip.addVar(vtype="B")
            scip.addCons(z >= c)
            scip.addCons(z <= c - float(least) * (1 - d))
            scip.addCons(z <= float(most) * d)
        return z, max(least, 0.0), max(most, 0.0)

    return _array(tuple(n - 2 for n in pixels.shape), one)


def _pooled(scip, maps, spec):
    """(variable, lower, upper) of each maximum over the elements that a window really holds, in order."""
    rows = [inside(spec, axis, size) for axis, size in enumerate(maps.shape)]
    found = []
    for across in rows[0]:
        for along in rows[1]:
            held = [maps[i, j] for i in across for j in along]
            low, high = max(least for _, least, _ in held), max(most for _, _, most in held)
            y = scip.addVar(lb=None)
            chosen = [scip.addVar(vtype="B") for _ in held]
            for (v, least, _), d in zip(held, chosen, strict=True):
                scip.addCons(y >= v)
                scip.addCons(y <= v + float(high - least) * (1 - d))
            scip.addCons(quicksum(chosen) == 1)
            found.append((y, low, high))
    return found
