"""The explainer in a real browser: its arithmetic is the program's, and all of it works with the keyboard alone."""

import base64
import json
import re
from itertools import pairwise, product

import numpy as np
import pytest
from pages import CONTRAST, OVERFLOW, SIZES

from depool.explain.asked import asked
from depool.explain.programs import ways

pytestmark = pytest.mark.browser

POOLS = {
    "2x2": ("2x2", "2", "0", None),
    "3x3 padded": ("3x3", "2", "1", "5x6"),
    "3x2 odd pads": ("3x2", "1x2", "1,0,2,1", "4x5"),
    "4x4": ("4x4", "4", "0", None),
    "1x3": ("1x3", "1", "0", "3"),
}


@pytest.fixture(scope="module", params=POOLS)
def pool(request, depool):
    """(what was asked, the page)"""
    words = POOLS[request.param]
    options = [
        o for name, w in zip(("kernel", "strides", "pads", "size"), words, strict=True) if w for o in (f"--{name}", w)
    ]
    return asked(*words), depool("explain", *options, "--form", "branched", option="-o")


@pytest.fixture(scope="module")
def first(depool):
    """The page as it is made without options."""
    return depool("explain", option="-o")


def arrays(shape, seed=0):
    """Integers, normal numbers, all magnitudes, negative ones, ties, zeros and the like."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=shape)
    yield rng.integers(-9, 10, shape)
    yield normal
    yield normal * 10.0 ** rng.integers(-30, 30, shape)
    yield -np.abs(normal) * 10.0 ** rng.integers(-3, 9, shape)
    yield np.where(rng.random(shape) < 0.5, normal, -1e8 * np.abs(normal))
    yield rng.choice([-0.0, 0.0, 1e-45, -1e-45, 1e-38, 1.0, np.nextafter(np.float32(1), np.float32(2))], shape)
    yield np.full(shape, -3.25)


def native(spec, x):
    """The pool in nested loops."""
    (top, bottom), (left, right) = spec.pads
    padded = np.pad(x.astype(np.float64), ((top, bottom), (left, right)), constant_values=-np.inf)
    (kh, kw), (sh, sw) = spec.kernel_shape, spec.strides
    rows, columns = (padded.shape[0] - kh) // sh + 1, (padded.shape[1] - kw) // sw + 1
    return np.array(
        [[padded[i * sh : i * sh + kh, j * sw : j * sw + kw].max() for j in range(columns)] for i in range(rows)]
    )


RUN = """([index, bits, rows, columns]) => {
  const x = tensor(1, rows, columns, new Float32Array(Uint32Array.from(bits).buffer));
  const values = run(DATA.networks[DATA.programs[index].network], x);
  return values.map(v => [v.maps, v.rows, v.columns, [...new Uint32Array(v.data.buffer)]]);
}"""
NATIVE = """([bits, rows, columns]) => [...nativePool(DATA.pool,
  tensor(1, rows, columns, new Float32Array(Uint32Array.from(bits).buffer))).data]"""


def bits(array):
    return np.ascontiguousarray(array, np.float32).view(np.uint32).ravel().tolist()


def test_every_tensor_is_that_of_the_program_bit_for_bit(pool, tab):
    question, path = pool
    page = tab(path)
    compared = 0
    for index, way in enumerate(ways(question)):
        if way.conversion is None:
            continue
        for x in arrays(question.size, index):
            x = x.astype(np.float32)  # noqa: PLW2901 - as the page has it
            wanted = way.conversion.program.trace(x[None, None])
            found = page.evaluate(RUN, [index, bits(x), *question.size])
            assert len(found) == len(wanted)
            for (*shape, got), value in zip(found, wanted, strict=True):
                assert shape == list(value.shape[1:])
                assert np.array_equal(got, bits(value)), (way.scheme, way.form, way.pairing, way.exact)
            compared += 1
    assert compared >= 7 * 6


def test_native_pool_is_the_maximum(pool, tab):
    question, path = pool
    page = tab(path)
    for x in arrays(question.size):
        x = x.astype(np.float32)  # noqa: PLW2901
        found = page.evaluate(NATIVE, [bits(x), *question.size])
        assert list(map(float, found)) == native(question.spec, x).ravel().tolist()


def pick(page, **choice):
    """Click radio buttons that are not disabled; whatever is clicked last may disable others."""
    clicks = (
        "pairs => pairs.forEach(([axis, value]) => document.querySelector(`#${axis} input[value='${value}']`).click())"
    )
    page.evaluate(clicks, list(choice.items()))


def combinations(page):
    """Every combination that is not refused, chosen one after the other: (arithmetic, pairing)."""
    entries = page.evaluate("DATA.programs.filter(p => !p.refusal).map(p => [p.scheme, p.form, p.pairing, p.exact])")
    for scheme, form, pairing, exact in entries:
        pick(page, exact="plain", scheme="tree")  # from where all else can be reached
        pick(page, form=form, scheme=scheme, exact="exact" if exact else "plain")
        if scheme == "tree" and page.locator("#pairing").is_visible():
            pick(page, pairing=pairing)
        assert page.evaluate("[program().scheme, program().form, program().pairing, program().exact]") == [
            scheme, form, pairing, exact
        ]  # fmt: skip
        yield ("exact" if exact else "plain"), pairing


def numbers(page, place):
    return [
        float(title)
        for title in page.locator(f"#{place} [role=gridcell]").evaluate_all("cells => cells.map(c => c.title)")
    ]


def test_every_combination_gives_the_native_result_for_integers(pool, tab):
    question, path = pool
    page = tab(path)
    seen = 0
    for preset in ("Integers", "All negative"):
        page.get_by_role("button", name=preset).click()
        for _ in combinations(page):
            assert page.inner_text("#said").startswith("Equal: all ")
            assert numbers(page, "ours") == numbers(page, "native")
            seen += 1
    values = np.array(page.locator("#input input").evaluate_all("fields => fields.map(f => Number(f.dataset.value))"))
    assert numbers(page, "native") == native(question.spec, values.reshape(question.size)).ravel().tolist()
    assert seen >= 2 * 6


def test_slider_shows_a_loss_in_every_plain_program_and_none_in_an_exact_one(first, tab):
    page = tab(first)
    page.get_by_role("button", name="Mixed").click()
    assert page.inner_text("#factor") == "× 1e8"
    exact_ones = 0
    for exact, _ in combinations(page):
        told = page.evaluate(
            """() => [...Array(9).keys()].map(power => {
              const slider = document.getElementById('magnitude');
              slider.value = power; slider.dispatchEvent(new Event('input', {bubbles: true}));
              const cells = id => [...document.querySelectorAll(`#${id} [role=gridcell]`)];
              const shown = id => cells(id).map(cell => cell.title).join();
              return [document.getElementById('said').textContent, shown('ours') !== shown('native')];
            })"""
        )
        losses = [text.startswith("Differs by up to ") for text, _ in told]
        assert losses == [apart for _, apart in told]
        assert not losses[0]  # multiples of 1/8 of one magnitude: nothing is lost yet
        assert losses[8] == (exact == "plain")
        exact_ones += exact == "exact"
        if exact == "exact":
            assert not any(losses)
    assert exact_ones == 12  # three forms of the separable scheme, and of the tree's three pairings


def test_edited_cell_changes_the_maximum(first, tab):
    page = tab(first)
    before = numbers(page, "native")
    page.get_by_label("row 3, column 4, multiplied by the slider").fill("41.5")
    after = numbers(page, "ours")
    assert after == numbers(page, "native")
    assert [n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [4]
    assert after[4] == 41.5
    page.get_by_label("row 3, column 4, multiplied by the slider").fill("−60")
    assert numbers(page, "ours")[4] == 9  # what is next to it


def test_typed_number_is_taken_as_it_is_and_the_slider_starts_anew(first, tab):
    page = tab(first)
    shown = "fields => fields.map(f => Number(f.dataset.value))"
    before = page.locator("#input input").evaluate_all(shown)
    page.locator("#magnitude").fill("4")
    large = page.locator("#input input").evaluate_all(shown)
    dotted = page.locator("#input input").evaluate_all("fields => fields.map(f => f.classList.contains('marked'))")
    assert large == [value * 1e4 if dot else value for value, dot in zip(before, dotted, strict=True)]
    assert dotted[1]
    assert not dotted[0]
    page.locator("#input input").nth(1).fill("0.1")
    after = page.locator("#input input").evaluate_all(shown)
    assert after == [large[0], 0.1, *large[2:]]
    assert page.input_value("#magnitude") == "0"
    assert page.evaluate("numbers()[1] === Math.fround(0.1)")


def test_what_is_no_number_is_said_and_changes_nothing(first, tab):
    page = tab(first)
    before = numbers(page, "ours")
    field = page.get_by_label("row 1, column 1", exact=True)
    for text in ("", "abc", "1e99", "-"):
        field.fill(text)
        assert field.get_attribute("aria-invalid") == "true"
        assert numbers(page, "ours") == before
    field.blur()
    page.wait_for_function("document.querySelector('#input input').value === '7'")
    assert field.get_attribute("aria-invalid") is None


def test_drawing_fills_cells(first, tab):
    page = tab(first)
    page.get_by_label("draw with", exact=True).check()
    page.get_by_label("number to draw with").fill("50")
    cells = [page.locator("#input input").nth(n).bounding_box() for n in (0, 2)]
    page.mouse.move(cells[0]["x"] + 10, cells[0]["y"] + 10)
    page.mouse.down()
    page.mouse.move(cells[1]["x"] + 10, cells[1]["y"] + 10, steps=12)
    page.mouse.up()
    values = page.locator("#input input").evaluate_all("fields => fields.map(f => f.dataset.value)")
    assert values[:4] == ["50", "50", "50", "-4"]
    assert numbers(page, "ours")[:2] == [50, 50]


def test_keyboard_alone(first, tab):
    page = tab(first)
    focused = "document.activeElement"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.getAttribute('aria-label')") == "row 1, column 1"
    page.keyboard.type("33")
    assert numbers(page, "ours")[0] == 33
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                f"{focused}.id || {focused}.dataset.preset || {focused}.name || {focused}.getAttribute('role')"
            )
        )
        if page.evaluate(f"{focused} === document.body"):
            break
    buttons = {"integers", "negative", "random", "mixed", "next", "play", "download"}
    fields = {"draw", "brush", "magnitude", "gridcell", "scheme", "pairing", "form", "exact", "position"}
    assert buttons | fields <= reached
    page.evaluate(f"{focused}.blur()")
    for wanted in (2, 3, 4):
        page.keyboard.press("ArrowRight")
        assert page.inner_text("#title").startswith(f"Step {wanted} of 11: ")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#title").startswith("Step 3 of 11: ")
    page.locator("#scheme input:checked").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("state.choice.scheme") == "separable"
    page.locator("#next").focus()
    page.keyboard.press("Enter")
    assert page.inner_text("#title").startswith("Step 2 of ")
    page.keyboard.press("Enter")
    page.locator("#step .gives .card > .grid [role=gridcell]").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#step .worked").startswith("row 1, column 2 of ")
    assert page.inner_text("#title").startswith("Step 3 of ")  # inside a grid the arrows move in the grid


def test_pointing_lights_the_window_and_shows_the_sum(first, tab):
    page = tab(first)
    page.locator("#step .gives .card > .grid [role=gridcell]").nth(4).hover()
    lit = page.locator("#input input").evaluate_all(
        "fields => fields.flatMap((f, n) => f.classList.contains('window') ? [n] : [])"
    )
    assert lit == [2 * 6 + 2, 2 * 6 + 3]  # a and b of the window in the middle
    values = page.locator("#input input").evaluate_all("fields => fields.map(f => Number(f.dataset.value))")
    a, b = (values[n] for n in lit)
    assert page.inner_text("#step .worked") == f"row 2, column 2 of a − b: {a:g} − {b:g} = {a - b:g}"
    page.locator("#native [role=gridcell]").nth(8).hover()
    lit = page.locator("#input input").evaluate_all(
        "fields => fields.flatMap((f, n) => f.classList.contains('window') ? [n] : [])"
    )
    assert lit == [28, 29, 34, 35]


def test_every_step_of_every_program_can_be_shown(pool, tab):
    _, path = pool
    page = tab(path)
    steps = page.evaluate(
        """() => { let shown = 0;
          for (const p of DATA.programs.filter(p => !p.refusal)) {
            state.choice = {scheme: p.scheme, pairing: p.pairing, form: p.form, exact: p.exact};
            for (let n = 0; n < nodesOf(p).length; n++) {
              go(n);
              for (const cell of document.querySelectorAll('#step .gives [role=gridcell][tabindex="0"]')) cell.focus();
              const text = document.getElementById('step').textContent;
              if (/NaN|undefined|null/.test(text)) throw new Error(text);
              shown++;
            }
          }
          return shown; }"""
    )
    assert steps >= page.evaluate("DATA.networks.reduce((sum, nodes) => sum + nodes.length, 0)")


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_play_goes_on_by_itself(first, tab, motion):
    page = tab(first, reduced_motion=motion)
    page.clock.install()
    page.reload()
    page.locator("#play").click()
    assert page.inner_text("#play") == "Stop"
    page.clock.run_for(2100 if motion == "reduce" else 9 * 330)
    assert page.inner_text("#title").startswith("Step 2 of ")
    page.locator("#play").click()
    page.clock.run_for(20000)
    assert page.inner_text("#title").startswith("Step 2 of ")


def test_refused_combinations_are_disabled_with_their_reason(depool, tab):
    page = tab(depool("explain", "--kernel", "3x3", "--pads", "1", "--exact", option="-o"))
    assert page.locator("#form input[value=sequential]").is_disabled()
    assert page.locator("#scheme input[value=shallow]").is_disabled()
    assert page.locator("#pairing").is_hidden()
    said = page.inner_text("#refusals")
    assert "EXACT_NEEDS_BRANCHES" in said
    assert "SHALLOW_NOT_EXACT" in said
    page.locator("#exact input[value=plain]").check()
    assert page.locator("#scheme input[value=shallow]").is_enabled()
    assert "NEEDS_INPUT_RANGE" in page.inner_text("#refusals")


def test_the_file_to_download_is_the_one_that_runs(first, tab):
    onnxruntime = pytest.importorskip("onnxruntime")
    page = tab(first)
    pick(page, scheme="shallow", form="sequential")
    with page.expect_download() as info:
        page.locator("#download").click()
    assert info.value.suggested_filename == "maxpool-shallow-ab-cd-sequential-plain.onnx"
    data = base64.b64decode(page.get_attribute("#download", "href").partition(",")[2])
    assert info.value.path().read_bytes() == data
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    values = page.locator("#input input").evaluate_all("fields => fields.map(f => Number(f.dataset.value))")
    (result,) = session.run(None, {"x": np.array(values, np.float32).reshape(1, 1, 6, 6)})
    assert result.ravel().tolist() == numbers(page, "ours")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_and_is_legible(pool, tab, size, scheme):
    _, path = pool
    page = tab(path, viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce")
    for preset, form in product(("Integers", "Mixed"), ("branched", "concat", "sequential")):
        page.get_by_role("button", name=preset).click()
        if page.locator(f"#form input[value={form}]").is_enabled():
            pick(page, form=form)
        for step in (0, 2, 5):
            page.evaluate(f"go({step})")
            assert page.evaluate(OVERFLOW)
        assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("size", SIZES)
def test_numbers_stay_in_their_cells(first, tab, size):
    page = tab(first, viewport=SIZES[size])
    page.get_by_role("button", name="Mixed").click()
    for step in range(11):
        page.evaluate(f"go({step})")
        cut = page.evaluate(
            "[...document.querySelectorAll('.cell')].filter(c => c.scrollWidth > c.clientWidth)"
            ".map(c => c.textContent || c.value)"
        )
        assert cut == []


def test_result_is_announced(first, tab):
    page = tab(first)
    assert page.get_attribute("#result", "aria-live") == "polite"
    assert page.get_attribute("html", "lang") == "en"
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, button, select')]"
        ".filter(e => !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim())).length"
    )
    assert unnamed == 0
    levels = [
        int(tag[1]) for tag in page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(h => h.tagName)")
    ]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_page_is_small_and_says_what_it_embeds(pool):
    _, path = pool
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < 500_000
    data = json.loads(re.search(r'<script type="application/json" id="programs">(.*?)</script>', text).group(1))
    assert data["schema"] == 1
