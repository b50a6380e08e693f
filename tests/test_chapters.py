"""The chapters' sources: they name pages and places that are there, and each opens and closes as all do."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path

import pytest

from tools.check_book import documents
from tools.exercise_notebooks import EXERCISE, notebook

BOOK = Path(__file__).resolve().parent.parent / "book"
PAGES = documents(BOOK / "_toc.yml")
LABEL = re.compile(r"^\s*:label:\s*(\S+)|^\s*name:\s*(\S+)|^\(([\w-]+)\)=", re.MULTILINE)
ROLE = re.compile(r"\{(doc|ref|numref)\}`(?:[^`<]*<)?([^`<>]+)>?`")
# What a reader meets in every chapter, in this order.
PARTS = (
    "**After this page you can**",
    "| you need |",
    "Reading takes about",
    "## What we found",
    "**Limits.**",
    "## Exercises",
    "## References",
)
# Pages with code that teach nothing by themselves, so that they have neither goals nor exercises: the back matter's own tables.
NO_CHAPTERS = {"versions"}
FEWEST_EXERCISES = 4
GOALS = re.compile(r"^\*\*After this page you can\*\*\s*\n\n((?:\d+\. [^\n]+\n)+)", re.MULTILINE)
FINDINGS = re.compile(r"^## What we found\s*\n(.*?)^(?:\*\*Limits|## )", re.MULTILINE | re.DOTALL)
NUMBERED = re.compile(r"^\d+\. ", re.MULTILINE)


def text(page: str) -> str:
    """Source of a page; API pages have no roles of their own and are read alike."""
    return (BOOK / f"{page}.md").read_text()


def chapters() -> list[str]:
    """Pages with code, but for those that are no chapters."""
    pages = [page for page in PAGES if (BOOK / f"{page}.md").is_file() and "kernelspec" in text(page)[:600]]
    assert set(pages) >= NO_CHAPTERS
    return [page for page in pages if page not in NO_CHAPTERS]


def dangling(source: str, pages: set[str], labels: set[str]) -> Iterator[str]:
    """Roles of a source that name no page of the table of contents, or no label of any page."""
    for role, target in ROLE.findall(source):
        if target not in (pages if role == "doc" else labels):
            yield f"{{{role}}}`{target}`"


def test_a_dangling_role_is_found() -> None:
    source = "{doc}`here`, {doc}`gone`, {ref}`exercise`, {ref}`no-exercise`, {numref}`fig-a`, {doc}`that <away>`"
    assert list(dangling(source, {"here"}, {"exercise", "fig-a"})) == ["{doc}`gone`", "{ref}`no-exercise`", "{doc}`away`"]


def test_pages_name_what_is_there() -> None:
    """A page that was split or renamed leaves nobody behind: found here in a second, not at the end of a build."""
    sources = {page: text(page) for page in PAGES if (BOOK / f"{page}.md").is_file()}
    labels = {label for source in sources.values() for groups in LABEL.findall(source) for label in groups if label}
    faults = [f"{page}: {fault}" for page, source in sources.items() for fault in dangling(source, set(PAGES), labels)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("page", chapters())
def test_chapter_opens_and_closes_like_the_others(page: str) -> None:
    source = text(page)
    places = [source.find(part) for part in PARTS]
    assert min(places) >= 0, f"{page} lacks {[part for part, place in zip(PARTS, places, strict=True) if place < 0]}"
    assert places == sorted(places), f"{page} has its parts in another order"


def promised_and_found(source: str) -> tuple[int, int]:
    """How many goals a chapter opens with, and how many findings it closes with."""
    return tuple(len(NUMBERED.findall(pattern.search(source)[1])) for pattern in (GOALS, FINDINGS))


def test_promises_and_findings_are_counted() -> None:
    goals = "**After this page you can**\n\n1. see;\n2. doubt.\n\n1. not a goal\n"
    assert promised_and_found(f"{goals}\n## What we found\n\n1. Seen.\n\n**Limits.** Few.\n\n1. no finding\n") == (2, 1)


@pytest.mark.parametrize("page", chapters())
def test_chapter_finds_what_it_promised(page: str) -> None:
    """The list at the end answers the list at the start, one finding for each goal."""
    goals, findings = promised_and_found(text(page))
    assert goals == findings, f"{page} has {goals} goals and {findings} findings"


@pytest.mark.parametrize("page", chapters())
def test_chapter_has_enough_exercises(page: str) -> None:
    found = [body["body"] for body in EXERCISE.finditer(text(page))]
    assert len(found) >= FEWEST_EXERCISES, f"{page} has {len(found)} exercises"


SHOWS = re.compile(r"^(?:\w+\.)?(?:counterfactuals|player|keep_slider|effect_beside|clip_shows)\(", re.MULTILINE)


def test_pictures_to_step_through_are_numbered_figures() -> None:
    """Like every other picture, they can be referred to: each has a caption and a name."""
    found, bare = 0, []
    for page in chapters():
        for cell in notebook(text(page), page).cells:
            if cell.cell_type == "code" and SHOWS.search(cell.source):
                found += 1
                figure = cell.metadata.get("mystnb", {}).get("figure", {})
                bare += [] if figure.get("caption") and figure.get("name") else [f"{page}: {cell.source.splitlines()[-1]}"]
    assert found and not bare, bare


def called_in_chapters() -> dict[str, set[str]]:
    """The library's functions and classes that chapters import, as MODULE.NAME -> pages; a module that is imported stands for itself."""
    found: dict[str, set[str]] = {}
    for page in chapters():
        for cell in notebook(text(page), page).cells:
            if cell.cell_type != "code":
                continue
            for node in ast.walk(ast.parse(re.sub(r"^\s*[%!].*$", "pass", cell.source, flags=re.MULTILINE))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "causalpose":
                    for alias in node.names:
                        thing = getattr(import_module(node.module), alias.name, None)
                        if isfunction(thing) or isclass(thing):
                            found.setdefault(f"{thing.__module__}.{alias.name}", set()).add(page)
    return found


def test_what_chapters_call_is_covered_by_the_tests() -> None:
    """A reader's first call must not be the first call at all: each name that a chapter imports stands in a test's code (not its words)."""
    named: set[str] = set()
    for path in Path(__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Name, ast.Attribute)):
                named.add(node.id if isinstance(node, ast.Name) else node.attr)
    called = called_in_chapters()
    missing = {name: sorted(pages) for name, pages in called.items() if name.rpartition(".")[2] not in named}
    assert len(called) > 100 and not missing, f"no test calls these: {missing}"
