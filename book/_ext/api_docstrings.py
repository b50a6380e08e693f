"""A Sphinx extension that lets autodoc show this library's docstrings, which are plain text with shapes in aligned columns.

A paragraph becomes prose, with what stands in backticks as code. A paragraph in two columns (a name, two blanks or more, what it is; lines
that go on are indented) becomes a list of names; a paragraph of items a list. What is indented or drawn keeps its lines as they are.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence

from sphinx.application import Sphinx

SPECIAL = re.compile(r"([\\*|_])")
COLUMNS = re.compile(r"^(?P<name>\S+(?: \S+)*?) {2,}(?P<text>\S.*)$")
DRAWN = re.compile(r"\S {2,}\S|^[{[]")  # a format or a diagram
EMPHASIS = re.compile(r"(?<![\w*])\\\*(\w+)\\\*(?![\w*])")
ITEM = re.compile(r"^(?:[-*]|\d+\.) ")


def prose(text: str) -> str:
    """A paragraph as reStructuredText: backticks to code, everything else taken literally."""
    out = ""
    for part in re.split(r"(`[^`]+`)", text):
        code = part.startswith("`") and len(part) > 2
        piece = f"``{part[1:-1]}``" if code else EMPHASIS.sub(r"*\1*", SPECIAL.sub(r"\\\1", part))
        # Code glued to a letter or a digit would not be code in reStructuredText: a space that is not shown stands between them.
        glued = out[-1:].isalnum() if code else out.endswith("``") and piece[:1].isalnum()
        out += "\\ " + piece if glued else piece
    return out


def segments(lines: Sequence[str]) -> Iterator[tuple[str, list]]:
    """A paragraph's runs of rows in two columns, `("rows", [(name, text), …])`, and of other lines, `("prose", lines)`."""
    rows: list[tuple[str, str]] = []
    other: list[str] = []
    start = 0  # where the second column begins
    for line in lines:
        row = COLUMNS.match(line)
        name, text = (row["name"], row["text"]) if row else (line[:start].strip(), line[start:])
        # a name as wide as its column leaves a single blank
        if row or (rows and not line.startswith(" ") and line[start - 1 : start] == " " and " " not in name and text.strip()):
            if other:
                yield "prose", other
                other = []
            start = row.start("text") if row and not rows else start
            rows.append((name, text))
        elif rows and line.startswith("  "):
            rows[-1] = (rows[-1][0], f"{rows[-1][1]} {line.strip()}")
        else:
            if rows:
                yield "rows", rows
                rows = []
            other.append(line)
    yield ("rows", rows) if rows else ("prose", other)


def paragraph(lines: Sequence[str]) -> Iterator[str]:
    """One paragraph of a docstring as reStructuredText."""
    if ITEM.match(lines[0]) and all(ITEM.match(line) or line.startswith("  ") for line in lines):
        for item in re.split(r"\n(?=(?:[-*]|\d+\.) )", "\n".join(lines)):
            mark = "#." if item[0].isdigit() else "-"
            yield from (f"{mark} {prose(' '.join(ITEM.sub('', item).split()))}", "")
        return
    parts = list(segments(textwrap.dedent("\n".join(lines)).splitlines()))
    # Indented lines are a drawing or code, unless they are rows from the first to the last.
    if lines[0].startswith(" ") and (len(parts) > 1 or parts[0][0] == "prose" or any("=" in name for name, _ in parts[0][1])):
        parts = [("prose", list(lines))]
    for kind, part in parts:
        if kind == "rows":
            for name, text in part:
                plain = name.replace("`", "")
                yield from (f"``{plain}``", f"    {prose(' '.join(text.split()))}", "")
        elif any(line.startswith(" ") or DRAWN.search(line) for line in part):
            yield from (".. code-block:: none", "", *(f"    {line}" for line in part), "")
        else:
            yield from (prose(" ".join(" ".join(part).split())), "")


def rewrite(app: Sphinx, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Put the rewritten docstring in place of the original."""
    text = re.sub(r"\[/?bold\]", "`", "\n".join(lines).strip("\n"))  # a command's help is bold where the page has code
    lines[:] = [line for part in re.split(r"\n\s*\n", text) if part.strip() for line in paragraph(part.splitlines())]


def setup(app: Sphinx) -> dict:
    """Register the rewriting."""
    app.connect("autodoc-process-docstring", rewrite)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
