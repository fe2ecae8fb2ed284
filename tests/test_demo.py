"""The demo: its kernels entry for entry, its numbers against loops, its texts run or parsed, its page in 80 columns."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from depool.demo import as_json, demo, kernels_text, render
from depool.errors import UsageError
from depool.plan.tree import PAIRINGS

GOLDEN = Path(__file__).parent / "golden"

STRIDED = {
    "ab|cd": {"p": [[1, -1], [0, 0]], "q": [[0, 0], [1, -1]], "b": [[0, 1], [0, 0]], "d": [[0, 0], [0, 1]]},
    "ac|bd": {"p": [[1, 0], [-1, 0]], "q": [[0, 1], [0, -1]], "c": [[0, 0], [1, 0]], "d": [[0, 0], [0, 1]]},
    "ad|bc": {"p": [[1, 0], [0, -1]], "q": [[0, 1], [-1, 0]], "d": [[0, 0], [0, 1]], "c": [[0, 0], [1, 0]]},
}
POINT = {"u": [1, -1, 1, -1], "v": [0, 1, 0, 1]}


def page(shown, width=80, encoding="utf-8"):
    """What a terminal of this width shows."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, write_through=True) as file:
        render(shown, Console(file=file, width=width, color_system=None))
        return raw.getvalue().decode(encoding)


def loops(x, kernels):
    """The network of the six kernels, one window and one multiplication at a time."""
    names = [name for name in kernels if name not in POINT]
    half = len(x) // 2
    y = [[0] * half for _ in range(half)]
    for i in range(half):
        for j in range(half):
            maps = []
            for name in names:
                total = sum(kernels[name][m][n] * x[2 * i + m][2 * j + n] for m in (0, 1) for n in (0, 1))
                maps.append(max(total, 0) if name in "pq" else total)
            u = max(sum(k * value for k, value in zip(kernels["u"], maps, strict=True)), 0)
            y[i][j] = u + sum(k * value for k, value in zip(kernels["v"], maps, strict=True))
    return y


