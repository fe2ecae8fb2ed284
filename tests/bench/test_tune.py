"""--tune: candidates are measured once, remembered, and taken from memory only where it still makes sense."""

import json

import onnx
import pytest

import depool
from depool.bench import tune
from depool.bench.tune import Tuner, fastest
from depool.choice import Choice
from depool.onnx import files
from depool.onnx.find import Selection, find
from depool.onnx.site import PoolSite, plan_site, ranked_site


@pytest.fixture
def site(place):
    source = files.read(str(place / "digits.onnx"))
    return next(item for item in find(source.model, source.folder, Selection()) if isinstance(item, PoolSite))


class Times:
    """Timings that say what they are told."""

    def __init__(self, fast):
        self.fast = fast

    def time(self, name):
        return type("Spread", (), {"median": 1.0 if name == self.fast else 2.0})


def says(monkeypatch, fast, seen=None):
    def interleaved(candidates, seconds):
        if seen is not None:
            seen.append(list(candidates))
        assert seconds > 0
        return Times(fast)

    monkeypatch.setattr(tune, "interleaved", interleaved)


def test_the_fastest_is_taken(site, monkeypatch):
    found = ranked_site(site, Choice())
    assert len(found) > 2
    for i in ("0", "2"):
        says(monkeypatch, i)
        assert fastest(site, found, 0.1) is found[int(i)]


def test_what_computes_something_else_is_not_timed(site, monkeypatch):
    found = ranked_site(site, Choice())
    wrong = plan_site(site, Choice("tree"))
    from dataclasses import replace

    node = wrong.program.nodes[0]
    nodes = (replace(node, kernel=-node.kernel), *wrong.program.nodes[1:])
    wrong = replace(wrong, program=replace(wrong.program, nodes=nodes))
    seen = []
    says(monkeypatch, "0", seen)
    fastest(site, [*found[:2], wrong], 0.1)
    assert seen == [["0", "1"]]


def test_a_choice_is_remembered_under_all_it_depends_on(site, tmp_path, monkeypatch):
    seen = []
    says(monkeypatch, "1", seen)
    first = Tuner(tmp_path / "cache", 0.1)(site, Choice())
    again = Tuner(tmp_path / "cache", 0.1)(site, Choice())
    assert len(seen) == 1
    assert again.plan == first.plan != ranked_site(site, Choice())[0].plan
    Tuner(tmp_path / "cache", 0.1)(site, Choice(exact=True))
    monkeypatch.setattr(depool, "__version__", "another")
    Tuner(tmp_path / "cache", 0.1)(site, Choice())
    assert len(seen) == 3


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"'])
def test_a_damaged_memory_is_measured_anew(site, tmp_path, monkeypatch, text):
    seen = []
    says(monkeypatch, "0", seen)
    (tmp_path / "tuned.json").write_text(text)
    Tuner(tmp_path, 0.1)(site, Choice())
    assert len(seen) == 1
    assert json.loads((tmp_path / "tuned.json").read_text())


@pytest.mark.parametrize(
    "known", [None, {"scheme": "horner"}, {"scheme": "x", "stages": []}, {"scheme": "horner", "stages": [[1]]}]
)
def test_a_memory_of_something_else_is_measured_anew(site, tmp_path, monkeypatch, known):
    """A plan is proved anew when it is recalled, so that a file cannot make a wrong conversion."""
    seen = []
    says(monkeypatch, "0", seen)
    Tuner(tmp_path, 0.1)(site, Choice())
    path = tmp_path / "tuned.json"
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), known)))
    Tuner(tmp_path, 0.1)(site, Choice())
    assert len(seen) == 2


def test_a_folder_that_cannot_be_written_to(site, tmp_path, monkeypatch):
    says(monkeypatch, "0")
    (tmp_path / "file").write_text("")
    assert Tuner(tmp_path / "file" / "cache", 0.1)(site, Choice()).plan is not None


def test_on_the_command_line(depool, place, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    monkeypatch.setattr(tune, "SECONDS", 0.01)
    code, out, _ = depool("convert", "digits.onnx", "--tune")
    assert code == 0
    assert "2 pools keep their promise" in out
    remembered = (place / "cache").rglob("tuned.json")
    assert len(json.loads(next(remembered).read_text())) == 2
    assert depool("verify", "digits.onnx", "digits.depool.onnx", "-q")[0] == 0
    assert {node.op_type for node in onnx.load("digits.depool.onnx").graph.node} & {"MaxPool"} == set()
