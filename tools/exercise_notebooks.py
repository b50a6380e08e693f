"""Two notebooks from each chapter: one for students, with stubs where the solutions were, and one with everything in it.

The chapter is the only source. An exercise is sphinx-exercise's `{exercise}` with a label; its solution stands between
`{solution-start} LABEL` and `{solution-end}`, and at least one code cell in there has the form

    # solution
    weights = scores / scores.sum()
    # check
    assert abs(weights.sum() - 1) < 1e-6

What stands above `# solution` is given, what stands between the marks is cut, and the check stays. `# solution` may be indented, as
the body of a function is. A student's cell raises `NotImplementedError` until it is filled in.

    python -m tools.exercise_notebooks [--out FOLDER] [--run CHAPTER …]
"""

import argparse
import copy
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nbformat
from myst_nb.core.read import read_myst_markdown_notebook

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
SOLUTION, CHECK = "# solution", "# check"
EXERCISE = re.compile(r"^(?P<fence>`{3,}|:{3,})\{exercise\}(?P<title>[^\n]*)\n(?P<body>.*?)^(?P=fence)[ ]*$", re.MULTILINE | re.DOTALL)
LABEL = re.compile(r"^:label:\s*(\S+)\s*$", re.MULTILINE)
OPTIONS = re.compile(r"\A(?::[a-z-]+:[^\n]*\n)+")  # label and class, which are for Sphinx
START = re.compile(r"^(`{3,}|:{3,})\{solution-start\}\s*(?P<label>\S+)[^\n]*\n(?:^:[a-z-]+:[^\n]*\n)*^\1[ ]*$", re.MULTILINE)
END = re.compile(r"^(`{3,}|:{3,})\{solution-end\}\s*\n^\1[ ]*$", re.MULTILINE)


@dataclass(frozen=True)
class Fault(Exception):
    """What is wrong with a chapter's exercises, and where."""

    chapter: str
    message: str

    def __str__(self) -> str:
        return f"{self.chapter}: {self.message}"


def stub(source: str, label: str) -> str:
    """A solution's cell without its solution: the given lines, `raise NotImplementedError`, the check."""
    kept: list[str] = []
    cutting = found = False
    for line in source.splitlines():
        mark = line.strip()
        if mark == SOLUTION:
            cutting = found = True
            indent = line[: len(line) - len(line.lstrip())]
            kept += [f"{indent}# your code here", f'{indent}raise NotImplementedError("exercise {label}")']
        elif mark == CHECK:
            cutting = False
            kept.append(line)
        elif not cutting:
            kept.append(line)
    if not found:
        raise ValueError(f"has no line `{SOLUTION}`")
    return "\n".join(kept)


def solution_lines(source: str) -> set[str]:
    """The lines that a student must not see: those between the marks, but for comments and the shortest ones."""
    hidden, inside = set(), False
    for line in source.splitlines():
        mark = line.strip()
        if mark in (SOLUTION, CHECK):
            inside = mark == SOLUTION
        elif inside and len(mark) > 8 and not mark.startswith("#"):
            hidden.add(mark)
    return hidden


def _marks(text: str) -> Iterator[tuple[int, int, str | None]]:
    """Begin, end and label (None for an end) of each mark of a solution in a Markdown cell, in order."""
    found = [(m.start(), m.end(), m["label"]) for m in START.finditer(text)] + [(m.start(), m.end(), None) for m in END.finditer(text)]
    yield from sorted(found)


def notebook(text: str, name: str = "chapter") -> nbformat.NotebookNode:
    """A chapter's text as a notebook without outputs."""
    found = _read(text)
    if found is None:
        raise Fault(name, "is no notebook; its front matter must name a kernel")
    return copy.deepcopy(found)


@lru_cache(maxsize=64)
def _read(text: str) -> nbformat.NotebookNode | None:
    # The page of all names reads every chapter as the notebooks do, in the same build.
    return read_myst_markdown_notebook(text, add_source_map=False)


