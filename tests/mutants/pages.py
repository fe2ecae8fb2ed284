"""Mutations of the report and the explainer; rows in the order of `Mutation`'s fields.

What only a browser can notice (tests/browser) is not among them.
"""

from __future__ import annotations

from mutants.mutation import tests

HISTOGRAM = [
    (
        "an exact power of two is counted one halving too low",
        "verification/histogram.py",
        "np.where(fraction == 0.5, 1, 0) - exponent",
        "-exponent",
        tests("verification/test_histogram", "each_half_has_its_entry"),
    ),
    (
        "what is no number is not counted as broken",
        "verification/histogram.py",
        "int((~kept).sum())",
        "int((apart > bound).sum())",
        tests("verification/test_histogram", "identical_and_beyond"),
    ),
    (
        "only the last comparison is counted",
        "verification/pools.py",
        "counted = check.errors + histogram(apart, bound)",
        "counted = histogram(apart, bound)",
        tests("verification/test_histogram", "verification_counts_what_it_compares"),
    ),
]
REPORT = [
    (
        "names from a model are markup",
        "report/html/page.py",
        "autoescape=True",
        "autoescape=False",
        tests("report/test_html", "hostile_names_are_text"),
    ),
    (
        "words in pictures are markup",
        "report/html/svg.py",
        "child if isinstance(child, Drawn) else escape(child)",
        "child",
        tests("report/test_html", "words_in_pictures_are_escaped"),
    ),
    (
        "a convolution that others read too is drawn with its ReLU",
        "report/html/boxes.py",
        "alone = len(after) == 1 and",
        "alone = len(after) >= 1 and",
        tests("report/test_html", "a_relu_has_a_box_of_its_own_where_others_read_its_convolution_too"),
    ),
    (
        "the report overwrites what is there",
        "report/html/page.py",
        'files.check_target(path, model, force=force, option="--report")',
        'files.check_target(path, model, force=True, option="--report")',
        tests("report/test_html", "nothing_is_written_where_something_is_wrong"),
    ),
    (
        "the report may be any file",
        "report/html/page.py",
        'if path.suffix not in {".html", ".htm"}:',
        "if not path.suffix:",
        tests("report/test_html", "nothing_is_written_where_something_is_wrong"),
    ),
    (
        "what was not verified is called kept",
        "report/html/pools.py",
        'return "unsure", "not verified"',
        'return "kept", "keeps its promise"',
        tests("report/test_html", "what_is_not_verified_is_not_called_equal"),
    ),
    (
        "the smallest errors are drawn first from the wrong end",
        "report/html/charts.py",
        "counts = [found.identical, *reversed(found.within)]",
        "counts = [found.identical, *found.within]",
        tests("report/test_html", "counts_in_the_picture_are_those_of_the_verdict"),
    ),
]
EXPLAIN = [
    (
        "a formula loses a bias of its convolution",
        "explain/formulas.py",
        "if node.bias is not None and node.bias[o]:",
        "if node.bias is not None and not node.bias[o]:",
        tests("explain/test_explain", "a_bias_is_in_the_formula"),
    ),
    (
        "formulas forget dilations",
        "explain/formulas.py",
        "str(t * d) for t, d in zip",
        "str(t) for t, d in zip",
        tests("explain/test_explain", "formulas_are_true"),
    ),
    (
        "pairings are left out",
        "explain/programs.py",
        'paired = scheme == "tree" and prod(asked.spec.kernel_shape) == 4',
        'paired = scheme == "tree" and prod(asked.spec.kernel_shape) == 5',
        tests("explain/test_explain", "every_combination_is_there_once"),
    ),
    (
        "the file is another combination's",
        "explain/programs.py",
        "choice = Choice(scheme, form, exact=exact, pairing=pairing)",
        'choice = Choice(scheme, form, exact=exact, pairing="ab|cd")',
        tests("explain/test_explain", "every_pairing_has_a_network_of_its_own"),
    ),
    (
        "a page of any size is written",
        "explain/page.py",
        "if len(page.encode()) > LARGEST_PAGE:",
        "if not page:",
        tests("explain/test_explain", "a_page_that_is_too_large_is_refused"),
    ),
    (
        "markup in the embedded JSON ends the script",
        "explain/page.py",
        '.replace("<", "\\\\u003c")',
        "",
        tests("explain/test_explain", "embedded_json_is_no_markup"),
    ),
    (
        "a refused combination is shown first",
        "explain/page.py",
        "== wanted and way.refusal is not None:",
        "== wanted and way.refusal is None and not found:",
        tests("explain/test_explain", "what_is_shown_first_must_be_possible"),
    ),
]

MUTATIONS = (*HISTOGRAM, *REPORT, *EXPLAIN)
