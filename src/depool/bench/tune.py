"""--tune: of the programs that should be cheapest, the one that is, measured in ONNX Runtime, and remembered.

What is fast differs between processors and versions of the runtime, by more than a cost of bytes can tell. So the few
best candidates of each pool run in turns, on one thread, and the fastest is taken. The choice is kept in the user's
cache folder, under all that it depends on, so that a second conversion measures nothing.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import platformdirs

import depool
from depool.bench.machine import machine
from depool.bench.sessions import Bound
from depool.bench.timing import interleaved
from depool.choice import Choice
from depool.conversion import Conversion
from depool.errors import DepoolError
from depool.numerics import bound
from depool.onnx.site import PoolSite, plan_site, ranked_site
from depool.onnx.splice import Names, Shared, emit
from depool.plan.horner import Described, described
from depool.program import Array
from depool.target import named
from depool.verification.oracle import CannotRunError

SECONDS = 0.5
"""For the candidates of one pool."""


class Tuner:
    """Measures, and remembers.

    Args:
        folder: of the memory; the user's cache folder if not given.
        seconds: for each pool.
    """

    def __init__(self, folder: Path | None = None, seconds: float = SECONDS) -> None:
        self.path = (folder or Path(platformdirs.user_cache_dir("depool"))) / "tuned.json"
        self.seconds = seconds
        self._known = _read(self.path)

    def __call__(self, site: PoolSite, choice: Choice) -> Conversion:
        """The fastest conversion of a pool; the cheapest where nothing is to be measured.

        Only pools of float32 and static sizes are measured, in the form and layout that the cheapest has.

        Raises:
            Refused: where it cannot be converted.
        """
        found = ranked_site(site, choice)
        if len(found) < 2 or site.dtype != "float32" or None in site.sizes or found[0].plan is None:
            return found[0]
        key = _key(site, choice)
        if (known := self._recalled(site, choice, key)) is not None:
            return known
        best = fastest(site, found, self.seconds)
        self._known[key] = {"scheme": best.scheme, "stages": described(best.plan) if best.plan is not None else ()}
        _write(self.path, self._known)
        return best

    def _recalled(self, site: PoolSite, choice: Choice, key: str) -> Conversion | None:
        """What was measured earlier; nothing where it was not, or the file holds something else."""
        known = self._known.get(key)
        if not isinstance(known, dict):
            return None
        try:
            stages: Described = _tuples(known["stages"])
            return plan_site(site, replace(choice, scheme=known["scheme"]), stages=stages)
        except (DepoolError, KeyError, TypeError):
            return None


def fastest(site: PoolSite, found: list[Conversion], seconds: float) -> Conversion:
    """Of conversions of one pool, cheapest first, the one that runs fastest.

    Those that compute something else than the cheapest, beyond both promises, do not count.
    """
    x = _drawn(site)
    models: dict[str, Bound] = {}
    for i, made in enumerate(found):
        try:
            models[str(i)] = Bound(alone(site, made), {site.source: x}, 1)
        except CannotRunError:
            continue
    sure = float(np.abs(x).max())
    reach = max(float(bound(made.program.rounding, sure, site.dtype)) for made in found)
    results = {name: model.outputs[site.output] for name, model in models.items()}
    right = {
        name: models[name]
        for name, y in results.items()
        if np.abs(y - next(iter(results.values()))).max(initial=0.0) <= 2 * reach
    }
    if len(right) < 2:
        return found[0]
    times = interleaved(right, seconds)
    return found[int(min(right, key=lambda name: times.time(name).median))]


def alone(site: PoolSite, made: Conversion) -> onnx.ModelProto:
    """A model of nothing but one pool's replacement."""
    nodes, weights = emit(site, made, Names(onnx.ModelProto()), 8, Shared())
    element = onnx.TensorProto.FLOAT
    shape = [1, site.channels, *site.sizes]
    graph = onnx.helper.make_graph(
        nodes,
        "alone",
        [onnx.helper.make_tensor_value_info(site.source, element, shape)],
        [onnx.helper.make_tensor_value_info(site.output, element, [None] * len(shape))],
        weights,
    )
    opsets = [onnx.helper.make_opsetid("", max(site.scope.opset, 7))]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _drawn(site: PoolSite) -> Array:
    x = np.random.default_rng(0).standard_normal((1, site.channels, *(n or 1 for n in site.sizes)))
    return (x if site.facts.signed else np.abs(x)).astype(np.float32)


def _key(site: PoolSite, choice: Choice) -> str:
    """All that the fastest program depends on."""
    here = machine()
    wishes = (choice.scheme, choice.form, choice.channels, repr(named(choice.target)))
    facts = (site.facts.signed, site.facts.relu_follows, site.facts.lower if site.facts.signed else 0.0)
    pool = (astuple(site.spec), site.sizes, site.channels, facts, choice.exact or site.exact, choice.pairing)
    return json.dumps([depool.__version__, here.onnxruntime, here.cpu, wishes, pool], default=str)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, known: dict[str, Any]) -> None:
    """Replace the file as a whole; a folder that cannot be written to remembers nothing."""
    name = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(known, file)
        Path(name).replace(path)
    except OSError:
        if name is not None:
            Path(name).unlink(missing_ok=True)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
