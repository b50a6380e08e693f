"""A Sphinx extension that puts two notebooks beside each chapter, and links to them below its title.

The student's notebook has stubs where the solutions were, the solved one has everything; both are made from the chapter's own text
by `tools/exercise_notebooks.py`, so they cannot drift from the page. A chapter that breaks the rules of exercises stops the build.
"""

import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools import exercise_notebooks

FOLDER = "notebooks"
LINKS = """<p class="notebook-downloads"><span>Notebook of this page:</span>
<a href="{student}" download>with exercises to fill in</a>
<a href="{solved}" download>with solutions</a></p>
"""


def write_notebooks(app: Sphinx) -> None:
    """Both notebooks of every chapter, in `notebooks/` beside the pages."""
    if app.builder.format != "html":
        return
    try:
        public = getattr(app.config, "chapter_notebooks_clone", "")  # of the extension public_address, where there is one
        app.env.chapter_notebooks = sorted(exercise_notebooks.write(Path(app.outdir) / FOLDER, Path(app.srcdir), public))
    except exercise_notebooks.Fault as fault:
        raise ExtensionError(str(fault)) from fault


def add_links(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Links below the chapter's title."""
    if doctree is None or pagename not in getattr(app.env, "chapter_notebooks", ()):
        return
    up = "../" * pagename.count("/")
    links = LINKS.format(**{kind: f"{up}{FOLDER}/{pagename}-{kind}.ipynb" for kind in ("student", "solved")})
    title, end, rest = context["body"].partition("</h1>")
    context["body"] = f"{title}{end}\n{links}{rest}"


def name_list_items(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Docutils calls a bibliography a list and its entries something else, which a screen reader cannot count: the list's role goes."""
    if doctree is not None and "citation-list" in context.get("body", ""):
        context["body"] = context["body"].replace('<div role="list" class="citation-list">', '<div class="citation-list">')


def setup(app: Sphinx) -> dict:
    """Register all."""
    app.connect("html-page-context", name_list_items)
    app.connect("builder-inited", write_notebooks)
    app.connect("html-page-context", add_links)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
