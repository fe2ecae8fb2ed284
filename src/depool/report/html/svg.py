"""SVG as text: elements with escaped attributes and contents, and pictures that say in words what they show.

Colours are the page's, through CSS classes, so that a picture follows the page into the dark and onto paper.
"""

from __future__ import annotations

from html import escape


class Drawn(str):
    """Markup that is safe as it is; Jinja leaves whatever has `__html__` unescaped."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def tag(name: str, *children: str, **attributes: str | float) -> Drawn:
    """An element; children that are not `Drawn` are escaped, `class_` is class, `text_anchor` is text-anchor."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value if isinstance(value, str) else f"{value:g}")}"'
        for key, value in attributes.items()
    )
    inner = "".join(child if isinstance(child, Drawn) else escape(child) for child in children)
    return Drawn(f"<{name}{said}>{inner}</{name}>")


def text(words: str, x: float, y: float, class_: str = "", anchor: str = "middle") -> Drawn:
    """One line of text."""
    return tag("text", words, x=x, y=y, class_=class_, text_anchor=anchor)


def picture(key: str, title: str, description: str, width: float, height: float, *children: str) -> Drawn:
    """A whole picture, at its natural size.

    Args:
        key: makes the ids of its title and description, unique on the page.
        title: what a screen reader announces.
        description: what the picture shows, in words.
        width: in pixels.
        height: in pixels.
        children: what is drawn.
    """
    return tag(
        "svg",
        tag("title", title, id=f"{key}-title"),
        tag("desc", description, id=f"{key}-desc"),
        *children,
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
        width=width,
        height=height,
        viewBox=f"0 0 {width:g} {height:g}",
    )
