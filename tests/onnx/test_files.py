"""Files: what cannot be read or written is said in one line, and nothing is left behind half-written."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

import depool
from depool.errors import DepoolError, FileError, NotConverted
from depool.onnx import files

POOL = """<ir_version: 8, opset_import: ["" : 13]> g (float[1,2,6,6] x) => (float[1,2,6,6] y) {
    [pool] y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x) }"""
SHAPE = (1, 2, 6, 6)


@pytest.fixture
def model(tmp_path):
    """A small model in a folder of its own."""
    path = tmp_path / "m.onnx"
    path.write_bytes(parser.parse_model(POOL).SerializeToString())
    return path


def listing(folder):
    """Every file under a folder, with its contents' hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


def fails(folder, path, output=None, error=FileError, **options):
    """The one line that convert raises; the folder must be as it was."""
    before = listing(folder)
    with pytest.raises(error) as caught:
        depool.convert(path, output, **options)
    assert listing(folder) == before
    text = str(caught.value)
    assert "\n" not in text
    assert text
    assert caught.value.exit_code == 5
    return text


# --- reading --------------------------------------------------------------------------------------------------------


def test_a_missing_file(tmp_path):
    assert fails(tmp_path, tmp_path / "none.onnx") == f"{tmp_path / 'none.onnx'}: no such file"


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_folder_named_without_a_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fails(tmp_path, name)


def test_a_folder(tmp_path):
    (tmp_path / "models").mkdir()
    assert "Is a directory" in fails(tmp_path, tmp_path / "models")


@pytest.mark.parametrize("name", ["a" * 300 + ".onnx", "a\0b.onnx"])
def test_names_that_no_file_can_have(name, tmp_path, model):
    fails(tmp_path, tmp_path / name)
    fails(tmp_path, tmp_path / name, tmp_path / "o.onnx")
    fails(tmp_path, model, tmp_path / name)