def split(text: str, name: str = "chapter") -> tuple[nbformat.NotebookNode, nbformat.NotebookNode]:
    """The student's notebook and the solved one. A `Fault` says what breaks the rules above."""
    source = notebook(text, name)
    labels = [m[1] for body in EXERCISE.finditer(text) for m in [LABEL.search(body["body"])] if m]
    if len(labels) != len(EXERCISE.findall(text)):
        raise Fault(name, "an exercise has no :label:")
    if len(set(labels)) != len(labels):
        raise Fault(name, "two exercises share a label")
    student, solved, hidden = [], [], set()
    current: str | None = None
    answered: dict[str, int] = {}
    for cell in source.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("mystnb", None)
            solved.append(cell.copy())
            if current is None:
                student.append(cell.copy())
                continue
            try:
                shown = stub(cell.source, current)
            except ValueError:
                continue  # a picture or a comparison that belongs to the solution only
            if CHECK not in {line.strip() for line in cell.source.splitlines()}:
                raise Fault(name, f"the solution of {current} has no line `{CHECK}`: a student could not tell whether it is right")
            hidden |= solution_lines(cell.source)
            answered[current] += 1
            student.append(nbformat.v4.new_code_cell(shown, metadata={"tags": ["exercise"], "exercise": current}))
            continue
        kept, position = [], 0
        for begin, end, label in _marks(cell.source):
            if current is None:
                kept.append(cell.source[position:begin])
            if label is not None:
                if current is not None:
                    raise Fault(name, f"the solution of {label} starts inside that of {current}")
                if label not in labels:
                    raise Fault(name, f"there is a solution for {label}, but no exercise of that label")
                answered[label] = 0
            elif current is None:
                raise Fault(name, "a solution ends that never started")
            current, position = label, end
        if current is None:
            kept.append(cell.source[position:])
        solved.append(nbformat.v4.new_markdown_cell(plain(cell.source)))
        visible = plain("".join(kept))
        if visible.strip():
            student.append(nbformat.v4.new_markdown_cell(visible))
    if current is not None:
        raise Fault(name, f"the solution of {current} never ends")
    for label in labels:
        if not answered.get(label):
            raise Fault(name, f"exercise {label} has no solution with a code cell to fill in and to check")
    given = {line.strip() for cell in student for line in cell.source.splitlines()}
    # A line that the chapter's own code has as well is no secret.
    elsewhere = {
        line.strip()
        for cell in source.cells
        if cell.cell_type == "code" and SOLUTION not in cell.source
        for line in cell.source.splitlines()
    }
    leaked = (hidden & given) - elsewhere
    if leaked:
        raise Fault(name, f"the student's notebook shows lines of a solution: {sorted(leaked)[0]!r}")
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return tuple(nbformat.v4.new_notebook(cells=cells, metadata=kernel) for cells in (_clean(student), _clean(solved)))


def _clean(cells: list) -> list:
    """Cells with short, lasting ids, so that the same chapter gives the same file, and without the book's own display tags."""
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
        tags = [tag for tag in cell.metadata.get("tags", []) if not tag.startswith(("hide-", "remove-", "may-be-"))]
        cell.metadata.pop("tags", None)
        if tags:
            cell.metadata["tags"] = tags
    return cells


def plain(text: str) -> str:
    """MyST for a notebook's own Markdown: roles become words, boxes become quotations, what only Sphinx can fill in is left out."""
    text = EXERCISE.sub(lambda m: f"### Exercise: {m['title'].strip()}\n\n{OPTIONS.sub('', m['body']).strip()}", text)
    text = START.sub("**Solution**", text)
    text = END.sub("", text)
    text = re.sub(r"^(`{3,}|:{3,})\{footbibliography\}\s*\n\1[ ]*$", "(see the page of this chapter in the book)", text, flags=re.MULTILINE)
    text = re.sub(r"\s*\{footcite:[pt]s?\}`[^`]*`", "", text)
    text = re.sub(r"\{(?:doc|ref|numref|eq|term|prf:ref)\}`([^`<]*?)\s*<[^`>]*>`", r"*\1*", text)
    text = re.sub(r"\{glue:text\}`[^`]*`", "(computed above)", text)
    text = re.sub(r"\{[a-z:]+\}`([^`]*)`", r"*\1*", text)
    text = re.sub(r"^(:{3,}|`{3,})\{(?!code)[a-z-]+\}[ ]*([^\n]*)\n(?:^:[a-z-]+:[^\n]*\n)*", r"**\2**\n\n", text, flags=re.MULTILINE)
    return re.sub(r"^:{3,}[ ]*$", "", text, flags=re.MULTILINE).replace("****\n", "")


