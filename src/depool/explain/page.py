"""The page of `depool explain`: template, style, scripts and programs in one file."""

from __future__ import annotations

import json
from html import escape
from math import prod
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

import depool
from depool.errors import Refused, UsageError
from depool.explain.asked import Asked
from depool.explain.programs import Way, embedded, ways
from depool.plan.tree import PAIRINGS
from depool.report import html

HERE = Path(__file__).parent
SCRIPTS = ("interpreter.js", "numbers.js", "grids.js", "steps.js", "page.js")
LARGEST_PAGE = 500_000
"""Bytes; beyond it a page is slow to load and no joy to look at."""


def render(asked: Asked, scheme: str, form: str, pairing: str, *, exact: bool) -> tuple[str, list[Way]]:
    """The page, and the ways that are on it.

    Args:
        asked: the pool.
        scheme: shown first, as are the others.
        form: alike.
        pairing: alike; of trees over four elements.
        exact: alike.

    Raises:
        Refused: where the combination that is to be shown first is refused.
        UsageError: where the page would be too large.
    """
    found = list(ways(asked))
    first = pairing if scheme == "tree" and prod(asked.spec.kernel_shape) == 4 else PAIRINGS[0]
    wanted = (scheme, form, first, exact)
    for way in found:
        if (way.scheme, way.form, way.pairing, way.exact) == wanted and way.refusal is not None:
            raise Refused(way.refusal.code, way.refusal.reason, way.refusal.fix)
    values = np.random.default_rng(0).integers(-9, 10, prod(asked.size)).tolist()
    data = embedded(asked, found) | {
        "first": {"scheme": scheme, "form": form, "pairing": first, "exact": exact},
        "values": values,
    }
    style = "\n".join(path.read_text(encoding="utf-8") for path in (html.BASE_STYLE, HERE / "style.css"))
    script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    template = Template((HERE / "page.html").read_text(encoding="utf-8"))
    page = template.substitute(
        pool=escape(_title(asked)), style=style, script=script, data=_script_json(data), version=depool.__version__
    )
    if len(page.encode()) > LARGEST_PAGE:
        raise UsageError(f"the page would be larger than {LARGEST_PAGE:,} bytes; give a smaller --kernel")
    return page, found


def _title(asked: Asked) -> str:
    spec, (rows, columns) = asked.spec, asked.size
    words = [f"{spec.kernel_shape[0]}×{spec.kernel_shape[1]} max pool, stride {spec.strides[0]}"]
    words[0] += f"×{spec.strides[1]}" if spec.strides[0] != spec.strides[1] else ""
    if any(map(any, spec.pads)):
        (top, bottom), (left, right) = spec.pads
        words.append(f"pads {top}" if len({top, bottom, left, right}) == 1 else f"pads {top},{left},{bottom},{right}")
    return f"{', '.join(words)}, on {rows}×{columns} numbers"


def _script_json(data: dict[str, Any]) -> str:
    """JSON that no HTML parser takes for markup."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
