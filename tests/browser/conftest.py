"""Chromium, driven by Playwright; tests are skipped where either is missing."""

import subprocess
import sys
from itertools import count

import pytest
from pages import CHROMIUM, FLAGS, Tab


@pytest.fixture(scope="session")
def chromium():
    """A browser for the whole session."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
    if CHROMIUM is None:
        pytest.skip("needs the program chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """Opens pages; each is closed, and held to account, in the end."""
    opened = []

    def open_tab(path, **context):
        opened.append(Tab(chromium, path, **context))
        return opened[-1].page

    yield open_tab
    for each in opened:
        each.close()


@pytest.fixture(scope="session")
def depool(chromium, tmp_path_factory):
    """Run a command in a folder of its own; where it wrote."""
    folder = tmp_path_factory.mktemp("pages")
    numbers = count()
    assert chromium  # without one there is nothing to write pages for

    def run(command, *args, option="--report"):
        path = folder / f"{next(numbers)}.html"
        line = [sys.executable, "-m", "depool", command, *map(str, args), option, str(path), "-q"]
        subprocess.run(line, check=True, cwd=folder)  # noqa: S603 - our own words
        return path

    return run
