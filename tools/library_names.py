"""Every public name of the library: what it is for, where its reference is, and which chapters use it.

A chapter uses a name when one of its code cells imports it or calls it through its module, or when its text names it in full.
"""

import ast
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tools import api_pages, exercise_notebooks
from tools.check_book import documents

ROOT = Path(__file__).resolve().parent.parent
FULL = re.compile(r"causalpose(?:\.\w+)+")
MAGIC = re.compile(r"^\s*[%!].*$", re.MULTILINE)


@dataclass(frozen=True)
class Name:
    """A public function or class: its module, its own name, and the first sentence of its docstring."""

    module: str
    name: str
    purpose: str

    @property
    def full(self) -> str:
        """The dotted name."""
        return f"{self.module}.{self.name}"


def first_sentence(docstring: str | None) -> str:
    """The docstring's first paragraph up to its first full stop, on one line."""
    paragraph = " ".join((docstring or "").strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.])\s+(?=[A-Z`])", paragraph, maxsplit=1)[0]


@lru_cache
def names() -> dict[str, list[Name]]:
    """The public names of each part, module by module, in the order of the files."""
    found: dict[str, list[Name]] = {}
    for part in api_pages.PARTS:
        for module in api_pages.modules(part):
            for node in ast.parse(api_pages.source(module).read_text()).body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                    found.setdefault(part, []).append(Name(module, node.name, first_sentence(ast.get_docstring(node))))
    return found


def called(code: str) -> set[str]:
    """Dotted names of the library that some Python imports, or reads as an attribute of a module that it imports."""
    tree = ast.parse(MAGIC.sub("", code))
    alias: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "causalpose":
            alias |= {entry.asname or entry.name: f"{node.module}.{entry.name}" for entry in node.names}
        elif isinstance(node, ast.Import):
            for entry in node.names:
                if entry.name.split(".")[0] == "causalpose":
                    alias[entry.asname or "causalpose"] = entry.name if entry.asname else "causalpose"
    found = set(alias.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            path = [node.attr]
            inner = node.value
            while isinstance(inner, ast.Attribute):
                path.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name) and inner.id in alias:
                found.add(".".join([alias[inner.id], *reversed(path)]))
    return found


def uses(book: Path = exercise_notebooks.BOOK) -> dict[str, list[str]]:
    """The chapters that use each dotted name, in alphabetical order."""
    used = defaultdict(list)
    for path in exercise_notebooks.chapters(book):
        text = path.read_text()
        cells = exercise_notebooks.notebook(text, path.stem).cells
        found = called("\n".join(cell.source for cell in cells if cell.cell_type == "code")) | set(FULL.findall(text))
        for name in found:
            used[name].append(path.relative_to(book).with_suffix("").as_posix())
    return used


def page(book: Path = exercise_notebooks.BOOK) -> str:
    """The page of all names as MyST."""
    used, shown = uses(book), set(documents(book / "_toc.yml"))
    text = [
        "(api-names)=", "# Every name", "",
        "All public functions and classes of the library, part by part: each leads to its reference, the last column to the chapters that",
        "use it by name. This page is made from the library and the chapters as the book is built.", "",
    ]  # fmt: skip
    for part, listed in names().items():
        text += [f"## {api_pages.PARTS[part][0]}", "", "| name | what it is for | used in |", "| --- | --- | --- |"]
        for entry in listed:
            chapters = ", ".join(f"[{chapter}](../{chapter}.md)" for chapter in used.get(entry.full, []) if chapter in shown)
            purpose = entry.purpose.replace("|", "\\|").replace("$", "\\$").replace("<", "\\<").replace("{", "\\{").replace("*", "\\*")
            text.append(f"| {{py:obj}}`{entry.name} <{entry.full}>` | {purpose} | {chapters} |")
        text.append("")
    return "\n".join(text)