def largest(x):
    """Each 2x2 window's largest element."""
    half = range(len(x) // 2)
    return [[max(x[2 * i + m][2 * j + n] for m in (0, 1) for n in (0, 1)) for j in half] for i in half]


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_the_six_kernels_entry_for_entry(pairing):
    shown = demo(pairing=pairing)
    assert {name: kernel.tolist() for name, kernel in shown.kernels.items()} == STRIDED[pairing] | POINT
    assert list(shown.kernels) == [*STRIDED[pairing], *POINT]
    assert [layer.name for layer in shown.layers if layer.relu] == ["p", "q", "u"]
    assert [layer.strides for layer in shown.layers] == [(2, 2)] * 4 + [(1, 1)] * 2
    assert shown.average_kernel.tolist() == [[0.25, 0.25], [0.25, 0.25]]


@pytest.mark.parametrize(
    ("pairing", "formulas"),
    [
        ("ab|cd", ["r(a - b)", "r(c - d)", "b", "d", "r(p - q + b - d)", "q + d"]),
        ("ac|bd", ["r(a - c)", "r(b - d)", "c", "d", "r(p - q + c - d)", "q + d"]),
        ("ad|bc", ["r(a - d)", "r(b - c)", "d", "c", "r(p - q + d - c)", "q + c"]),
    ],
)
def test_formulas_follow_the_pairing(pairing, formulas):
    assert [layer.formula for layer in demo(2, pairing=pairing).layers] == formulas


@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("size", [2, 4, 16, 32])
def test_result_is_the_maximum_of_every_window(size, pairing):
    for seed in range(5):
        shown = demo(size, seed, pairing)
        assert shown.result.tolist() == shown.native.tolist() == largest(shown.x.tolist())
        assert shown.equal


def test_maps_are_the_formulas_values():
    shown = demo(16, 3)
    x, maps = shown.x, shown.maps
    a, b, c, d = x[::2, ::2], x[::2, 1::2], x[1::2, ::2], x[1::2, 1::2]
    before = {layer.name: layer.before for layer in shown.layers}
    np.testing.assert_array_equal(before["p"], a - b)
    np.testing.assert_array_equal(maps["p"], np.where(a > b, a - b, 0))
    np.testing.assert_array_equal(maps["q"], np.where(c > d, c - d, 0))
    np.testing.assert_array_equal(maps["b"], b)
    np.testing.assert_array_equal(maps["d"], d)
    np.testing.assert_array_equal(before["u"], maps["p"] - maps["q"] + b - d)
    np.testing.assert_array_equal(maps["u"] + maps["v"], shown.result)


def test_average_is_the_mean_of_every_window():
    shown = demo(16, 5)
    x = shown.x.tolist()
    means = [
        [(x[i][j] + x[i][j + 1] + x[i + 1][j] + x[i + 1][j + 1]) / 4 for j in range(0, 16, 2)] for i in range(0, 16, 2)
    ]
    assert shown.average.tolist() == shown.native_average.tolist() == means
    assert shown.average_equal


def test_image_is_of_signed_integers_and_follows_the_seed():
    x = demo(32, 7).x
    assert x.shape == (32, 32)
    assert set(x.ravel()) == set(range(-9, 10))
    np.testing.assert_array_equal(x, demo(32, 7).x)
    assert (x != demo(32, 8).x).any()


def test_same_seed_same_page():
    assert page(demo(seed=4)) == page(demo(seed=4)) != page(demo(seed=5))


@pytest.mark.parametrize("size", [0, 1, 3, 15, 34, -4])
def test_refuses_other_sizes(size):
    with pytest.raises(UsageError, match=f"even number from 2 to 32, not {size}; --size 4"):
        demo(size)


def test_refuses_unknown_pairing_seed_and_notation():
    with pytest.raises(UsageError, match=r"unknown pairing 'ba\|cd'; choose one of ab\|cd, ac\|bd, ad\|bc"):
        demo(pairing="ba|cd")
    with pytest.raises(UsageError, match="seed must be 0 or more, not -1"):
        demo(seed=-1)
    with pytest.raises(UsageError, match="numpy or latex, not 'matlab'"):
        kernels_text(demo(2), "matlab")


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_numpy_text_runs_and_pools(pairing):
    shown = demo(8, 1, pairing)
    space = {}
    exec(kernels_text(shown, "numpy"), space)  # noqa: S102
    kernels = {name.removeprefix("kernel_"): k.tolist() for name, k in space.items() if name.startswith("kernel_")}
    assert kernels.pop("average") == [[0.25, 0.25], [0.25, 0.25]]
    assert kernels == STRIDED[pairing] | POINT
    x = shown.x.tolist()
    assert loops(x, kernels) == shown.result.tolist() == largest(x)


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_latex_text_is_balanced_and_holds_the_kernels(pairing):
    text = kernels_text(demo(2, pairing=pairing), "latex")
    lines = text.replace("\n    ", " ").splitlines()  # a line indented by four goes on with the one before
    assert lines[0] == r"% \usepackage{amsmath}"
    body = [line for line in lines if not line.startswith("%")]
    depth = 0
    for character in "".join(body):
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0
    assert re.findall(r"\\begin\{(\w+\*?)\}", text) == ["align*", *["pmatrix"] * 7]
    assert re.findall(r"\\end\{(\w+\*?)\}", text) == [*["pmatrix"] * 7, "align*"]
    assert all(line.endswith(r" \\") for line in body[1:-2])
    assert not body[-2].endswith(r"\\")
    matrices = [
        [[entry.strip() for entry in row.split("&")] for row in found.split(r"\\")]
        for found in re.findall(r"\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}", text, re.DOTALL)
    ]
    expected = [*STRIDED[pairing].values(), [POINT["u"]], [POINT["v"]]]
    assert matrices[:-1] == [[[str(entry) for entry in row] for row in kernel] for kernel in expected]
    assert matrices[-1] == [[r"\tfrac{1}{4}"] * 2] * 2
    assert re.findall(r"(\w) &= r\(", text) == ["p", "q", "u"]


def test_json_round_trip():
    shown = demo(4, 2)
    found = as_json(shown)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["image"] == shown.x.tolist()
    assert found["result"] == found["native"] == largest(shown.x.tolist())
    assert found["equal"] is found["average"]["equal"] is True
    assert loops(found["image"], {layer["name"]: layer["kernel"] for layer in found["layers"]}) == found["result"]
    assert [layer["formula"] for layer in found["layers"] if layer["relu"]] == [
        "r(a - b)",
        "r(c - d)",
        "r(p - q + b - d)",
    ]
    assert found["average"]["result"] == shown.native_average.tolist()
    assert all(isinstance(value, int) for row in found["image"] for value in row)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("size", range(2, 33, 2))
def test_page_fits_80_columns_without_wrapping(size, pairing, encoding):
    shown = demo(size, size, pairing)
    text = page(shown, encoding=encoding)
    assert max(map(len, text.splitlines())) <= 80
    assert text == page(shown, width=200, encoding=encoding)
    titles = re.findall(r"^(\d)  .* [─-]+$", text, re.MULTILINE)
    assert titles == list("123456789")
    # a number that was cropped would be missing from the image or from the twelve maps
    rows = re.findall(r"^[│|]([ \d.│|-]*\d[ \d.│|-]*)$", text, re.MULTILINE)
    assert sum(len(re.findall(r"-?\d+(?:\.\d+)?", row)) for row in rows) == size**2 + 12 * (size // 2) ** 2
    worked = re.findall(r"u = r\(.*?\) = r\(.*\) = r\(-?\d+\) = \d+ +[│|]$", text, re.MULTILINE)
    assert len(worked) == (size**2 // 4 if size <= 4 else 1)


@pytest.mark.parametrize("width", [1, 20, 40])
def test_narrow_terminals_are_kept_to(width):
    assert max(map(len, page(demo(32), width).splitlines())) <= width


def test_widest_window_is_not_wrapped():
    shown = demo(2)
    widest = [[1, -9], [9, -9]]  # every number that the formula of u can make two characters wide
    layers = [
        replace(layer, before=np.array([[before]]), map=np.array([[after]]))
        for layer, before, after in zip(shown.layers, (10, 18, -9, -9, -8, 9), (10, 18, -9, -9, 0, 9), strict=True)
    ]
    text = page(replace(shown, x=np.array(widest), layers=tuple(layers)))
    assert "u = r(p - q + b - d) = r(10 - 18 + (-9) - (-9)) = r(-8) = 0" in text
    assert "v = q + d = 18 + (-9) = 9" in text


def test_page_counts_what_is_equal():
    shown = demo(16)
    assert "equal: yes, all 64 of 64\n" in page(shown)
    result, average = shown.result.copy(), shown.average.copy()
    result[0, 0] += 1
    average[1] += 1
    wrong = replace(shown, result=result, average=average)
    assert not wrong.equal
    assert not wrong.average_equal
    assert as_json(wrong)["equal"] is as_json(wrong)["average"]["equal"] is False
    text = page(wrong)
    assert "equal: NO, only 63 of 64" in text
    assert "equal to NumPy's mean: NO, only 56 of 64" in text
    assert "yes" not in text


@pytest.mark.parametrize(("size", "blocks"), [(16, 1), (32, 2)])
def test_page_shows_every_map(size, blocks):
    shown = demo(size, 9)
    text = page(shown)
    wide = [row for half in np.split(shown.x, blocks, axis=1) for row in half]
    for row in wide:
        words = [f"{int(value):2}" for value in row]
        assert "│ " + " │ ".join(map(" ".join, zip(words[::2], words[1::2], strict=True))) + " │\n" in text
    maps = [*shown.maps.values(), *(layer.before for layer in shown.layers), shown.result]
    rows = [row for array in [*maps, *np.split(shown.average, blocks, axis=1)] for row in array]
    for row in rows:
        assert re.search("│ +" + " +".join(re.escape(f"{value:g}") for value in row) + " │", text)


def test_sheet_to_check_by_hand():
    lines = [line.rstrip() for line in page(demo(4, 0)).splitlines()]
    assert lines == (GOLDEN / "demo_size4.txt").read_text(encoding="utf-8").splitlines()
