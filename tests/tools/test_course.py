"""The instructor's guide is read from the chapters: goals, exercises, weeks."""

import importlib.util
import re

import pytest

from tools.check_book import ROOT, documents

_spec = importlib.util.spec_from_file_location("course", ROOT / "book" / "_ext" / "course.py")
course = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(course)

PAGE = """# A page

**After this page you can**

1. count tokens;
2. doubt a number.

:::{exercise} One
:label: a-one
:class: goal-2

Count.
:::

:::{exercise} Two
:label: a-two

Doubt.
:::
"""


@pytest.fixture
def book(tmp_path):
    """Two parts: one page with goals, and one with none."""
    (tmp_path / "a.md").write_text(PAGE)
    (tmp_path / "b.md").write_text("# Words\n")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nparts:\n- caption: Method\n  chapters:\n  - file: a\n- caption: Back\n  chapters:\n  - file: b\n"
    )
    return tmp_path


def test_goals_and_exercises_are_read(book) -> None:
    """An exercise stands beside the goal that it names; the other below the page. The part without goals is left out."""
    parts = course.lessons(book)
    assert list(parts) == ["Method"]
    lines = course.goal_lines(parts)
    assert "1. count tokens" in lines and "2. doubt a number: {ref}`a-one`" in lines and "Exercises: {ref}`a-two`" in lines


def test_a_goal_that_the_page_lacks(book) -> None:
    """The page has two goals."""
    (book / "a.md").write_text(PAGE.replace("goal-2", "goal-3"))
    with pytest.raises(ValueError, match="a-one names goal 3, but the page has 2"):
        course.lessons(book)


def test_weeks_take_their_pages_from_the_parts(book) -> None:
    """A page joins its week by joining the part; an unknown part, a part that no week reads and a crooked row are errors."""
    parts = course.lessons(book)
    assert course.week_lines(["1 :: Method :: read", "2 :: :: rest"], parts)[2:4] == ["| 1 | {doc}`a` | read |", "| 2 |  | rest |"]
    for rows, message in [
        (["1 :: Methods :: x"], "no part"),
        (["1 :: :: x"], "no week reads 'Method'"),
        (["1 - Method"], "not of the form"),
    ]:
        with pytest.raises(ValueError, match=message):
            course.week_lines(rows, parts)


def test_the_guide_names_only_pages_and_parts_that_are_there() -> None:
    """Every page of both syllabi is in the table of contents, every exercise in a page, and every part of the book has its week."""
    text = (ROOT / "book" / "instructors.md").read_text()
    pages = set(documents(ROOT / "book" / "_toc.yml"))
    named = set(re.findall(r"\{doc\}`([\w/-]+)`", text))
    assert named and named <= pages, f"not in the table of contents: {sorted(named - pages)}"
    parts = course.lessons(ROOT / "book")
    labels = {label for part in parts.values() for page in part for label, _ in page.exercises}
    exercises = set(re.findall(r"\{ref\}`([\w-]+)`", text))
    assert exercises and exercises <= labels, f"no such exercise: {sorted(exercises - labels)}"
    rows = re.search(r"```\{weeks\}\n(.*?)```", text, re.DOTALL)[1].strip().splitlines()
    assert len(rows) == 8 and course.week_lines(rows, parts)


def test_two_weeks_visit_every_part_of_the_book() -> None:
    """The sessions are written by hand, so a part can be forgotten; each needs a page and an exercise of it."""
    text = (ROOT / "book" / "instructors.md").read_text()
    table = re.search(r"^## Two weeks\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)[1]
    pages, labels = (set(re.findall(rf"\{{{role}\}}`([\w/-]+)`", table)) for role in ("doc", "ref"))
    for caption, part in course.lessons(ROOT / "book").items():
        assert pages & {page.name for page in part}, f"no session on {caption}"
        assert labels & {label for page in part for label, _ in page.exercises}, f"no exercise of {caption}"


def test_every_chapter_with_exercises_says_its_goals() -> None:
    """A page that has exercises and no goals would be missing from the map."""
    pages = [ROOT / "book" / f"{name}.md" for name in documents(ROOT / "book" / "_toc.yml")]
    with_exercises = {path.stem for path in pages if path.is_file() and course.EXERCISE.search(path.read_text())}
    mapped = {page.name for part in course.lessons(ROOT / "book").values() for page in part}
    assert with_exercises <= mapped, f"pages without a list of goals: {sorted(with_exercises - mapped)}"


def test_every_exercise_says_which_goal_it_practises() -> None:
    """The map of goals has no exercise without a goal; one that its page does not have is an error of `lessons`."""
    pages = [page for part in course.lessons(ROOT / "book").values() for page in part]
    faults = [f"{page.name}: {label}" for page in pages for label, numbers in page.exercises if not numbers]
    assert len(pages) > 20 and not faults, f"exercises without `:class: goal-n`: {faults}"


def test_every_goal_is_practised_by_an_exercise() -> None:
    """What a page promises, a reader can try."""
    pages = [page for part in course.lessons(ROOT / "book").values() for page in part]
    practised = {page.name: {number for _, numbers in page.exercises for number in numbers} for page in pages}
    idle = [
        f"{page.name}: {number}. {goal}"
        for page in pages
        for number, goal in enumerate(page.goals, 1)
        if number not in practised[page.name]
    ]
    assert sum(len(page.goals) for page in pages) > 100 and not idle, idle
