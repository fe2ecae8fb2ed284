"""Draws the figures of the documentation: python docs/figures/draw.py. Every number in them is computed.

Each figure is a card with a background of its own, so that it is legible on a light page and on a dark one.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from depool.demo import demo

STYLE = """
svg {
  --page: #ffffff; --ink: #1d2129; --soft: #5c6470; --line: #9aa1ac; --none: #eef0f3;
  --plus: #1f5fbf; --minus: #b3470f; --good: #1d7a3e; --bad: #b3261e;
  font-family: system-ui, sans-serif; font-size: 15px;
}
@media (prefers-color-scheme: dark) {
  svg {
    --page: #171a20; --ink: #e8eaee; --soft: #a8b0bc; --line: #656d79; --none: #2a2f38;
    --plus: #7fb0ff; --minus: #ff9d66; --good: #6fd693; --bad: #ff8a80;
  }
}
text { fill: var(--ink); text-anchor: middle; dominant-baseline: central }
.page { fill: var(--page) }
.cell { fill: var(--none); stroke: var(--line) }
.plus { fill: var(--plus); stroke: var(--line) }
.minus { fill: var(--minus); stroke: var(--line) }
.on { fill: var(--page); font-weight: 600 }
.soft { fill: var(--soft); font-size: 13px }
.left { text-anchor: start }
.good { fill: var(--good); font-weight: 600 }
.bad { fill: var(--bad); font-weight: 600 }
.wire { stroke: var(--line); fill: none; stroke-width: 1.5 }
.tip { fill: var(--line) }
.bar { fill: var(--plus); opacity: 0.85 }
.other { fill: var(--minus); opacity: 0.85 }
"""
CELL = 34
HERE = Path(__file__).parent


def text(x: float, y: float, words: object, kind: str = "") -> str:
    """Centred at (x, y), or starting there with the class left."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(str(words))}</text>'


def cell(x: float, y: float, words: object, kind: str = "cell") -> str:
    """A square with a number in it; (x, y) is its corner."""
    square = f'<rect x="{x:g}" y="{y:g}" width="{CELL}" height="{CELL}" class="{kind}"/>'
    return square + text(x + CELL / 2, y + CELL / 2, words, "" if kind == "cell" else "on")


def grid(x: float, y: float, rows: list[list[int]], *, kernel: bool = False) -> str:
    """Cells in rows; a kernel's are coloured by their sign."""
    kinds = {1: "plus", -1: "minus", 0: "cell"}
    return "".join(
        cell(x + CELL * j, y + CELL * i, signed(n), kinds[int(np.sign(n))] if kernel else "cell")
        for i, row in enumerate(rows)
        for j, n in enumerate(row)
    )


def arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """A curve from left to right."""
    middle = (x + to_x) / 2
    curve = f'<path class="wire" d="M{x:g} {y:g} C{middle:g} {y:g} {middle:g} {to_y:g} {to_x - 6:g} {to_y:g}"/>'
    return curve + f'<path class="tip" d="M{to_x:g} {to_y:g} l-8 -4 v8 z"/>'


def signed(n: float | str) -> str:
    """With a real minus sign."""
    return (n if isinstance(n, str) else f"{n:g}").replace("-", "\N{MINUS SIGN}")