CONTENTS = {
    "empty": b"",
    "text": b"a model\n",
    "JSON": b'{"ir_version": 8}',
    "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(100)),
    "zeros": bytes(1000),
    "ones": b"\xff" * 1000,
    "a TensorProto": numpy_helper.from_array(np.ones((2, 2), np.float32), "t").SerializeToString(),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_no_model(name, tmp_path):
    (tmp_path / "m.onnx").write_bytes(CONTENTS[name])
    assert fails(tmp_path, tmp_path / "m.onnx").endswith("m.onnx: is not an ONNX model, or is cut off")


def test_a_model_cut_off_anywhere(tmp_path, model):
    """Each beginning of the file is refused, wherever the cut falls."""
    whole = model.read_bytes()
    for end in range(len(whole)):
        model.write_bytes(whole[:end])
        with pytest.raises(FileError):
            depool.convert(model, tmp_path / "o.onnx", verify=False)
    model.write_bytes(whole)
    depool.convert(model, tmp_path / "o.onnx", verify=False)


def test_a_model_of_the_future(tmp_path, model):
    future = onnx.load(model)
    future.opset_import[0].version = 99
    model.write_bytes(future.SerializeToString())
    assert "uses opset 99" in fails(tmp_path, model)
    future.opset_import[0].version = 13
    future.ir_version = 99
    model.write_bytes(future.SerializeToString())
    assert "uses IR version 99" in fails(tmp_path, model)


def test_the_other_functions_say_it_too(tmp_path, model):
    with pytest.raises(FileError, match="no such file"):
        depool.inspect(tmp_path / "none.onnx")
    with pytest.raises(FileError, match="no such file"):
        depool.verify(model, tmp_path / "none.onnx")
    with pytest.raises(FileError, match="no such file"):
        depool.verify(tmp_path / "none.onnx", model)


# --- writing --------------------------------------------------------------------------------------------------------


def test_the_default_output_stands_beside_the_model(model):
    result = depool.convert(model)
    assert result.path == model.with_name("m.depool.onnx")
    assert sorted(path.name for path in model.parent.iterdir()) == ["m.depool.onnx", "m.onnx"]


def test_an_existing_file_is_not_overwritten_unless_forced(tmp_path, model):
    (tmp_path / "o.onnx").write_bytes(b"precious")
    assert "give --force" in fails(tmp_path, model, tmp_path / "o.onnx")
    depool.convert(model, tmp_path / "o.onnx", force=True)
    onnx.load(tmp_path / "o.onnx")


def test_the_input_is_never_overwritten(tmp_path, model):
    assert "is the input itself" in fails(tmp_path, model, model, force=True)
    os.link(model, tmp_path / "link.onnx")
    assert "is the input itself" in fails(tmp_path, model, tmp_path / "link.onnx", force=True)


def test_outputs_that_cannot_be(tmp_path, model):
    assert "create it first" in fails(tmp_path, model, tmp_path / "none" / "o.onnx")
    (tmp_path / "folder").mkdir()
    assert "is a folder" in fails(tmp_path, model, tmp_path / "folder", force=True)
    assert "o.onnx: " in fails(tmp_path, model, model / "o.onnx")


def test_repeated_conversions_give_the_same_bytes(tmp_path, model):
    depool.convert(model, tmp_path / "a.onnx")
    depool.convert(model, tmp_path / "b.onnx", seed=7)
    script = "import depool, sys; depool.convert(*sys.argv[1:])"
    other = {**os.environ, "PYTHONHASHSEED": "123"}
    subprocess.run([sys.executable, "-c", script, model, tmp_path / "c.onnx"], check=True, env=other)  # noqa: S603
    assert len({(tmp_path / f"{name}.onnx").read_bytes() for name in "abc"}) == 1


def test_a_disk_that_is_full(tmp_path, model, monkeypatch):
    def full(self, data):  # noqa: ARG001
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    text = fails(tmp_path, model, tmp_path / "o.onnx", verify=False)
    assert text == f"{tmp_path / 'o.onnx'}: cannot be written (No space left on device)"


def test_a_disk_that_is_full_after_half_of_the_file(tmp_path, model):
    """The kernel's own limit on file sizes stops the write in the middle."""
    script = """
        import resource, sys, depool
        depool.inspect(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
        try:
            depool.convert(sys.argv[1], sys.argv[2], verify=False)
        except depool.FileError as error:
            print(error)
        """
    before = listing(tmp_path)
    made = python(script, model, tmp_path / "o.onnx")
    assert made.stdout.strip() == f"{tmp_path / 'o.onnx'}: cannot be written (File too large)", made.stderr
    assert listing(tmp_path) == before


def test_a_real_full_disk(tmp_path, model):
    """On a file system of 16 kB, in a namespace of its own."""
    mount = tmp_path / "tiny"
    mount.mkdir()
    command = (
        f"mount -t tmpfs -o size=16k none {mount} && cp {model} {mount}/m.onnx && head -c 8000 /dev/zero >{mount}/z"
    )
    unshare = shutil.which("unshare")
    if unshare is None or shell(unshare, command).returncode:
        pytest.skip("no tmpfs can be mounted here")
    script = textwrap.dedent("""
        import sys, depool, os
        before = sorted(os.listdir(sys.argv[1]))
        try:
            depool.convert(sys.argv[1] + "/m.onnx", verify=False)
        except depool.FileError as error:
            print(error)
        assert sorted(os.listdir(sys.argv[1])) == before
        """)
    inner = f"{command} && {sys.executable} -c '{script}' {mount}"
    made = shell(unshare, inner)
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() == f"{mount / 'm.depool.onnx'}: cannot be written (No space left on device)"


def python(script, *arguments):
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603


def shell(unshare, command):
    """In a mount namespace of its own, which ends with it."""
    return subprocess.run([unshare, "-rm", "sh", "-c", command], check=False, capture_output=True, text=True)  # noqa: S603


def test_a_file_that_cannot_be_moved_into_place_leaves_nothing(tmp_path, model, monkeypatch):
    def denied(self, target):  # noqa: ARG001
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "replace", denied)
    assert "Permission denied" in fails(tmp_path, model, tmp_path / "o.onnx", verify=False)


def test_a_refusal_and_an_interruption_leave_nothing(tmp_path, model):
    before = listing(tmp_path)
    with pytest.raises(NotConverted):
        depool.convert(model, form="sequential")
    assert listing(tmp_path) == before

    def interrupted(what, done, total):  # noqa: ARG001
        if what == "verifying pools":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        depool.convert(model, progress=interrupted)
    assert listing(tmp_path) == before


