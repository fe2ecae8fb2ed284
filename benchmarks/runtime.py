"""The sections that run in ONNX Runtime: pools alone, between convolutions, against the peer, and whole models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
from architectures import ARCHITECTURES
from geometries import GRID, MAIN, PEER, PYRAMID, WILD, Geometry
from graphs import Graph, pool_alone, spatial_pyramid
from peer import peer
from rows import Effort, Row, rows_of

from depool.bench.candidates import Converted, model_feeds, pool_cases, refuse_wrong
from depool.bench.sessions import Bound
from depool.bench.timing import Timings
from depool.choice import Choice, Scheme
from depool.conversion import Conversion
from depool.onnx import files
from depool.onnx.convert import Options, convert_model
from depool.onnx.find import Selection
from depool.onnx.siblings import Planner
from depool.onnx.site import PoolSite, ranked_site
from depool.ranking import RANKED
from depool.verification.models import Feeds

NATIVE, OURS, PUBLISHED, OTHER = "native", "depool", "published network", "dense sequential"
SMALL = 25
"""Windows above get no tree and no shallow network: they grow with the window's area."""


def alone(effort: Effort) -> Iterator[Row]:
    """Pools and nothing else, with every scheme, and padded pools on signed input too."""
    for geometry in MAIN:
        model = _pool(geometry)
        yield from _compared("alone", geometry.name, model, _choices(geometry), effort)
        if geometry.padded:
            only = {OURS: Choice()}
            yield from _compared("alone", f"{geometry.name} signed", model, only, effort, signed=True)
    graph, chain = Graph(PYRAMID[1]), Graph(PYRAMID[1])
    pyramid = graph.model(spatial_pyramid(graph, "x"))
    links = ["x"]
    for _ in range(3):
        links.append(chain.square(links[-1], 5, 1, 2))
    chained = {"native, 5 after 5 after 5": chain.model(chain.concat(*links))}
    yield from _compared("alone", PYRAMID[0], pyramid, {OURS: Choice()}, effort, others=chained)


def wild(effort: Effort) -> Iterator[Row]:
    """Pools and nothing else: those of published models."""
    for geometry in WILD:
        yield from _compared("wild", geometry.name, _pool(geometry), {OURS: Choice()}, effort)


def grid(effort: Effort) -> Iterator[Row]:
    """Pools and nothing else: depool's choice beside the next best by cost, and all that can be chosen by name."""
    ranks = {f"candidate {rank + 1}": _ranked(rank) for rank in range(1, RANKED)}
    for geometry in GRID:
        yield from _compared("grid", geometry.name, _pool(geometry), _choices(geometry), effort, planners=ranks)


def _ranked(rank: int) -> Planner:
    """Takes the candidate of this rank, or the last one."""

    def plan(site: PoolSite, choice: Choice) -> Conversion:
        found = ranked_site(site, choice)
        return found[min(rank, len(found) - 1)]

    return plan


def context(effort: Effort) -> Iterator[Row]:
    """Conv3x3 -> Relu -> pool -> Conv3x3, C channels throughout; without the Relu the pool's input is signed."""
    for geometry in MAIN:
        for signed in (False, True) if geometry.padded else (False,):
            graph = Graph(geometry.shape)
            before = graph.conv("x", geometry.shape[1], 3, pad=1)
            pooled = graph.pool(before if signed else graph.relu(before), *geometry.window)
            model = graph.model(graph.conv(pooled, geometry.shape[1], 3, pad=1))
            case = f"{geometry.name}{' signed' * signed}"
            yield from _compared("context", case, model, {OURS: Choice()}, effort, signed=True)
    graph = Graph(PYRAMID[1])
    channels = PYRAMID[1][1]
    pooled = spatial_pyramid(graph, graph.relu(graph.conv("x", channels, 3, pad=1)))
    model = graph.model(graph.conv(pooled, channels, 3, pad=1))
    yield from _compared("context", PYRAMID[0], model, {OURS: Choice()}, effort, signed=True)


def against_peer(effort: Effort) -> Iterator[Row]:
    """A dense sequential rewriting with three maps per pair; its ratio is to depool's time."""
    for geometry in PEER:
        model = _pool(geometry)
        source, found, feeds = converted(model, {OURS: Choice()}, {}, signed=False)
        pads = () if isinstance(geometry.pads, str) else geometry.pads
        other = peer(geometry.shape, geometry.kernel, geometry.strides, pads)
        _check_on_integers(model, {OTHER: other}, feeds)
        models = {NATIVE: source, OURS: found[0].source, OTHER: other}
        yield from rows_of("peer", geometry.name, _timed(models, feeds, effort), OURS)