def chapters(book: Path = BOOK) -> list[Path]:
    """The chapters that have code."""
    pages = (path for path in sorted(book.rglob("*.md")) if not path.relative_to(book).as_posix().startswith("_"))
    return [path for path in pages if "kernelspec" in path.read_text()[:600]]


# The first cell of a notebook that is opened where nothing is installed, such as Colab.
FETCH = """# Where the library is not installed: fetch it, install it, and work where the book's pages lie.
import importlib.util, os, sys
if importlib.util.find_spec("causalpose") is None:
    !git clone --quiet --depth 1 {repository} causalpose-book
    %pip install --quiet -e ./causalpose-book
    sys.path.insert(0, os.path.abspath("causalpose-book"))
    os.chdir("causalpose-book/book")"""


def fetching(repository: str) -> nbformat.NotebookNode:
    """The cell that makes a notebook run on a machine that has only Python and git."""
    return nbformat.v4.new_code_cell(FETCH.format(repository=repository), id="cell-fetch")


def write(out: Path, book: Path = BOOK, repository: str = "") -> dict[str, tuple[Path, Path]]:
    """Write both notebooks of every chapter into a folder; the paths by the chapter's name.

    With a repository's public address each notebook begins by fetching it where the library is not installed.
    """
    written = {}
    for path in chapters(book):
        name = path.relative_to(book).with_suffix("").as_posix()
        pair = split(path.read_text(), name)
        files = tuple(out / f"{name}{suffix}.ipynb" for suffix in ("-student", "-solved"))
        for file, content in zip(files, pair, strict=True):
            if repository:
                content.cells.insert(0, fetching(repository))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(nbformat.writes(content) + "\n", encoding="utf-8")
        written[name] = files
    return written


def run_student(student: nbformat.NotebookNode, seconds: int = 600) -> list[str]:
    """Execute a student's notebook as handed out; every error that is not a stub's `NotImplementedError`."""
    from nbclient import NotebookClient

    ran = nbformat.from_dict(student)
    NotebookClient(ran, timeout=seconds, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": str(BOOK)}}).execute()
    faults = []
    for number, cell in enumerate(ran.cells):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error" and not ("exercise" in cell.metadata and output["ename"] == "NotImplementedError"):
                faults.append(f"cell {number}: {output['ename']}: {output['evalue']}")
    return faults


def run_students(notebooks: dict[str, Path]) -> list[str]:
    """Execute students' notebooks, two at a time as the book's chapters are; the faults of all, each with its chapter's name."""
    from tools.execute_chapters import ONE_THREAD, WORKERS

    start, faults = time.perf_counter(), []
    os.environ.update(ONE_THREAD)  # for the processes that follow and their kernels
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        # The longest should not begin last, and their size is the best guess at length.
        order = sorted(notebooks, key=lambda name: -notebooks[name].stat().st_size)
        running = {pool.submit(run_student, nbformat.read(notebooks[name], as_version=4)): name for name in order}
        for job in as_completed(running):
            name = running[job]
            try:
                found = job.result()
            except Exception as error:  # a kernel that died, a cell beyond its time: a fault of this chapter, the others go on
                found = [f"{type(error).__name__}: {error}"]
            print(f"  {name:<28} {'FAILED' if found else 'stubs raise NotImplementedError and nothing else fails'}", flush=True)
            faults += [f"{name}: {fault}" for fault in found]
    print(f"Ran in {time.perf_counter() - start:.0f} s.", flush=True)
    return faults


def main() -> None:
    """Write the notebooks; run the students' ones on request."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--out", type=Path, default=ROOT / "_build" / "notebooks")
    reader.add_argument(
        "--run", nargs="*", metavar="CHAPTER", help="execute the students' notebooks of these chapters (none named: of all)"
    )
    given = reader.parse_args()
    try:
        written = write(given.out)
    except Fault as fault:
        sys.exit(f"error: {fault}")
    print(f"{len(written)} chapters, two notebooks each: {given.out}")
    if given.run is not None:
        unknown = set(given.run) - set(written)
        if unknown:
            sys.exit(f"error: no chapter {', '.join(sorted(unknown))}; there are: {', '.join(written)}")
        if faults := run_students({name: written[name][0] for name in given.run or written}):
            sys.exit("\n".join(f"error: {fault}" for fault in faults))


if __name__ == "__main__":
    main()
