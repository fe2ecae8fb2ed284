"""Files of torch.export: what they hold is checked before it is loaded; what was dynamic stays so."""

from __future__ import annotations

import io
import json
import logging
import warnings
import zipfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.export import Dim  # noqa: E402

import depool  # noqa: E402
from depool.choice import Choice  # noqa: E402
from depool.errors import FileError, NotConverted, UsageError  # noqa: E402
from depool.objects import Wishes  # noqa: E402
from depool.torch import exported  # noqa: E402

WISHES = Wishes(Choice(target="pytorch"))
F = nn.functional


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return F.avg_pool2d(F.max_pool2d(self.conv(x), 3, 2, 1), 2)


class Named(nn.Module):
    """Inputs in a dict and by keyword, outputs in a dict."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, data, *, other):
        return {"a": F.max_pool2d(self.conv(data["x"]).relu(), 2), "b": F.avg_pool2d(other, 2)}


def export(module, args, kwargs=None, dynamic=None):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module, args, kwargs, dynamic_shapes=dynamic)


@pytest.fixture
def saved(tmp_path):
    def save(program):
        path = tmp_path / "model.pt2"
        exported.save(program, path)
        return path

    return save


def functions(program):
    return {str(node.target) for node in program.graph.nodes if node.op == "call_function"}


def close(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=2e-6)


def test_there_and_back(saved):
    program = export(Net().eval(), (torch.randn(2, 3, 20, 21),))
    converted, module = exported.convert(exported.load(str(saved(program))), WISHES)
    again = exported.load(str(saved(converted)))
    x = torch.randn(2, 3, 20, 21) - 3  # mostly negative: a zero border would be seen
    close(again.module()(x), program.module()(x))
    assert not any("pool" in name for name in functions(again))
    assert list(again.state_dict) == list(program.state_dict)
    assert [record.where for record in module.depool.records] == ["max_pool2d", "avg_pool2d"]
    assert again.graph_signature.user_inputs == program.graph_signature.user_inputs


def test_pads_that_differ_become_longer_kernels_whatever_the_target():
    """In ceil mode the last window overruns the end alone; `generic` would take such pads, PyTorch does not."""
    program = export(nn.MaxPool2d(3, 2, ceil_mode=True), (torch.randn(1, 2, 8, 8),))
    converted, _ = exported.convert(program, Wishes(Choice(target="generic"), nonnegative=True))
    x = torch.rand(1, 2, 8, 8) + 1
    close(converted.module()(x), program.module()(x))


def test_dynamic_sizes_stay_dynamic(saved):
    sizes = {0: Dim("batch"), 2: Dim("height", min=12, max=64), 3: Dim("width", min=12)}
    program = export(Net().eval(), (torch.randn(2, 3, 20, 21),), dynamic={"x": sizes})
    converted, _ = exported.convert(exported.load(str(saved(program))), WISHES)
    for shape in [(1, 3, 13, 40), (5, 3, 33, 12)]:
        x = torch.randn(shape) - 3
        close(converted.module()(x), program.module()(x))
    before, after = (sorted(str(v) for v in p.range_constraints.values()) for p in (program, converted))
    assert before == after


class Sized(nn.Module):
    """A number among its arguments."""

    def forward(self, x, k=3):
        return F.max_pool2d(x, k)


SIZES = {
    "derived": (Net(), (20, 20), {2: 2 * Dim("h", min=6, max=30)}, ()),
    "one symbol for two axes": (Net(), (20, 20), {2: Dim("n", min=12, max=40), 3: Dim("n", min=12, max=40)}, ()),
    "narrow bounds": (Net(), (20, 21), {2: Dim("h", min=12, max=32)}, ()),
    "a number as an argument": (Sized(), (20, 21), None, (2,)),
}


@pytest.mark.parametrize("name", SIZES)
def test_files_of_all_kinds_of_sizes_convert_and_verify(name, tmp_path):
    module, sizes, dims, more = SIZES[name]
    dynamic = None if dims is None else (dims, *(None for _ in more))
    program = export(module.eval(), (torch.randn(2, 3, *sizes), *more), dynamic=dynamic)
    exported.save(program, tmp_path / "model.pt2")
    made = depool.convert(tmp_path / "model.pt2", pools="all")
    assert made.verdict.equal is True
    before, after = (
        sorted(str(v) for v in p.range_constraints.values()) for p in (program, exported.load(str(made.path)))
    )
    assert before == after


def test_structured_inputs_and_outputs(saved):
    args, kwargs = ({"x": torch.randn(2, 3, 12, 12)},), {"other": torch.randn(2, 3, 8, 8)}
    program = export(Named().eval(), args, kwargs, {"data": {"x": {0: Dim("n")}}, "other": {0: Dim("n")}})
    converted, _ = exported.convert(exported.load(str(saved(program))), WISHES)
    x, other = torch.randn(3, 3, 12, 12), torch.randn(3, 3, 8, 8)
    before, after = (p.module()({"x": x}, other=other) for p in (program, converted))
    assert before.keys() == after.keys()
    close(after["a"], before["a"])
    close(after["b"], before["b"])


def test_facts_come_from_the_graph():
    _, module = exported.convert(
        export(Named().eval(), ({"x": torch.randn(2, 3, 12, 12)},), {"other": torch.randn(2, 3, 8, 8)}), WISHES
    )
    first, second = module.depool.records
    assert (first.facts.lower, first.facts.reason) == (0.0, "after relu")
    assert second.facts.signed


def test_decomposed_programs_whose_indices_nobody_reads():
    with exported.without_notices():
        program = export(Net().eval(), (torch.randn(2, 3, 20, 21),)).run_decompositions()
    assert "aten.max_pool2d_with_indices.default" in functions(program)
    converted, _ = exported.convert(program, WISHES)
    x = torch.randn(2, 3, 20, 21) - 3
    close(converted.module()(x), program.module()(x))
    assert not any("pool" in name for name in functions(converted))


def test_indices_that_are_read_are_refused():
    class Indices(nn.Module):
        def forward(self, x):
            return F.max_pool2d(x, 2, return_indices=True)

    program = export(Indices(), (torch.randn(1, 2, 6, 6),))
    with pytest.raises(NotConverted, match="INDICES_USED"):
        exported.convert(program, WISHES)


def pickle(path):
    torch.save(nn.Linear(2, 2), path)


def script(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)


def cut_off(path):
    exported.save(export(Net(), (torch.randn(1, 3, 20, 21),)), path)
    path.write_bytes(path.read_bytes()[:4000])


def damaged(path):
    exported.save(export(Net(), (torch.randn(1, 3, 20, 21),)), path)
    content = bytearray(path.read_bytes())
    place = content.index(b'"graph_module"')
    content[place : place + 8] = b"xxxxxxxx"
    path.write_bytes(content)


def rewritten(path, change):
    exported.save(export(Net(), (torch.randn(1, 3, 20, 21),)), path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("was_run"),)


def evil_bytes():
    buffer = io.BytesIO()
    torch.save((Evil(),), buffer)
    return buffer.getvalue()


def evil_inputs(path):
    rewritten(path, lambda members: members.update({n: evil_bytes() for n in members if "sample_inputs" in n}))


def evil_weights(path):
    def change(members):
        name = next(name for name in members if name.endswith("weights_config.json"))
        config = json.loads(members[name])
        entry = config["config"]["conv.bias"]
        entry["use_pickle"] = True
        members[name] = json.dumps(config).encode()
        members[name.rpartition("/")[0] + "/" + entry["path_name"]] = evil_bytes()

    rewritten(path, change)


def model_json(path, change):
    def changed(members):
        name = next(name for name in members if name.endswith("models/model.json"))
        model = json.loads(members[name])
        change(model)
        members[name] = json.dumps(model).encode()

    rewritten(path, changed)


CODE = "__import__('pathlib').Path('was_run').touch()"


def evil_size(path):
    def change(model):
        value = model["graph_module"]["graph"]["tensor_values"]["x"]
        value["sizes"][0] = {"as_expr": {"expr_str": CODE, "hint": None}}

    model_json(path, change)


def evil_operator(path):
    model_json(path, lambda model: model["graph_module"]["graph"]["nodes"][0].update(target="torch.os.system"))


def evil_structure(path):
    """PyTorch would import the module that a defaultdict among the inputs names; hidden in a text that is JSON."""

    def change(model):
        (call,) = [c for c in model["graph_module"]["module_call_graph"] if not c["fqn"]]
        call["signature"]["in_spec"] = json.dumps([1, {"context": {"default_factory_module": "evil"}}])

    model_json(path, change)


def evil_file(path):
    """aten.from_file may write to any file."""
    nodes = "torch.ops.aten.from_file.default"
    model_json(path, lambda model: model["graph_module"]["graph"]["nodes"][0].update(target=nodes))


def odd_config(path):
    rewritten(path, lambda members: members.update({n: b"[]" for n in members if n.endswith("weights_config.json")}))


def deep_json(path):
    rewritten(path, lambda members: members.update({n: b"[" * 200_000 for n in members if n.endswith("model.json")}))


def machine_code(path):
    rewritten(path, lambda members: members.update({"model/data/aotinductor/model/x.so": b"\x7fELF"}))


BAD = {
    "empty": (lambda path: path.touch(), "is not a model saved by torch.export.save, or is cut off"),
    "text": (lambda path: path.write_text("hello"), "is not a model saved by torch.export.save, or is cut off"),
    "cut off": (cut_off, "is not a model saved by torch.export.save, or is cut off"),
    "damaged": (damaged, "is not a model saved by torch.export.save, or is cut off"),
    "a pickled module": (pickle, "is a pickle, which runs code when it is loaded"),
    "TorchScript": (script, "is a pickle, which runs code when it is loaded"),
    "pickled example inputs": (evil_inputs, "holds pickled objects, which run code"),
    "pickled weights": (evil_weights, "asks for pickled objects, which run code"),
    "machine code": (machine_code, "holds compiled machine code"),
    "code as a size": (evil_size, "as a size"),
    "any function as an operator": (evil_operator, "calls 'torch.os.system'"),
    "a module to import": (evil_structure, "names Python modules to import"),
    "an operator that writes files": (evil_file, "calls 'torch.ops.aten.from_file.default'"),
    "an odd configuration": (odd_config, "is not a model saved by torch.export.save, or is cut off"),
    "deep JSON": (deep_json, "is not a model saved by torch.export.save, or is cut off"),
    "another zip": (lambda path: zipfile.ZipFile(path, "w").writestr("a/b", "c"), "is not a model saved by"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_and_nothing_in_them_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, said = BAD[name]
    make(tmp_path / "bad.pt2")
    with pytest.raises(FileError, match=said) as caught:
        exported.load("bad.pt2")
    assert str(caught.value).startswith("bad.pt2: ")
    assert "\n" not in str(caught.value)
    assert not Path("was_run").exists()


def test_guards_are_code_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model_json(tmp_path / "bad.pt2", lambda model: model.update(guards_code=[f"{CODE} is None"]))
    exported.convert(exported.load("bad.pt2"), WISHES)
    assert depool.verify("bad.pt2", "bad.pt2").equal is True
    assert not Path("was_run").exists()


def test_the_evil_file_would_have_run_something(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evil_inputs(tmp_path / "bad.pt2")
    logging.disable(logging.WARNING)  # PyTorch's own warning is ill-formed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.load("bad.pt2")
    finally:
        logging.disable(logging.NOTSET)
    assert Path("was_run").exists()


@pytest.mark.parametrize(("name", "said"), [("none.pt2", "no such file"), (".", "is a folder")])
def test_missing_files(name, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=said):
        exported.load(name)


def test_a_program_without_example_inputs_says_so():
    program = export(Net().eval(), (torch.randn(2, 3, 20, 21),))
    program.example_inputs = None
    with pytest.raises(UsageError, match="no example inputs"):
        exported.convert(program, WISHES)