def figure(name: str, width: int, height: int, title: str, parts: list[str]) -> tuple[str, str]:
    """A file's name and its text."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" width="{width}">'
    page = f'<rect class="page" width="{width}" height="{height}" rx="8"/>'
    return f"{name}.svg", "\n".join(
        [head, f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", page, *parts, "</svg>", ""]
    )


def two_numbers() -> tuple[str, str]:
    """r(a - b) + b, once where a is larger and once where b is."""
    parts = []
    for row, (a, b) in enumerate(((7, 3), (3, 7))):
        y = 30 + 90 * row
        difference, relu = a - b, max(a - b, 0)
        larger = "a" if a > b else "b"
        parts += [
            text(60, y - 14, "a      b", "soft"), grid(26, y, [[a, b]]), arrow(98, y + 17, 140, y + 17),
            text(174, y - 14, "convolution", "soft"), grid(140, y, [[1, -1]], kernel=True),
            arrow(212, y + 17, 254, y + 17), text(271, y - 14, "a \N{MINUS SIGN} b", "soft"),
            cell(254, y, signed(difference)), arrow(292, y + 17, 366, y + 17), text(326, y + 4, "ReLU", "soft"),
            cell(366, y, relu), text(383, y - 14, "p", "soft"), text(420, y + 17, "+"),
            cell(438, y, b), text(455, y - 14, "b", "soft"), text(492, y + 17, "="), cell(510, y, relu + b),
            text(527, y - 14, "max", "soft"), text(562, y + 17, f"{larger} is larger", "soft left"),
        ]  # fmt: skip
    return figure("two-numbers", 680, 170, "max(a, b) = r(a - b) + b, for a = 7, b = 3 and for a = 3, b = 7", parts)


def six_kernels() -> tuple[str, str]:
    """The published network on the first window of the demo's image."""
    shown = demo(4)
    window = shown.x[:2, :2].astype(int).tolist()
    values = {layer.name: (int(layer.before[0, 0]), int(layer.map[0, 0])) for layer in shown.layers}
    parts = [text(64, 168, "a b / c d", "soft"), grid(30, 186, window)]
    for i, layer in enumerate(shown.layers[:4]):
        y = 34 + 104 * i
        before, after = values[layer.name]
        parts += [
            arrow(102, 220, 176, y + 34), grid(176, y, layer.kernel.astype(int).tolist(), kernel=True),
            text(210, y - 12, signed(layer.formula) if layer.relu else f"{layer.name}, no ReLU", "soft"),
            text(282, y + 20, f"ReLU({signed(before)})" if layer.relu else "", "soft"), arrow(246, y + 34, 318, y + 34),
            cell(318, y + 17, signed(after)), text(335, y + 4, layer.name, "soft"), arrow(354, y + 34, 414, 220),
        ]  # fmt: skip
    parts += [text(414, 440, "Concat, then two 1x1 convolutions", "soft")]
    for i, layer in enumerate(shown.layers[4:]):
        y = 130 + 146 * i
        before, after = values[layer.name]
        parts += [
            arrow(414, 220, 446, y + 17), grid(446, y, [layer.kernel.astype(int).tolist()], kernel=True),
            text(514, y - 14, signed(layer.formula), "soft"), arrow(584, y + 17, 664, y + 17),
            text(621, y + 4, f"ReLU({signed(before)})" if layer.relu else "", "soft"),
            cell(664, y, signed(after)), text(681, y - 14, layer.name, "soft"), arrow(700, y + 17, 744, 220),
        ]  # fmt: skip
    total = values["u"][1] + values["v"][1]
    parts += [
        text(754, 220, "+"),
        arrow(766, 220, 794, 220),
        cell(794, 203, signed(total)),
        text(811, 189, "max", "soft"),
    ]
    title = "A 2x2 max pool as four 2x2 convolutions, two 1x1 convolutions and one addition, on one window"
    return figure("six-kernels", 850, 460, title, parts)


def doubling() -> tuple[str, str]:
    """Five neighbours in three steps of two taps."""
    parts = []
    steps = [
        ("W1: one element", 1, 0),
        ("W2: taps 0 and 1", 1, 1),
        ("W4: taps 0 and 2", 2, 2),
        ("W5: taps 0 and 1", 4, 1),
    ]
    for row, (words, width, shift) in enumerate(steps):
        y = 24 + 62 * row
        parts.append(text(20, y + 17, words, "left"))
        parts += [f'<rect x="{190 + CELL * j}" y="{y}" width="{CELL}" height="{CELL}" class="cell"/>' for j in range(8)]
        size = CELL * width - 8
        parts.append(f'<rect x="194" y="{y + 5}" width="{size}" height="10" rx="3" class="bar"/>')
        if shift:
            parts.append(
                f'<rect x="{194 + CELL * shift}" y="{y + 19}" width="{size}" height="10" rx="3" class="other"/>'
            )
        covered = width + shift
        parts.append(text(480, y + 17, f"{covered} element{'s' * (covered > 1)} in reach", "soft left"))
    return figure(
        "doubling", 640, 262, "The maximum of five neighbours by doubling: 1, 2, 4, then 5 with an overlap", parts
    )


def borders() -> tuple[str, str]:
    """One border window of signed data under each rule."""
    inside = (-3, -5)
    parts = [text(20, 30, "the window reaches one element beyond the border", "soft left")]
    for row, (words, beyond, shown) in enumerate((
        ("max pool: minus infinity", -np.inf, "\N{MINUS SIGN}\N{INFINITY}"), ("zero padding", 0, "0"),
        ("edge: the border element again", inside[0], signed(inside[0])),
        ("mask: \N{MINUS SIGN}B, where B = MAX/2", -1.7e38, "\N{MINUS SIGN}B"),
    )):  # fmt: skip
        y = 50 + 50 * row
        best = max(beyond, *inside)
        right = best == max(inside)
        parts += [
            text(20, y + 17, words, "left"), cell(270, y, shown, "cell"), grid(270 + CELL, y, [list(inside)]),
            text(425, y + 17, f"max = {signed(best)}"),
            text(480, y + 17, "right" if right else "wrong: 0 is larger", f"{'good' if right else 'bad'} left"),
        ]  # fmt: skip
    parts.append(f'<path class="wire" stroke-dasharray="4 3" d="M{270 + CELL} 42 V250"/>')
    return figure("borders", 680, 262, "One border window of signed numbers under four padding rules", parts)


FIGURES = (two_numbers, six_kernels, doubling, borders)

if __name__ == "__main__":
    for draw in FIGURES:
        file, content = draw()
        (HERE / file).write_text(content, encoding="utf-8")