def test_a_conversion_that_fails_its_verification_leaves_only_a_counterexample(tmp_path, model, monkeypatch):
    from depool.onnx import splice

    whole = splice.widen

    def spoiled(program, channels, dense, **how):
        wide = whole(program, channels, dense, **how)
        next(conv for conv in wide if conv is not None).weight[:] *= 1.25
        return wide

    monkeypatch.setattr(splice, "widen", spoiled)
    with pytest.raises(DepoolError, match="not written: 1 of 1 pools break their promise") as caught:
        depool.convert(model, tmp_path / "o.onnx")
    assert caught.value.exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "o.counterexample.npz"]
    assert str(tmp_path / "o.counterexample.npz") in str(caught.value)


# --- external data --------------------------------------------------------------------------------------------------


def external(folder, locations, name="m.onnx"):
    """x + w0 + w1 ... -> MaxPool, each weight in a file of its own, of 8 bytes more than it needs."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes, weights, value = [], [], "x"
    for i, location in enumerate(locations):
        array = np.random.default_rng(i).normal(size=SHAPE).astype(np.float32)
        (folder / location).parent.mkdir(parents=True, exist_ok=True)
        (folder / location).write_bytes(b"\1\2\3\4" + array.tobytes() + b"tail")
        tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=SHAPE)
        tensor.data_location = TensorProto.EXTERNAL
        for key, entry in (("location", location), ("offset", "4"), ("length", str(array.nbytes))):
            tensor.external_data.add(key=key, value=entry)
        weights.append(tensor)
        nodes.append(helper.make_node("Add", [value, f"w{i}"], [f"a{i}"]))
        value = f"a{i}"
    nodes.append(helper.make_node("MaxPool", [value], ["y"], name="pool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, SHAPE) for n in "xy")
    made = helper.make_graph(nodes, "g", [x], [y], weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (folder / name).write_bytes(model.SerializeToString())
    return folder / name


def changed(path, index=0, **entries):
    """The model with the external data of one weight placed elsewhere; None drops an entry."""
    model = onnx.load(path, load_external_data=False)
    tensor = model.graph.initializer[index]
    kept = {entry.key: entry.value for entry in tensor.external_data} | entries
    del tensor.external_data[:]
    for key, value in kept.items():
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


def run(path, x):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize("locations", [["w.bin"], ["a.bin", "parts/b.bin"], ["same.bin", "same.bin"]])
def test_external_data_are_copied_byte_for_byte(locations, tmp_path):
    path = external(tmp_path / "in", locations)
    (tmp_path / "out").mkdir()
    result = depool.convert(path, tmp_path / "out" / "o.onnx", exact=True)
    assert result.verdict.equal
    assert result.verdict.outputs, "it was run end to end"
    names = ["o.onnx.data", "o.onnx.data1"][: len(set(locations))]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["o.onnx", *names]
    for name, location in zip(names, dict.fromkeys(locations), strict=True):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / location).read_bytes()
    shutil.rmtree(tmp_path / "in" / "parts", ignore_errors=True)
    x = np.random.default_rng(9).normal(size=SHAPE).astype(np.float32)
    external(tmp_path / "in", locations)
    np.testing.assert_array_equal(run(tmp_path / "out" / "o.onnx", x), run(path, x))


def test_external_data_beside_the_model(tmp_path):
    path = external(tmp_path, ["w.bin"])
    depool.convert(path, verify=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.depool.onnx", "m.depool.onnx.data", "m.onnx", "w.bin"]


def test_the_model_does_not_depend_on_the_original_after_that(tmp_path):
    path = external(tmp_path / "in", ["w.bin"])
    depool.convert(path, tmp_path / "o.onnx")
    shutil.rmtree(tmp_path / "in")
    assert np.isfinite(run(tmp_path / "o.onnx", np.zeros(SHAPE, np.float32))).all()


def test_an_existing_data_file_is_not_overwritten_unless_forced(tmp_path):
    path = external(tmp_path, ["w.bin"])
    (tmp_path / "o.onnx.data").write_bytes(b"precious")
    assert "give --force" in fails(tmp_path, path, tmp_path / "o.onnx")
    depool.convert(path, tmp_path / "o.onnx", force=True)
    assert (tmp_path / "o.onnx.data").read_bytes() == (tmp_path / "w.bin").read_bytes()


@pytest.mark.parametrize("force", [False, True])
def test_the_inputs_own_data_are_never_overwritten(force, tmp_path):
    path = external(tmp_path, ["w.bin", "m.depool.onnx.data"])
    assert "m.depool.onnx.data" in fails(tmp_path, path, force=force)


def test_external_data_that_are_missing_or_short(tmp_path):
    path = external(tmp_path, ["a.bin", "b.bin"])
    (tmp_path / "b.bin").write_bytes((tmp_path / "b.bin").read_bytes()[:-5])
    assert "'b.bin' is cut off" in fails(tmp_path, path)
    (tmp_path / "b.bin").unlink()
    assert "'b.bin' is missing" in fails(tmp_path, path)
    (tmp_path / "b.bin").mkdir()
    assert "'b.bin' is missing" in fails(tmp_path, path)


@pytest.mark.parametrize("location", ["../w.bin", "parts/../../w.bin", "{folder}/w.bin", "", None])
def test_external_data_outside_the_folder_are_not_followed(location, tmp_path):
    path = external(tmp_path / "in", ["w.bin"])
    (tmp_path / "w.bin").write_bytes((tmp_path / "in" / "w.bin").read_bytes())
    changed(path, location=location and location.format(folder=tmp_path))
    assert "outside the model's folder" in fails(tmp_path, path)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    path = external(tmp_path / "in", ["w.bin"])
    (tmp_path / "in" / "w.bin").rename(tmp_path / "w.bin")
    (tmp_path / "in" / "w.bin").symlink_to(tmp_path / "w.bin")
    assert "outside the model's folder" in fails(tmp_path, path)


@pytest.mark.parametrize(
    "entries", [{"offset": "x"}, {"offset": "-4"}, {"length": "x"}, {"length": "-8"}, {"offset": "1.5"}]
)
def test_external_data_with_a_place_that_is_no_number(entries, tmp_path):
    fails(tmp_path, changed(external(tmp_path, ["w.bin"]), **entries))


def test_external_data_that_differ_from_the_originals_are_noticed(tmp_path):
    path = external(tmp_path, ["w.bin"])
    depool.convert(path, tmp_path / "o.onnx")
    data = bytearray((tmp_path / "o.onnx.data").read_bytes())
    data[4:8] = np.float32(50).tobytes()
    (tmp_path / "o.onnx.data").write_bytes(data)
    verdict = depool.verify(path, tmp_path / "o.onnx")
    assert verdict.equal is False
    assert any("weight w0 changed" in note for note in verdict.notes)


def test_external_data_of_constant_nodes_in_functions_are_found():
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13, "loc" : 1]> g (float[2] x) => (float[2] y)
        { y = loc.F(x) }
        <domain: "loc", opset_import: ["" : 13]> F (q) => (w) { c = Constant <value: tensor = float[2] {1, 2}>()
        w = Add(q, c) }""")
    tensor = model.functions[0].node[0].attribute[0].t
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="c.bin")
    assert files.external_locations(model) == ["c.bin"]


def test_200_megabytes_of_external_data_stay_on_disk(tmp_path):
    """Peak memory grows by less than 100 MB while a file of 200 MB is carried along."""
    rows = 200 * 2**20 // 4096
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(rows * 4096)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[rows, 1024])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", str(rows * 4096))):
        tensor.external_data.add(key=key, value=value)
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
        g (float[1,2,6,6] x, int64 i) => (float[1,2,6,6] y) {
            r = Gather(w, i) s = ReduceMax <keepdims = 0>(r) a = Add(x, s)
            [pool] y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(a) }""")
    model.graph.initializer.append(tensor)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    small = external(tmp_path / "small", ["w.bin"])
    script = """
        import json, sys, depool
        def peak():
            return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
        depool.convert(sys.argv[1], verify=False)
        open("/proc/self/clear_refs", "w").write("5")
        before = peak()
        depool.convert(sys.argv[2], verify=False)
        print(json.dumps([before, peak()]))
        """
    made = python(script, small, tmp_path / "m.onnx")
    assert made.returncode == 0, made.stderr
    before, after = json.loads(made.stdout)
    assert after - before < 100
    assert (tmp_path / "m.depool.onnx.data").stat().st_size == rows * 4096
