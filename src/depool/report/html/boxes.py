"""A program's nodes as boxes with words in them; a convolution and the ReLU that alone reads it share one."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap

from depool.conversion import Conversion
from depool.program import Array, Concat, Conv, Program, Ref, Relu, sources

WORDS = 25
"""Characters of a line in a box."""
CELLS = 14
"""Up to so many columns of kernels are drawn."""


@dataclass(frozen=True, eq=False)
class Box:
    """One box.

    Attributes:
        kind: ``conv``, ``relu``, ``join`` or ``tensor``; what it looks like.
        title: the operator, with its kernel's shape.
        lines: its other attributes.
        reads: the boxes above it, by their place in the list.
        kernel: [maps out, maps in, rows, columns], where it is small enough to be drawn.
    """

    kind: str
    title: str
    lines: tuple[str, ...] = ()
    reads: tuple[int, ...] = ()
    kernel: Array | None = None

    @property
    def sentence(self) -> str:
        """In words."""
        return ", ".join((self.title, *self.lines))


def program_boxes(conversion: Conversion, given: str, gives: str) -> list[Box]:
    """The input, the program's nodes in order, and the output.

    Args:
        conversion: what the pool became.
        given: the input tensor in words.
        gives: the output tensor in words.
    """
    program, whole = conversion.program, conversion.gate == "saturating"
    readers: dict[Ref, list[int]] = {}
    for i, node in enumerate(program.nodes):
        for ref in sources(node):
            readers.setdefault(ref, []).append(i)
    boxes = [Box("tensor", "input", (given,))]
    place: dict[Ref, int] = {0: 0}
    for i, node in enumerate(program.nodes):
        reads = tuple(place[ref] for ref in sources(node))
        if isinstance(node, Relu) and _shares(program, readers, node.source):
            place[i + 1] = place[node.source]
            continue
        if isinstance(node, Conv):
            boxes.append(_conv(node, reads, relu=_shares(program, readers, i + 1), whole=whole))
        elif isinstance(node, Concat):
            along = "the maps" if node.axis == 0 else f"spatial axis {node.axis - 1}"
            joined = wrap(f"{len(node.sources)} tensors, along {along}", WORDS)
            boxes.append(Box("join", "Concat", tuple(joined), reads))
        else:
            boxes.append(Box("relu", "ReLU", (), reads) if isinstance(node, Relu) else Box("join", "Add", (), reads))
        place[i + 1] = len(boxes) - 1
    return [*boxes, Box("tensor", "output", (gives,), (place[len(program.nodes)],))]


def _shares(program: Program, readers: dict[Ref, list[int]], ref: Ref) -> bool:
    """Whether a tensor is a convolution's, and a ReLU alone reads it."""
    after = readers.get(ref, [])
    alone = len(after) == 1 and isinstance(program.nodes[after[0]], Relu)
    return alone and ref > 0 and isinstance(program.nodes[ref - 1], Conv)


def _conv(node: Conv, reads: tuple[int, ...], *, relu: bool, whole: bool) -> Box:
    window = node.window
    name = "QLinearConv" if whole else "Conv"
    said = []
    if max(window.strides) > 1:
        said.append(f"stride {_by(window.strides)}")
    if max(window.dilations) > 1:
        said.append(f"dilation {_by(window.dilations)}")
    if isinstance(window.pads, str):
        said.append(window.pads)
    elif window.padded:
        said.append("pads " + " ".join(f"{b},{e}" for b, e in window.pads))
    if node.kernel.shape[:2] != (1, 1):
        said.append(f"maps {node.kernel.shape[1]} → {node.kernel.shape[0]}")
    if node.bias is not None:
        said.append("bias")
    after = " + ReLU" if relu and not whole else ""
    lines = tuple(wrap(", ".join(said), WORDS, break_on_hyphens=False))
    return Box(
        "relu" if relu else "conv", f"{name} {_by(window.kernel_shape)}{after}", lines, reads, _small(node.kernel)
    )


def _small(kernel: Array) -> Array | None:
    """The kernel as pictures of rows and columns, if there are few of them."""
    flat = kernel.reshape(*kernel.shape[:2], -1, kernel.shape[-1])
    out, into, rows, columns = flat.shape
    fits = out * into * (columns + 1) - 1 <= CELLS and rows <= 5 and kernel.ndim <= 4
    return flat if fits else None


def _by(numbers: tuple[int, ...]) -> str:
    return "×".join(map(str, numbers))
