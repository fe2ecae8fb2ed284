"""What README.md and docs/ say is true: commands and Python run, links lead somewhere, lists are complete."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from test_cli import GOLDEN, normalised

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "depool"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EVERY = [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


def blocks(path):
    """(language, text) of each fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


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


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_commands_and_python_run(path, place):
    environment = os.environ | {"PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    for language, text in blocks(path):
        if language == "python":
            command = [sys.executable, "-W", "error", "-c", text]
        elif language == "sh" and text.startswith("depool "):
            command = ["bash", "-euo", "pipefail", "-c", text]
        else:
            continue
        done = run(command, place, environment)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


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


@pytest.mark.parametrize("path", EVERY, ids=named)
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        linked = (path.parent / target).resolve() if target else path
        assert linked.is_file(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


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


@pytest.mark.parametrize("command", ["inspect", "convert", "verify", "prove", "targets", "demo", "explain", "error"])
def test_every_json_key_is_documented(command, place):
    args = {
        "inspect": ["inspect", "digits.onnx"],
        "convert": ["convert", "digits.onnx", "-o", "out.onnx", "--certificate", "certificate.json"],
        "verify": ["verify", "digits.onnx", "out.onnx", "--nonfinite"],
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