def whole(effort: Effort, folder: Path | None) -> Iterator[Row]:
    """Published architectures with random weights, and the trained models of a folder."""
    for name, make in ARCHITECTURES.items():
        yield from _compared("whole", name, make(), {OURS: Choice()}, effort, signed=True)
    for path in sorted(folder.glob("*.onnx")) if folder else ():
        source = files.read(path)
        yield from _compared("whole", path.stem, source, {OURS: Choice()}, effort, signed=True)


def _pool(geometry: Geometry) -> onnx.ModelProto:
    return pool_alone(geometry.shape, *geometry.window, ceil=geometry.ceil)


def _choices(geometry: Geometry) -> dict[str, Choice]:
    """The choice of depool, every scheme, and the published network taken literally."""
    small = geometry.elements <= SMALL
    named = {s: Choice(scheme=s) for s in get_args(Scheme) if s != "auto" and (small or s not in {"tree", "shallow"})}
    literal = {PUBLISHED: Choice(scheme="tree", form="concat")} if geometry.elements <= 9 else {}
    return {OURS: Choice()} | named | literal


def _compared(
    section: str,
    case: str,
    model: onnx.ModelProto | files.Source,
    choices: Mapping[str, Choice],
    effort: Effort,
    *,
    signed: bool = False,
    planners: Mapping[str, Planner] | None = None,
    others: Mapping[str, onnx.ModelProto] | None = None,
) -> list[Row]:
    """Native against conversions, all checked; conversions that come out alike are timed once."""
    source, found, feeds = converted(model, choices, planners or {}, signed=signed)
    alike: dict[bytes, list[str]] = {}
    for one in found:
        alike.setdefault(one.source.model.graph.SerializeToString(deterministic=True), []).append(one.name)
    once = {names[0]: names for names in alike.values()}
    models = {NATIVE: source} | {one.name: one.source for one in found if one.name in once} | dict(others or {})
    if others:
        _check_on_integers(source.model, others, feeds)
    timings = _timed(models, feeds, effort)
    shown = {name: timings.seconds[first] for first, names in once.items() for name in names}
    ordered = {name: (timings.seconds | shown)[name] for name in (NATIVE, *choices, *(planners or {}), *(others or {}))}
    return rows_of(section, case, Timings(ordered), NATIVE)


def converted(
    model: onnx.ModelProto | files.Source,
    choices: Mapping[str, Choice],
    planners: Mapping[str, Planner],
    *,
    signed: bool,
) -> tuple[files.Source, list[Converted], Feeds]:
    """The model, its conversions, every pool of which gives what the native one gives, and an input.

    Raises:
        NotEqual: where a pool does not.
    """
    source = model if isinstance(model, files.Source) else files.Source(model, Path(), "benchmark")
    feeds = model_feeds(source.model, {}, {}, seed=0)
    if not signed:
        feeds = {name: np.abs(x) for name, x in feeds.items()}
    selection = Selection(nonnegative=not signed)
    wishes = {name: Options(choice, selection) for name, choice in choices.items()}
    wishes |= {name: Options(Choice(), selection, plan=plan) for name, plan in planners.items()}
    found = []
    for name, options in wishes.items():
        made = convert_model(source, options)
        found.append(Converted.of(name, replace(source, model=made.model), made.records))
    for case in pool_cases(source, found, feeds, 0):
        outputs = {name: next(iter(Bound(cut, case.feeds, 1).outputs.values())) for name, cut in case.models.items()}
        refuse_wrong(case, outputs, found)
    return source, found, feeds


def _check_on_integers(model: onnx.ModelProto, others: Mapping[str, onnx.ModelProto], feeds: Feeds) -> None:
    """What carries no promise must give the very numbers of the native pool where nothing rounds.

    Raises:
        ValueError: where it does not.
    """
    whole_numbers = {name: np.floor(100 * x) for name, x in feeds.items()}
    (expected,) = Bound(model, whole_numbers, 1).outputs.values()
    for name, other in others.items():
        (got,) = Bound(other, whole_numbers, 1).outputs.values()
        if not np.array_equal(expected, got):
            raise ValueError(f"{name} is no max pool")


def _timed(models: Mapping[str, onnx.ModelProto | files.Source], feeds: Feeds, effort: Effort) -> Timings:
    return effort.time({name: Bound(model, feeds, effort.threads) for name, model in models.items()})
