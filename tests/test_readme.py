"""What README.md and docs/ say is true: commands and Python run, links lead somewhere, lists are complete."""

import importlib.util
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from test_golden import COMMANDS, GOLDEN, normalised

import depool

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "depool"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EVERY = [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


NEEDS = {"clients": ("maraboupy", "omlt", "openvino")}
"""What `<!-- needs: NAME -->` before a block means: the extra of this name, seen by these modules."""

BLOCK = re.compile(r"^(?:<!-- (\w+): (\S+) -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path):
    """(marker, its value, language, text) of each fenced block; the fences of Sphinx directives have no language."""
    return BLOCK.findall(path.read_text(encoding="utf-8"))


def run(command, folder, environment=None):
    return subprocess.run(  # noqa: S603 - the documents' own commands
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def named(path):
    return str(path.relative_to(ROOT))


@pytest.fixture
def place(tmp_path):
    """A folder with the examples, where `depool` is this depool."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("*.depool.onnx"))
    (tmp_path / "bin").mkdir()
    for name, module in (("depool", "-m depool"), ("python3", "")):
        script = tmp_path / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        script.chmod(0o755)
    return tmp_path


RUNS = {"python": [sys.executable, "-W", "error", "-c"], "sh": ["bash", "-euo", "pipefail", "-c"]}


def carry_out(path, place, needs=()):
    """Write the files of a document, and run its commands and its Python, in their order."""
    environment = os.environ | {"PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    for marker, value, language, text in blocks(path):
        if marker == "file":
            (place / value).write_text(text, encoding="utf-8")
        elif language in RUNS and marker != "ci" and (marker != "needs" or value in needs):
            done = run([*RUNS[language], text], place, environment)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_commands_and_python_run(path, place):
    carry_out(path, place)


@pytest.mark.clients
@pytest.mark.parametrize("path", [p for p in DOCUMENTS if "<!-- needs: clients -->" in p.read_text("utf-8")], ids=named)
def test_what_needs_clients_runs(path, place):
    for module in NEEDS["clients"]:
        if importlib.util.find_spec(module) is None:
            pytest.skip("needs the extra `clients`")
    carry_out(path, place, ["clients"])


@pytest.mark.parametrize("path", EVERY, ids=named)
def test_every_block_is_run_or_is_text(path):
    text = path.read_text(encoding="utf-8")
    found = blocks(path)
    assert len(found) == len(re.findall(r"^```\w", text, re.MULTILINE))
    for marker, value, language, content in found:
        assert language in {"sh", "python", "toml", "text"}
        assert marker in {"", "ci", "needs", "golden", "file"}
        assert language != "toml" or marker == "file"
        assert marker != "needs" or value in NEEDS
        if marker == "ci":
            assert f"<!-- ci: {value} -->\n```sh\n{content}```" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["convert", "test"])
def test_commands_of_ci_are_one_line_each(name):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(rf"^<!-- ci: {name} -->\n```sh\n(.*)\n```$", text, re.MULTILINE)
    assert len(found) == 1
    assert found[0].startswith("python3 -m pip install ")
    assert f"<!-- ci: {name} -->" not in text.replace(f"<!-- ci: {name} -->", "", 1)


def test_output_in_the_readme_is_real():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"<!-- golden: (\S+) -->\n```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert shown
    for name, excerpt in shown:
        golden = (GOLDEN / name).read_text(encoding="utf-8")
        at = 0
        for part in excerpt.split("...\n"):
            at = golden.find(normalised(part), at)
            assert at >= 0, part


def anchors(text):
    """Of the headings, as code hosts and the site make them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", EVERY, ids=named)
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        outside = urlsplit(target)
        if outside.scheme:
            assert outside.scheme == "https"
            assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", outside.netloc), target
            continue
        linked = (path.parent / outside.path).resolve() if outside.path else path
        assert linked.is_file(), target
        assert linked.is_relative_to(ROOT), target
        if outside.fragment:
            assert outside.fragment in anchors(linked.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("path", EVERY, ids=named)
def test_addresses_are_written_as_links(path):
    bare = re.sub(r"\]\([^)\s]+\)|```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert "http" + "s://" not in bare


def test_every_public_name_is_in_the_reference():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\.\. auto\w+:: depool\.(\w+)(?!\.)\b", text, re.MULTILINE))
    assert described >= set(depool.__all__) - {"__version__"}


def test_every_command_is_in_the_reference():
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    pages = re.findall(r"^```\{literalinclude\} \.\./tests/golden/help_?(\w*)\.txt$", text, re.MULTILINE)
    assert pages == ["", *COMMANDS]
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == list(COMMANDS)


def test_figures_are_those_of_the_script():
    space = runpy.run_path(str(ROOT / "docs" / "figures" / "draw.py"))
    drawn = dict(draw() for draw in space["FIGURES"])
    kept = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "figures").glob("*.svg")}
    assert drawn == kept


def test_the_notebook_is_kept_without_output():
    path = ROOT / "examples" / "maxpool_is_convolution.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) > 10
    for cell in code:
        assert (cell["outputs"], cell["execution_count"], cell["metadata"]) == ([], None, {})


def test_every_refusal_is_documented():
    sources = [path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")]
    raised = {code for text in sources for code in re.findall(r'Refused\(\s*"([A-Z_]+)"', text)}
    written = re.findall(
        r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "refusals.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(set(written)) == len(written)
    assert set(written) == raised


def test_every_module_is_on_the_map():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    modules = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py")}
    whole = tuple(re.findall(r"^\* `([\w/]+/)`: ", text, re.MULTILINE))
    wanted = {name for name in modules if not name.startswith(whole) and not name.endswith("/__init__.py")}
    assert set(re.findall(r"`([\w/]+\.py)`", text)) == wanted


def test_every_dependency_has_its_reason():
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    asked = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    for name in {re.split("[=<>]", requirement)[0] for requirement in asked}:
        assert re.search(rf"^\|.*\b{name.removeprefix('pytest-')}\b.*\|$", text, re.MULTILINE), name


@pytest.mark.parametrize(
    "command", ["inspect", "convert", "verify", "bench", "prove", "targets", "demo", "explain", "error"]
)
def test_every_json_key_is_documented(command, place):
    args = {
        "inspect": ["inspect", "digits.onnx"],
        "convert": ["convert", "digits.onnx", "-o", "out.onnx", "--certificate", "certificate.json"],
        "verify": ["verify", "digits.onnx", "out.onnx", "--nonfinite"],
        "bench": ["bench", "digits.onnx", "--seconds", "0.01"],
        "prove": ["prove", "digits.onnx", "out.onnx", "--check", "certificate.json"],
        "targets": ["targets"],
        "demo": ["demo", "--size", "4"],
        "explain": ["explain", "-o", "page.html"],
        "error": ["convert", "digits.onnx", "-o", "other.onnx", "--target", "portable"],
    }
    folder = place / "examples"

    lines = {name: [sys.executable, "-m", "depool", *words, "--json"] for name, words in args.items()}
    if command in {"verify", "prove"}:
        run(lines["convert"], folder)
    found = json.loads(run(lines[command], folder).stdout)
    assert found["command"] == command
    words = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs" / "json.md").read_text(encoding="utf-8")))
    assert {key for key in keys(found) if key.islower()} <= words  # operators are keys too, of messages and attributes


def keys(value):
    if isinstance(value, dict):
        return set(value) | set().union(*map(keys, value.values()), set())
    return set().union(*map(keys, value), set()) if isinstance(value, list) else set()
