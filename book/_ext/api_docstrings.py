"""A Sphinx extension that lets autodoc show this library's docstrings, which are plain text with shapes in aligned columns.

The first paragraph becomes prose, with what stands in backticks as code; the rest keeps its lines as they are.
"""

import re

from sphinx.application import Sphinx

SPECIAL = re.compile(r"([\\*|_])")


def prose(text: str) -> str:
    """A paragraph as reStructuredText: backticks to code, everything else taken literally."""
    out = ""
    for part in re.split(r"(`[^`]+`)", text):
        code = part.startswith("`") and len(part) > 2
        piece = f"``{part[1:-1]}``" if code else SPECIAL.sub(r"\\\1", part)
        # Code glued to a letter or a digit would not be code in reStructuredText: a space that is not shown stands between them.
        glued = out[-1:].isalnum() if code else out.endswith("``") and piece[:1].isalnum()
        out += "\\ " + piece if glued else piece
    return out


def rewrite(app: Sphinx, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Put the rewritten docstring in place of the original."""
    text = "\n".join(lines).strip("\n")
    first, _, rest = text.partition("\n\n")
    if not first.strip():
        return
    lines[:] = [prose(" ".join(first.split())), ""]
    if rest.strip():
        lines += [".. code-block:: none", "", *(f"    {line}" for line in rest.splitlines()), ""]


def setup(app: Sphinx) -> dict:
    """Register the rewriting."""
    app.connect("autodoc-process-docstring", rewrite)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
