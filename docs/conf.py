"""The documentation site: `sphinx-build -W -n docs build/docs`. It fetches nothing."""

import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.ext.autodoc.mock import _MockObject

import depool

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NOTEBOOK = "examples/maxpool_is_convolution.ipynb"
OUTSIDE = {"../CHANGELOG.md": "changelog.md", f"../{NOTEBOOK}": Path(NOTEBOOK).name}
"""Files above this folder that are pages of the site as well."""

project = "depool"
author = project_copyright = "the depool authors"
version = release = depool.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
default_role = "code"  # single backticks in docstrings
html_theme = "furo"
html_title = "depool"
html_show_sphinx = html_copy_source = False

myst_heading_anchors = 3  # as on code hosts
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 120

autodoc_mock_imports = ["torch", "keras"]  # for their signatures and docstrings neither framework is needed
_MockObject.__or__ = lambda self, _: self  # type: ignore[method-assign]  # annotations such as Tensor | None
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
maximum_signature_line_length = 88
autodoc_typehints_format = "short"
napoleon_use_ivar = True
napoleon_attr_annotations = False  # the signature has the types

# Names that no page describes: other projects' (nothing is fetched, so nothing is known of them), and depool's insides.
nitpick_ignore_regex = [
    ("py:.*", r"(collections|fractions|keras|nn|numpy|npt|os|pathlib|torch|typing)\b.*"),
    ("py:.*", r"depool\.(choose|errors\.Exit|conversion|facts|geometry|numerics|objects|onnx|program|torch)\b.*"),
    ("py:exc", "ProofError"),
]


def linked(_app: Sphinx, _docname: str, source: list[str]) -> None:
    """Links to files above this folder lead to their pages."""
    for file, page in OUTSIDE.items():
        source[0] = source[0].replace(f"]({file}", f"]({page}")


def setup(app: Sphinx) -> None:
    """Sphinx reads pages below this folder only: the notebook is copied, and the copy ignored by git."""
    shutil.copyfile(ROOT / NOTEBOOK, HERE / Path(NOTEBOOK).name)
    app.connect("source-read", linked)
