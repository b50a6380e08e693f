"""Two directives for the instructor's guide that read the chapters themselves, so that the guide cannot fall behind them.

    ```{goal-map}
    ```

lists, part by part and page by page, what a reader can do afterwards and the exercises that practise it. A page says what under the line
`**After this page you can**`, as a numbered list; an exercise names the goals that it practises by a class, `:class: goal-1 goal-3`.
Exercises that name none stand below the page's goals.

    ```{weeks}
    1 :: Foundations :: all exercises in class
    ```

makes a table of weeks: a week, parts of the book separated by semicolons, and what is done. The pages of each part are read from the
table of contents. A part that is not there, and a part with exercises that no week names, is an error of the page.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.exercise_notebooks import EXERCISE, LABEL

GOALS = re.compile(r"^\*\*After this page you can\*\*\s*\n\n(?P<list>(?:\d+\. [^\n]+\n)+)", re.MULTILINE)
GOAL = re.compile(r"^\d+\. (?P<text>.+?)[;.]?$", re.MULTILINE)
CLASSES = re.compile(r"^:class:\s*(?P<names>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Lesson:
    """One page: its name, its goals, and its exercises as label and the numbers of the goals that it names."""

    name: str
    goals: tuple[str, ...]
    exercises: tuple[tuple[str, tuple[int, ...]], ...]


def lesson(name: str, text: str) -> Lesson | None:
    """What a page's text says; None for a page without goals. `ValueError` for an exercise that names a goal the page does not have."""
    found = GOALS.search(text)
    if not found:
        return None
    goals = tuple(match["text"] for match in GOAL.finditer(found["list"]))
    exercises = []
    for exercise in EXERCISE.finditer(text):
        label, classes = LABEL.search(exercise["body"]), CLASSES.search(exercise["body"])
        numbers = tuple(int(number) for number in re.findall(r"\bgoal-(\d+)\b", classes["names"])) if classes else ()
        if any(not 1 <= number <= len(goals) for number in numbers):
            raise ValueError(f"{name}: exercise {label[1]} names goal {max(numbers)}, but the page has {len(goals)}")
        exercises.append((label[1], numbers))
    return Lesson(name, goals, tuple(exercises))


def lessons(book: Path) -> dict[str, list[Lesson]]:
    """Pages with goals by the caption of their part, in reading order; parts without such pages are left out."""
    parts = {}
    for part in yaml.safe_load((book / "_toc.yml").read_text()).get("parts", []):
        names = [chapter["file"].removesuffix(".md") for chapter in part["chapters"]]
        found = [lesson(name, path.read_text()) for name in names if (path := book / f"{name}.md").is_file()]
        if any(found):
            parts[part["caption"]] = [one for one in found if one]
    return parts


def refs(labels: list[str]) -> str:
    """Links to exercises, by their titles."""
    return ", ".join(f"{{ref}}`{label}`" for label in labels)


def goal_lines(parts: dict[str, list[Lesson]]) -> list[str]:
    """The map as MyST Markdown."""
    lines: list[str] = []
    for caption, pages in parts.items():
        lines += [f"**{caption}**", ""]
        for page in pages:
            lines += [f"{{doc}}`{page.name}`", ""]
            for number, goal in enumerate(page.goals, 1):
                practised = [label for label, numbers in page.exercises if number in numbers]
                lines.append(f"{number}. {goal}" + (f": {refs(practised)}" if practised else ""))
            rest = [label for label, numbers in page.exercises if not numbers]
            lines += ["", *([f"Exercises: {refs(rest)}", ""] if rest else [])]
    return lines


def week_lines(rows: list[str], parts: dict[str, list[Lesson]]) -> list[str]:
    """The table of weeks as MyST Markdown; `ValueError` says which row or part is wrong."""
    lines, named = ["| week | pages | work |", "| --- | --- | --- |"], set()
    for row in rows:
        fields = [field.strip() for field in row.split("::")]
        if len(fields) != 3:
            raise ValueError(f"weeks: {row!r} is not of the form `week :: part; part :: work`")
        captions = [caption for caption in (part.strip() for part in fields[1].split(";")) if caption]
        unknown = [caption for caption in captions if caption not in parts]
        if unknown:
            raise ValueError(f"weeks: no part of the book is called {unknown[0]!r}; parts: {', '.join(parts)}")
        named.update(captions)
        pages = ", ".join(f"{{doc}}`{page.name}`" for caption in captions for page in parts[caption])
        lines.append(f"| {fields[0]} | {pages} | {fields[2]} |")
    missing = [caption for caption in parts if caption not in named]
    if missing:
        raise ValueError(f"weeks: no week reads {missing[0]!r}")
    return [*lines, ""]


class _Course(SphinxDirective):
    """Parses lines made from all chapters in place, and is read again when one of them changes."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The nodes; a wrong line is an error of the page."""
        book = Path(self.env.srcdir)
        self.env.note_dependency(str(book / "_toc.yml"))
        for path in book.glob("*.md"):
            self.env.note_dependency(str(path))
        try:
            lines = self.lines(lessons(book))
        except ValueError as error:
            raise self.error(str(error)) from None
        box = nodes.container(classes=["course"])
        self.state.nested_parse(StringList(lines, source=self.get_source_info()[0]), self.content_offset, box)
        return [box]


class GoalMap(_Course):
    """`{goal-map}`."""

    def lines(self, parts: dict[str, list[Lesson]]) -> list[str]:
        """All goals and exercises."""
        return goal_lines(parts)


class Weeks(_Course):
    """`{weeks}`, one week a line."""

    def lines(self, parts: dict[str, list[Lesson]]) -> list[str]:
        """The table."""
        return week_lines([line for line in self.content if line.strip()], parts)


def setup(app: Sphinx) -> dict:
    """Register both."""
    app.add_directive("goal-map", GoalMap)
    app.add_directive("weeks", Weeks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
