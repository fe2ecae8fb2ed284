"""The report in a real browser: no request, no overflow, all of it legible, with the keyboard and on paper."""

import pytest
from pages import CONTRAST, OVERFLOW, ROOT, SIZES

pytestmark = pytest.mark.browser

MODELS = ROOT.parent / "shared" / "models"
DIGITS = ROOT / "examples" / "digits.onnx"
HARD = {
    "digits": ("convert", DIGITS, "-o", "d.onnx"),
    "yolox": ("convert", MODELS / "yolox-det.onnx", "-o", "y.onnx"),
    "tree": ("convert", DIGITS, "-o", "t.onnx", "--scheme", "tree", "--form", "concat", "--exact"),
    "refused": ("inspect", DIGITS, "--target", "portable"),
    "planned": ("inspect", DIGITS),
}


@pytest.fixture(scope="module", params=HARD)
def report(request, depool):
    command, model, *options = HARD[request.param]
    if not model.exists():
        pytest.skip(f"needs the model {model.name}")
    return depool(command, model, *options)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_and_is_legible(report, tab, size, scheme):
    page = tab(report, viewport=SIZES[size], color_scheme=scheme)
    assert page.evaluate(OVERFLOW)
    assert page.evaluate(CONTRAST) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(251, 250, 247)") == (scheme == "light")


def test_words_stay_in_their_boxes(report, tab):
    page = tab(report)
    outside = page.evaluate(
        """() => [...document.querySelectorAll('svg g')].flatMap(group => {
          const box = group.querySelector('.box').getBoundingClientRect();
          return [...group.querySelectorAll('text')].filter(t => {
            const r = t.getBoundingClientRect();
            return r.left < box.left || r.right > box.right || r.top < box.top - 1 || r.bottom > box.bottom + 1;
          }).map(t => t.textContent);
        })"""
    )
    assert outside == []
    cut = page.evaluate(
        """() => [...document.querySelectorAll('svg[role=img]')].flatMap(svg => {
          const box = svg.getBoundingClientRect();
          return [...svg.querySelectorAll('text, rect')].filter(t => {
            const r = t.getBoundingClientRect();
            return r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 1 || r.bottom > box.bottom + 1;
          }).map(t => t.textContent);
        })"""
    )
    assert cut == []


def test_what_scrolls_can_be_reached_with_the_keyboard(report, tab):
    page = tab(report, viewport=SIZES["narrow"])
    unreachable = page.evaluate(
        "() => [...document.querySelectorAll('*')].filter(e => e.scrollWidth > e.clientWidth + 1 "
        "&& getComputedStyle(e).overflowX === 'auto' && e.tabIndex < 0).map(e => e.className)"
    )
    assert unreachable == []


def test_on_paper_nothing_is_cut(report, tab):
    page = tab(report, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 680, "height": 960})
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(CONTRAST) == []
    cut = page.evaluate(
        "() => [...document.querySelectorAll('svg[role=img]')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert cut == 0
