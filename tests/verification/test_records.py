"""Tampered records are found."""

import json

import pytest
from verify_models import SIGNED, edited, found_out, graph, pair

import depool
from depool.errors import Exit, FileError
from depool.onnx.records import GIVEN_KEY, KEY


def rewritten(path, edit, key=KEY):
    """The model with its records after `edit`, which changes them or returns other text."""

    def inside(model):
        entry = next(entry for entry in model.metadata_props if entry.key == key)
        records = json.loads(entry.value)
        text = edit(records)
        entry.value = text if isinstance(text, str) else json.dumps(records)

    return edited(path, inside)


LIES = {
    "a lower bound": (lambda record: record["facts"].update(lower=0.0), "which nothing licenses"),
    "an upper bound": (lambda record: record["facts"].update(upper=1.0), "which nothing licenses"),
    "a ReLU after it": (lambda record: record["facts"].update(relu_follows=True), "only ReLUs read it"),
    "another kernel": (lambda record: record["spec"].update(kernel_shape=[3, 1]), "geometry is not the original's"),
    "other sizes": (lambda record: record.update(sizes=[None, None]), "geometry is not the original's"),
    "other channels": (lambda record: record.update(channels=1), "geometry is not the original's"),
    "another source": (lambda record: record.update(source="q"), "geometry is not the original's"),
    "another output": (lambda record: record.update(output="q"), "the original has no such pool"),
    "another scope": (lambda record: record.update(scope="if/then_branch/"), "if/then_branch/ is missing"),
    "another operator": (lambda record: record.update(op_type="AveragePool"), "operator AveragePool"),
    "another gate": (lambda record: record.update(gate="K"), ""),
    "another border": (lambda record: record.update(border="zero"), "recorded promise"),
    "more rounding": (
        lambda record: record["rounding"]["steps"].append({"ulps": 9, "sums": [], "growth": 1.0}),
        "recorded promise",
    ),
    "a larger constant": (lambda record: record["rounding"].update(magnitude=1e6), "recorded promise"),
    "a smaller range": (lambda record: record["rounding"].update(heaviest=1e30), "recorded promise"),
    "products": (lambda record: record["rounding"].update(products=1000), "recorded promise"),
    "an unknown scheme": (lambda record: record.update(scheme="magic"), "unknown scheme 'magic'"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_record_that_lies(name, tmp_path):
    """The convolutions are right, but not for the reason that is recorded."""
    edit, reason = LIES[name]
    before, after = pair(tmp_path, graph(SIGNED))
    verdict = depool.verify(before, rewritten(after, lambda records: edit(records[0])))
    if name == "another gate":
        assert verdict.exit_code in {Exit.DONE, Exit.NOT_EQUAL}
        return
    assert reason in found_out(verdict).summary


def test_a_false_bound_together_with_the_cheaper_border_it_would_license(tmp_path):
    """Zeros at the border are wrong for negative input, and metadata cannot make them right."""
    before, after = pair(tmp_path, graph(SIGNED), assume_nonnegative=True)

    def edit(records):
        records[0]["facts"].update(declared=False)

    honest = depool.verify(before, after)
    assert honest.equal is None
    assert "outside what was declared" in honest.summary
    verdict = found_out(depool.verify(before, rewritten(after, edit)))
    assert "which the analysis had excluded" in verdict.summary
    verdict = found_out(depool.verify(before, rewritten(rewritten(after, edit), nothing_given, GIVEN_KEY)))
    assert "which nothing licenses" in verdict.summary


def nothing_given(given):
    given.update(ranges=[], nonnegative=False)


def test_a_declaration_taken_away(tmp_path):
    before, after = pair(tmp_path, graph(SIGNED), input_range=(0.0, 1.0))
    assert depool.verify(before, after).equal is True
    verdict = depool.verify(before, rewritten(after, nothing_given, GIVEN_KEY))
    assert verdict.equal is not True or any("broken assumption" in note for note in verdict.notes)


@pytest.mark.parametrize("tolerance", [1e-5, 0.0])
def test_a_record_taken_away(tolerance, tmp_path):
    """What is not recorded counts as a change, and is only measured."""
    text = "[one] p = MaxPool <kernel_shape = [2, 2]>(x) [two] y = MaxPool <kernel_shape = [2, 2]>(p)"
    before, after = pair(tmp_path, graph(text))
    tampered = rewritten(after, lambda records: records.pop() and None)
    verdict = depool.verify(before, tampered, tolerance=tolerance)
    assert [check.where for check in verdict.pools] == ["one"]
    assert any("node two changed" in note for note in verdict.notes)
    assert verdict.equal is (tolerance > 0)
    assert "promise, and nothing else was changed" not in verdict.summary


def test_all_records_taken_away(tmp_path):
    before, after = pair(tmp_path, graph(SIGNED))
    verdict = depool.verify(before, rewritten(after, lambda records: records.clear()))
    assert verdict.pools == ()
    assert verdict.equal is True
    assert verdict.summary == "equal within 1e-05 as measured end to end; nothing is promised"


DAMAGE = {
    "no JSON": lambda records: "{",  # noqa: ARG005
    "no list": lambda records: "5",  # noqa: ARG005
    "no records": lambda records: "[1]",  # noqa: ARG005
    "too deep": lambda records: "[" * 100_000,  # noqa: ARG005
    "a field missing": lambda records: records[0].pop("facts") and None,
    "a field too many": lambda records: records[0].update(more=1),
    "no kernel": lambda records: records[0]["spec"].update(kernel_shape=[]),
    "an unknown type": lambda records: records[0].update(dtype="float8"),
    "a type that is none": lambda records: records[0].update(dtype="int32"),
    "a bound in words": lambda records: records[0]["facts"].update(lower="low"),
    "a name that is none": lambda records: records[0].update(scope=[1]),
    "rounding in words": lambda records: records[0]["rounding"].update(steps=[{"ulps": "a", "sums": [], "growth": 1}]),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_records(name, tmp_path):
    before, after = pair(tmp_path, graph(SIGNED))
    with pytest.raises(FileError, match="metadata are damaged") as caught:
        depool.verify(before, rewritten(after, DAMAGE[name]))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == Exit.FILE


@pytest.mark.parametrize("text", ["{", "5", "[]", "{}", '{"ranges": 5}'])
def test_damaged_declarations(text, tmp_path):
    before, after = pair(tmp_path, graph(SIGNED))
    with pytest.raises(FileError, match="metadata are damaged"):
        depool.verify(before, rewritten(after, lambda given: text, GIVEN_KEY))  # noqa: ARG005
