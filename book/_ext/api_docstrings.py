"""A Sphinx extension that lets autodoc show this library's docstrings, which are plain text with shapes in aligned columns.

The first paragraph becomes prose, with what stands in backticks as code; the rest keeps its lines as they are.
"""

import re

from sphinx.application import Sphinx

SPECIAL = re.compile(r"([\\*|_])")


def prose(text: str) -> str:
    """A paragraph as reStructuredText: backticks to code, everything else taken literally."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(f"``{part[1:-1]}``" if part.startswith("`") and len(part) > 2 else SPECIAL.sub(r"\\\1", part) for part in parts)


def rewrite(app: Sphinx, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Put the rewritten docstring in place of the original."""
    text = "\n".join(lines).strip("\n")
    first, _, rest = text.partition("\n\n")
    if not first.strip():
        return
    # A backtick glued to a letter would not end code in reStructuredText: a space that is not shown separates them.
    joined = re.sub(r"``(?=[\w])|(?<=[\w])``(?=\w)", r"``\\ ", prose(" ".join(first.split())))
    lines[:] = [joined, ""]
    if rest.strip():
        lines += ["::", "", *(f"    {line}" for line in rest.splitlines()), ""]


def setup(app: Sphinx) -> dict:
    """Register the rewriting."""
    app.connect("autodoc-process-docstring", rewrite)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
