"""Numbers and geometry in words, as all reports print them."""

from __future__ import annotations

from math import inf

from depool.conversion import Conversion
from depool.facts import InputFacts
from depool.geometry import PoolSpec, Size


def geometry(op_type: str, spec: PoolSpec) -> str:
    """Such as ``MaxPool 3x3, strides 2x2, pads 1,1 1,1``; what is 1 or 0 everywhere is left out."""
    words = [f"{op_type} {_by(spec.kernel_shape)}"]
    if max(spec.strides) > 1:
        words.append(f"strides {_by(spec.strides)}")
    if max(spec.dilations) > 1:
        words.append(f"dilations {_by(spec.dilations)}")
    if spec.auto_pad in {"SAME_UPPER", "SAME_LOWER"}:
        words.append(spec.auto_pad)
    elif any(map(any, spec.pads)):
        words.append("pads " + " ".join(f"{b},{e}" for b, e in spec.pads))
    if spec.ceil_mode:
        words.append("ceil mode")
    return ", ".join(words)


def tensor(channels: Size, sizes: tuple[Size, ...], dtype: str) -> str:
    """Such as ``64x112x112 float32``; a dynamic size is ``?``."""
    return f"{shape(channels, sizes)} {dtype}"


def shape(channels: Size, sizes: tuple[Size, ...]) -> str:
    """Such as ``64x112x112``; a dynamic size is ``?``."""
    return _by((channels, *sizes))


def how(scheme: str, form: str, layout: str, gate: str) -> str:
    """The plan in a few words."""
    exact = f", gate {gate}" if gate not in {"pair", "none"} else ""
    return f"{scheme}, {form}, {layout}{exact}"


def relus(conversion: Conversion) -> str:
    """Depth and number of ReLUs."""
    program = conversion.program
    layers, per = program.relu_layers, float(program.relus_per_output)
    return f"{layers} ReLU layer{'s' * (layers != 1)}, {per:g} ReLUs per output"


def count(number: float) -> str:
    """With a thousands letter: 1.5 k, 2.3 M, 12 G."""
    for factor, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= factor:
            return f"{number / factor:.3g}{letter}"
    return f"{number:g}"


def size(number: int) -> str:
    """Bytes in binary units."""
    for factor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if number >= factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number} B"


def seconds(number: float) -> str:
    """A time in the unit that leaves three digits before the point at most."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms")):
        if number >= factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number / 1e-6:.3g} us"


def facts(known: InputFacts) -> str:
    """What is known of a pool's input, and why."""
    if (known.lower, known.upper) == (-inf, inf):
        return "nothing is known of its sign"
    because = f" ({known.reason})" if known.reason else ""
    if known.upper == inf:
        return f">= {known.lower:.6g}{because}"
    if known.lower == -inf:
        return f"<= {known.upper:.6g}{because}"
    return f"in [{known.lower:.6g}, {known.upper:.6g}]{because}"


def many(number: int, noun: str) -> str:
    """Such as ``1 pool``, ``2 pools``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def _by(numbers: tuple[Size, ...]) -> str:
    return "x".join("?" if n is None else str(n) for n in numbers)
