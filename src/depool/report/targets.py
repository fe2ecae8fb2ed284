"""What `depool targets` prints: each target's limits, its own words, and the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from depool.report.blocks import print_block
from depool.target import Target

LIMITS = {
    "groups": "group convolutions",
    "dilation": "dilations",
    "asymmetric_pads": "asymmetric pads",
    "auto_pad": "auto_pad",
    "padding": "padding",
    "mixed_axes": "strides or pads that differ between the axes",
    "branches": "Add and Concat branches",
    "spatial_concat": "Concat along a spatial axis",
    "reshape": "Reshape of channels into the batch",
    "bias": "bias",
}
"""The limits that are yes or no, in words."""


def targets_object(targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Targets for machines."""
    return [{**asdict(target), "form": target.form, "channels": target.channels} for target in targets]


def print_targets(console: Console, targets: Sequence[Target]) -> None:
    """Targets for people."""
    for target in targets:
        print_block(console, target.name, target.about, list(_rows(target)))


def _rows(target: Target) -> list[tuple[str, str]]:
    lacks = [words for limit, words in LIMITS.items() if not getattr(target, limit)]
    if target.largest_kernel is not None:
        lacks.append(f"kernels longer than {target.largest_kernel}")
    goal = "fewest ReLUs" if target.minimise == "relus" else "least work"
    rows = [("form", f"{target.form}, {target.channels}; {goal}"), ("lacks", ", ".join(lacks) or "nothing known")]
    if target.operators:
        rows.append(("reads", ", ".join(target.operators)))
    wants = [f"{op} with {', '.join(listed)} written out" for op, listed in target.attributes.items()]
    wants += ["every node named"] if target.names else []
    wants += [f"a {target.batch} batch dimension"] if target.batch != "any" else []
    rows += [("wants", "; ".join(wants))] if wants else []
    rows += [("bounds", target.bounds)] if target.bounds != "none" else []
    rows += [("says", f"{what}: {said}") for what, said in target.messages.items()]
    rows += [("silent", f"{what}: {said}") for what, said in target.silent.items()]
    for entry in target.evidence:
        rows.append(("ran", f"{entry.consumer}, {entry.date}: {entry.ran}"))
        rows.append(("test", entry.test))
    return rows
