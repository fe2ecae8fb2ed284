"""Mutations of geometry."""

from __future__ import annotations

from mutants.mutation import Mutation, geometry

MUTATIONS = (
    Mutation(
        "ceil mode keeps a window that starts beyond the input",
        "geometry.py",
        "    if (out - 1) * stride >= size + begin:\n        out -= 1\n",
        "",
        geometry("known_values"),
    ),
    Mutation(
        "SAME_UPPER and SAME_LOWER swapped",
        "geometry.py",
        '(small, total - small) if auto_pad == "SAME_UPPER"',
        '(small, total - small) if auto_pad == "SAME_LOWER"',
        geometry("known_values"),
    ),
    Mutation(
        "SAME_* rounds the output down",
        "geometry.py",
        "    out = -(-size // stride)\n    total",
        "    out = size // stride\n    total",
        geometry("known_values"),
    ),
    Mutation(
        "SAME_* pads may be negative",
        "geometry.py",
        "total = max((out - 1) * stride + extent - size, 0)",
        "total = (out - 1) * stride + extent - size",
        geometry("known_values"),
    ),
    Mutation(
        "dilation left out of the pads",
        "geometry.py",
        "extent = (spec.kernel_shape[axis] - 1) * dilation + 1",
        "extent = spec.kernel_shape[axis]",
        geometry("static_resolution_is_the_oracle[2]"),
    ),
    Mutation(
        "dilation left out of the extent",
        "geometry.py",
        "(k - 1) * d + 1 for k, d in zip(self.kernel_shape",
        "k + 0 * d for k, d in zip(self.kernel_shape",
        geometry("known_values"),
    ),
    Mutation(
        "dynamic ceil pads too much",
        "geometry.py",
        "return begin, stride - 1",
        "return begin, stride",
        geometry("known_values"),
    ),
    Mutation(
        "dynamic ceil without its condition",
        "geometry.py",
        "if end == 0 and extent >= stride:",
        "if end >= 0:",
        geometry("refusal_codes"),
    ),
    Mutation(
        "dynamic SAME_* made explicit although its pads vary",
        "geometry.py",
        "if len(begins) == 1 and (begin",
        "if (begin",
        geometry("dynamic_same_is_explicit_only_where_begin_never_varies"),
    ),
    Mutation(
        "SAME_* with dilations accepted",
        "geometry.py",
        "and max(self.dilations) > 1:",
        "and max(self.dilations) > 9:",
        geometry("refusal_codes"),
    ),
    Mutation(
        "a window of padding alone accepted",
        "geometry.py",
        "            if empty:\n",
        "            if empty and size == -1:\n",
        geometry("refusal_codes"),
    ),
    Mutation(
        "padding between the taps not noticed",
        "geometry.py",
        "all(not 0 <= start + j * d < size for j in range(k))",
        "start + (k - 1) * d < 0 or start >= size",
        geometry("refusal_codes"),
    ),
    Mutation(
        "an average that excludes its padding accepted",
        "geometry.py",
        "(self.count_include_pad and declared)",
        "declared",
        geometry("whether_all_windows_of_an_average_divide_by_the_same_number"),
    ),
    Mutation(
        "an average that counts the end padding of ceil mode accepted",
        "geometry.py",
        "(self.count_include_pad and declared)",
        "self.count_include_pad",
        geometry("whether_all_windows_of_an_average_divide_by_the_same_number"),
    ),
)
