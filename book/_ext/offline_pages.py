"""A Sphinx extension that makes every page self-contained: MathJax comes from a file beside the pages, and Thebe is left out.

Jupyter Book would link MathJax from a content network, and names one for Thebe (live code, which this book does not use). A reader
without a network, or one who does not care to be counted, loses nothing here.
"""

import shutil
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

# One file with every TeX extension and the glyphs inside, so that nothing is loaded later by a relative or absolute address.
MATHJAX = Path("static", "mathjax", "tex-svg-full.js")
PACKAGE = "sphinx-mathjax-offline"


def copy_mathjax(app: Sphinx) -> None:
    """Put MathJax where `mathjax_path` says, before the pages take its checksum."""
    found = find_spec(PACKAGE)
    source = Path(found.origin).parent / MATHJAX if found and found.origin else None
    if source is None or not source.is_file():
        raise ExtensionError(f"MathJax is not installed: pip install -c constraints.txt {PACKAGE}")
    target = Path(app.outdir) / "_static" / app.config.mathjax_path
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def leave_thebe_out(app: Sphinx) -> None:
    """Disconnect what sphinx-thebe adds to every page."""
    for listeners in app.events.listeners.values():
        listeners[:] = [listener for listener in listeners if not listener.handler.__module__.startswith("sphinx_thebe")]


def setup(app: Sphinx) -> dict:
    """Register both; the priority puts them before the listeners that they serve or remove."""
    app.connect("builder-inited", leave_thebe_out, priority=1)
    app.connect("builder-inited", copy_mathjax, priority=2)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
