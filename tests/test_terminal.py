"""On a terminal and off it: colours, the progress bar, wrapped errors. The terminals are real ones (pty)."""

import io
import json
import os
import re
import subprocess
import sys
import time

import pytest
from rich.console import Console
from test_golden import compare

from depool.report import progress
from depool.report.progress import ProgressLine

pty = pytest.importorskip("pty")
pytestmark = pytest.mark.usefixtures("place")

RUN = """
import sys
from depool.report import progress
progress.PATIENCE = {patience}
from depool.cli import main
main()
"""
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7])(?:;\d+)*m")
"""Any colour of a text or its background; bold is none."""


def run(*args, terminal=("stdout", "stderr"), patience=0.0, **environment):
    """(exit code, standard output, standard error), where those named are terminals of 80 columns."""
    ends = {name: pty.openpty() for name in terminal}
    streams = {name: ends[name][1] if name in ends else subprocess.PIPE for name in ("stdout", "stderr")}
    names = {"NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"}
    plain = {key: value for key, value in os.environ.items() if key not in names}
    command = [sys.executable, "-c", RUN.format(patience=patience), *args]
    started = subprocess.Popen(  # noqa: S603 - our own words
        command, stdin=subprocess.DEVNULL, env={**plain, "TERM": "xterm-256color", **environment}, **streams
    )
    texts = {"stdout": "", "stderr": ""}
    for _, slave in ends.values():
        os.close(slave)
    for name, (master, _) in ends.items():
        texts[name] = drained(master)
    for name, text in zip(("stdout", "stderr"), started.communicate(timeout=60), strict=True):
        texts[name] += (text or b"").decode()
    return started.returncode, texts["stdout"].replace("\r\n", "\n"), texts["stderr"].replace("\r\n", "\n")


def drained(master):
    parts = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # how Linux says that the other end is closed
            part = b""
        if not part:
            os.close(master)
            return b"".join(parts).decode()
        parts.append(part)


def test_the_bar_shows_on_a_terminal_only():
    code, out, err = run("convert", "digits.onnx", terminal=["stderr"])
    assert code == 0
    assert "converting" in err
    assert "\x1b" not in out
    assert out.startswith("digits.onnx: 2 pools became")
    code, out, err = run("verify", "digits.onnx", "digits.depool.onnx", terminal=[], FORCE_COLOR="1")
    assert (code, err) == (0, "")
    assert "\x1b" not in out


@pytest.mark.parametrize("option", ["--quiet", "--json"])
@pytest.mark.parametrize("command", ["inspect", "convert", "prove"])
def test_the_bar_is_silent_when_asked(depool, command, option):
    if command == "prove":
        depool("convert", "digits.onnx", "-q")
    code, out, err = run(command, "digits.onnx", option, terminal=["stderr"])
    assert (code, err) == (0, "")
    assert json.loads(out) if option == "--json" else not out


@pytest.mark.parametrize("command", ["inspect", "prove"])
def test_work_without_steps_has_a_bar(depool, command):
    if command == "prove":
        depool("convert", "digits.onnx", "-q")
    code, _, err = run(command, "digits.onnx", terminal=["stderr"])
    assert code == 0
    assert {"inspect": "inspecting", "prove": "proving"}[command] in err


def test_what_is_quick_has_no_bar():
    assert run("inspect", "digits.onnx", terminal=["stderr"], patience=60.0)[2] == ""


def test_colours_are_for_terminals_without_no_color():
    line = ["inspect", "digits.onnx", "--target", "portable"]
    _, coloured, _ = run(*line, terminal=["stdout"])
    _, plain, _ = run(*line, terminal=["stdout"], NO_COLOR="1")
    _, piped, _ = run(*line, terminal=[])
    assert COLOUR.search(coloured)
    assert not COLOUR.search(plain)
    assert "\x1b" not in piped
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == re.sub(r"\x1b\[[\d;]*m", "", plain) == piped


def test_no_color_holds_for_the_bar_too():
    _, _, err = run("convert", "digits.onnx", terminal=["stderr"], NO_COLOR="1")
    assert "converting" in err
    assert not COLOUR.search(err)


@pytest.mark.parametrize(
    ("name", "args", "wanted"),
    [
        ("error_file", ["inspect", "missing.onnx"], 5),
        ("error_option", ["inspect", "digits.onnx", "--bogus"], 2),
        ("error_command", ["bogus"], 2),
        ("error_target", ["inspect", "digits.onnx", "--target", "toaster"], 2),
        ("error_choice", ["inspect", "digits.onnx", "--form", "round"], 2),
        ("error_range", ["inspect", "digits.onnx", "--input-range", "3"], 2),
        ("error_shape", ["inspect", "digits.onnx", "--shape", "image"], 2),
        ("error_refused", ["convert", "digits.onnx", "--target", "portable"], 3),
        ("error_exists", ["convert", "digits.onnx", "-o", "digits.onnx"], 5),
        ("error_demo", ["demo", "--size", "3"], 2),
    ],
)
def test_errors_are_one_line_and_wrapped_on_a_terminal(depool, name, args, wanted):
    code, out, err = depool(*args)
    assert (code, out, err.count("\n")) == (wanted, "", 1)
    code, out, shown = run(*args, terminal=["stderr"], patience=60.0)
    assert (code, out) == (wanted, "")
    assert " ".join(shown.split()) == " ".join(err.split())
    compare(name, shown)


def test_a_single_long_step_is_seen(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.05)
    for shown, expected in ((True, True), (False, False)):
        console = Console(file=io.StringIO(), force_terminal=True, width=80)
        before = sys.stdout
        with ProgressLine(console, shown=shown) as line:
            line("proving", 0, 0)
            time.sleep(0.4)
            assert sys.stdout is before
        text = console.file.getvalue()
        assert ("proving" in text) is expected
        assert "?" not in text.replace("\x1b[?25", "")  # no "0/?" where the whole is not known


def test_an_error_ends_the_bar(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    console = Console(file=io.StringIO(), force_terminal=True, width=80)

    def work():
        with ProgressLine(console, shown=True):
            time.sleep(0.1)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        work()
    assert console.file.getvalue().count("\x1b[?25l") == console.file.getvalue().count("\x1b[?25h") == 1
