"""The kernels as text to copy: NumPy code that runs, or LaTeX that compiles with amsmath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from depool.demo.derivation import Demo, Layer, fraction, number
from depool.errors import UsageError
from depool.program import Array

Notation = Literal["numpy", "latex"]


def kernels_text(demo: Demo, notation: Notation) -> str:
    """The six kernels and the average pool's.

    Raises:
        UsageError: for an unknown notation.
    """
    if notation not in get_args(Notation):
        raise UsageError(f"kernels can be printed as {' or '.join(get_args(Notation))}, not {notation!r}")
    return _numpy(demo) if notation == "numpy" else _latex(demo)


def _numpy(demo: Demo) -> str:
    lines = ["import numpy as np", "", f"# 2x2 max pooling as convolutions, pairing {demo.pairing}; r is the ReLU"]
    for layer in demo.layers:
        lines += [f"# {layer.equation}: {_layer(layer)}", _array(f"kernel_{layer.name}", layer.kernel)]
    lines += ["# max = u + v", "", "# 2x2 average pooling: one convolution, stride 2"]
    return "\n".join([*lines, _array("kernel_average", demo.average_kernel)]) + "\n"


def _layer(layer: Layer) -> str:
    where = "2x2, stride 2" if layer.kernel.ndim == 2 else f"1x1 over the maps {', '.join(layer.reads)}"
    return f"{where}, {'ReLU' if layer.relu else 'no ReLU'}"


def _array(name: str, kernel: Array) -> str:
    rows = [f"[{', '.join(map(number, row))}]" for row in kernel.reshape(-1, kernel.shape[-1])]
    text = ", ".join(rows)
    return f"{name} = np.array({text if kernel.ndim == 1 else f'[{text}]'})"


def _latex(demo: Demo) -> str:
    rows = [
        f"  K_{layer.name} &= {_pmatrix(layer.kernel, number)},\n    & {layer.name} &= {_applied(layer)}"
        for layer in demo.layers
    ]
    rows.append(r"  && \max(a, b, c, d) &= u + v")
    average = _pmatrix(demo.average_kernel, _tfrac).replace(r" \\ ", " \\\\\n    ")
    rows.append(f"  K_{{\\mathrm{{avg}}}} &= {average},\n    & \\mathrm{{avg}} &= K_{{\\mathrm{{avg}}}} \\star x")
    head = [
        r"% \usepackage{amsmath}",
        rf"% pairing {demo.pairing}; r is the ReLU, \star slides a 2x2 kernel, stride 2",
        r"\begin{align*}",
    ]
    return "\n".join([*head, " \\\\\n".join(rows), r"\end{align*}"]) + "\n"


def _applied(layer: Layer) -> str:
    if layer.kernel.ndim == 2:
        text = rf"K_{layer.name} \star x"
    else:
        text = rf"K_{layer.name} \, ({', '.join(layer.reads)})^{{\mathsf{{T}}}}"
    return f"r({text})" if layer.relu else text


def _pmatrix(kernel: Array, entry: Callable[[float], str]) -> str:
    rows = [" & ".join(map(entry, row)) for row in kernel.reshape(-1, kernel.shape[-1])]
    return r"\begin{pmatrix} " + r" \\ ".join(rows) + r" \end{pmatrix}"


def _tfrac(value: float) -> str:
    top, _, bottom = fraction(value).partition("/")
    return rf"\tfrac{{{top}}}{{{bottom}}}" if bottom else top
