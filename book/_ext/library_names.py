"""A Sphinx extension that writes the page `api/names` as the book is built, and lets no public name of the library be without reference."""

import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools import library_names

PAGE = "api/names"
LOGGER = logging.getLogger(__name__)


def write_page(app: Sphinx, docname: str, content: list[str]) -> None:
    """The page's text instead of the file's; it tells which chapters use a name, so it is read again when one of them changes."""
    if docname == PAGE:
        for path in Path(app.srcdir).glob("*.md"):
            app.env.note_dependency(str(path))
        content[0] = library_names.page(Path(app.srcdir))


def check_reference(app: Sphinx, env) -> None:
    """A warning, which stops the strict build, for each public name that no page of the reference describes."""
    described = env.get_domain("py").objects
    for listed in library_names.names().values():
        for entry in listed:
            if entry.full not in described:
                LOGGER.warning(f"{entry.full} is public, but no page of the reference describes it; give it a docstring, or run `make api`")


def setup(app: Sphinx) -> dict:
    """Register both."""
    app.connect("source-read", write_page)
    app.connect("env-check-consistency", check_reference)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
