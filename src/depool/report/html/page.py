"""From a result to the file: the template filled in, deterministic, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import depool
from depool.errors import UsageError
from depool.onnx import files
from depool.report.html import view
from depool.report.html.sheets import Sheet
from depool.report.html.svg import Drawn

if TYPE_CHECKING:
    from depool.onnx.convert import Result
    from depool.onnx.inspect import Survey

HERE = Path(__file__).parent
BASE_STYLE = HERE / "base.css"
"""What all pages have in common: palette and type."""


def prepare(path: Path, model: str, others: tuple[str | Path | None, ...] = (), *, force: bool) -> None:
    """Refuse, before any work is done, what would fail at its end.

    Args:
        path: of the report.
        model: the input.
        others: files that the command writes besides.
        force: whether the report may replace a file.

    Raises:
        UsageError: where Jinja is not installed, or the file is no .html file or one of the others.
        FileError: where it cannot be written there.
    """
    _environment()
    if path.suffix not in {".html", ".htm"}:
        raise UsageError(f"--report {path}: a report is an HTML file; give it a name that ends in .html")
    if any(other is not None and path.resolve() == Path(other).resolve() for other in others):
        raise UsageError(f"--report {path}: is another file of this command; name a file of its own")
    files.check_target(path, model, force=force, option="--report")


def of_result(result: Result, name: str, timing: Sheet | None = None) -> str:
    """The page of a conversion; the same result gives the same bytes.

    Args:
        result: of `depool.convert`.
        name: of the model, as printed.
        timing: a table of measured times, where there is one.
    """
    return _filled(view.of_result(result, name, timing))


def of_survey(survey: Survey) -> str:
    """The page of `depool.inspect`."""
    return _filled(view.of_survey(survey))


def write(page: str, path: Path) -> None:
    """Write a page whole or not at all.

    Raises:
        FileError: where it cannot be written.
    """
    files.write_text(page, path)


def _filled(shown: view.View) -> str:
    sheets = "\n".join(path.read_text(encoding="utf-8") for path in (BASE_STYLE, HERE / "report.css"))
    page: str = (
        _environment().get_template("report.html").render(view=shown, style=Drawn(sheets), version=depool.__version__)
    )
    return page


def _environment() -> Any:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise UsageError(f"--report needs Jinja ({error}); python3 -m pip install 'depool[report]'") from error
    return Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
