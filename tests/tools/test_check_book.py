"""The book's checker finds each kind of fault in a small built book, and finds none in a sound one."""

import re
from pathlib import Path

import nbformat
import pytest
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn

from causalpose.experiments.quoting import quoted
from tools import exercise_notebooks
from tools.check_book import ROOT, check, code_cells, documents

CHAPTER = "# One\n\n```{code-cell} ipython3\n1 + 1\n```\n"
ALT = "A skeleton drawn over a walking person"
PAGE = f"""<html><head><link rel="stylesheet" href="_static/a.css"><script src="_static/m.js"></script></head><body>
<h1 id="one">One</h1><div class="cell_output docutils"><img src="_images/p.png" alt="{ALT}"></div>
<a href="index.html#top">back</a> <a href="https://arxiv.org/abs/2501.14356">paper</a></body></html>"""
INDEX = '<html><body><h1 id="top">Index</h1><a href="one.html#one">one</a></body></html>'


def printed(text: str) -> nbformat.NotebookNode:
    """What a cell prints."""
    return nbformat.v4.new_output("stream", text=text)


FAILED = nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])


PICTURE = nbformat.v4.new_output("display_data", data={"image/png": "cGljdHVyZQ==", "text/plain": "<Figure>"})
SHOW = nbformat.v4.new_output(
    "execute_result", data={"text/html": "<div><img src='data:image/png;base64,cA=='></div>", "text/plain": "Show()"}
)
TABLE = nbformat.v4.new_output("execute_result", data={"text/html": "<table></table>", "text/plain": "a table"})
CAPTION = {"figure": {"caption": "A walk.", "name": "fig-walk"}}


def cell(
    source: str = "1 + 1", count: int | None = 1, outputs: tuple = (printed("2"),), tags: tuple = (), mystnb: dict | None = None
) -> nbformat.NotebookNode:
    """A code cell of an executed notebook."""
    metadata = {"tags": list(tags)} | ({"mystnb": mystnb} if mystnb else {})
    return nbformat.v4.new_code_cell(source, execution_count=count, outputs=list(outputs), metadata=metadata)


class Book:
    """A built book of two pages, one of them with code."""

    def __init__(self, root: Path):
        self.source, self.build = root / "book", root / "_build"
        self.html = self.build / "html"
        self.write(self.source / "_toc.yml", "format: jb-book\nroot: index\nparts:\n- caption: P\n  chapters:\n  - file: one\n")
        self.write(self.source / "index.md", "# Index\n")
        self.write(self.source / "one.md", CHAPTER)
        self.write(self.html / "index.html", INDEX)
        self.page(PAGE)
        self.write(self.html / "_static" / "a.css", "body { color: black }")
        self.write(self.html / "_static" / "m.js", "")
        self.write(self.html / "_images" / "p.png", "picture")
        self.cells(cell())

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def page(self, text: str) -> None:
        self.write(self.html / "one.html", text)

    def cells(self, *cells: nbformat.NotebookNode) -> None:
        """What the build leaves of a chapter: its cells without outputs, and the executed ones in the cache."""
        notebook = nbformat.v4.new_notebook(cells=list(cells))
        bundle = CacheBundleIn(notebook, str(self.source / "one.md"), data={})
        get_cache(self.build / ".jupyter_cache").cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
        bare = nbformat.v4.new_notebook(cells=[cell(c.source, None, (), c.metadata.tags, c.metadata.get("mystnb")) for c in cells])
        self.write(self.build / "jupyter_execute" / "one.ipynb", nbformat.writes(bare))

    def faults(self) -> list[str]:
        return check(self.source, self.build)[0]


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """A sound book."""
    return Book(tmp_path)


def test_sound_book_has_no_fault(book: Book) -> None:
    """Two pages, both measured."""
    faults, measures = check(book.source, book.build)
    assert faults == [] and len(measures) == 2


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('src="_static/m.js"', 'src="https://cdn.example.org/m.js"', "need no other host"),
        ('href="_static/a.css"', 'href="//cdn.example.org/a.css"', "need no other host"),
        ('src="_static/m.js"', 'src="_static/gone.js"', "not among the built files"),
        (f'alt="{ALT}"', "", "no telling alternative text"),
        (f'alt="{ALT}"', 'alt="_images/p.png"', "no telling alternative text"),
        (f'alt="{ALT}"', 'alt="plot"', "no telling alternative text"),
        ("index.html#top", "gone.html", "leads nowhere"),
        ("index.html#top", "index.html#gone", "names a place"),
        ('class="cell_output docutils"', "", "shows no output"),
        ("<body>", "<body><style>@import url(https://fonts.example.org/f.css);</style>", "style in the page fetches"),
    ],
)
def test_fault_of_a_page(book: Book, old: str, new: str, fault: str) -> None:
    """One change to a sound page gives one fault."""
    assert old in PAGE
    book.page(PAGE.replace(old, new))
    (found,) = book.faults()
    assert found.startswith("one: ")
    assert re.search(fault, found), found


def test_heavy_page(book: Book) -> None:
    """The page and its pictures together: just under a megabyte and a half passes, a picture more does not."""
    book.write(book.html / "_images" / "p.png", "x" * 1_490_000)
    assert book.faults() == []
    book.write(book.html / "_images" / "p.png", "x" * 1_500_000)
    (found,) = book.faults()
    assert "one: weighs 1.5 MB" in found and "under 1.5 MB" in found


def test_missing_page(book: Book) -> None:
    """A chapter in the table of contents without a page (its links are dead as well)."""
    (book.html / "one.html").unlink()
    assert any("one: is in the table of contents" in fault for fault in book.faults())


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        ([cell(outputs=(FAILED,))], "failed: ValueError: no"),
        ([cell(count=None)], "was not run"),
        ([cell(outputs=())], "no cell shows any output"),
        ([cell(), cell()], "its source has 1 code cells, its executed copy 2"),
        ([cell(outputs=(printed("Traceback (most recent call last):\n"),))], "prints a traceback"),
    ],
)
def test_fault_of_execution(book: Book, cells: list, fault: str) -> None:
    """Each way in which a chapter may not have run."""
    book.cells(*cells)
    (found,) = book.faults()
    assert fault in found


def test_error_that_is_meant_is_no_fault(book: Book) -> None:
    """A cell tagged `raises-exception` shows the reader an error on purpose."""
    book.cells(cell(outputs=(FAILED,), tags=("raises-exception",)))
    assert book.faults() == []


@pytest.mark.parametrize("picture", [PICTURE, SHOW])
@pytest.mark.parametrize("outputs", [(), (printed("a walk"),), (TABLE,)])
def test_caption_without_a_picture(book: Book, outputs: tuple, picture: nbformat.NotebookNode) -> None:
    """A figure's cell that shows nothing, or words only, while other cells of the page do show something."""
    book.write(book.source / "one.md", CHAPTER * 2)
    book.cells(cell(), cell("plot()", outputs=outputs, mystnb=CAPTION))
    assert book.faults() == ["one: code cell 2 has the caption of fig-walk, but shows no picture"]
    book.cells(cell(), cell("plot()", outputs=(*outputs, picture), mystnb=CAPTION))
    assert book.faults() == []


def test_figure_that_waits_for_its_record(book: Book) -> None:
    """The tag allows a captioned cell to be silent, and nothing else: a failure in it is still one."""
    book.write(book.source / "one.md", CHAPTER * 2)
    book.cells(cell(), cell("plot()", outputs=(), tags=("may-be-empty",), mystnb=CAPTION))
    assert book.faults() == []
    book.cells(cell(), cell("plot()", outputs=(FAILED,), tags=("may-be-empty",), mystnb=CAPTION))
    assert [fault for fault in book.faults() if "code cell 2 failed" in fault]


def test_only_figures_that_depend_on_a_record_may_be_missing() -> None:
    """In the book the tag stands only where the cell asks whether there is a record."""
    tagged = []
    for path in sorted((ROOT / "book").glob("*.md")):
        if "may-be-empty" in path.read_text():
            cells = exercise_notebooks.notebook(path.read_text(), path.stem).cells
            tagged += [(path.stem, c.source) for c in cells if "may-be-empty" in c.metadata.get("tags", [])]
    assert not [page for page, source in tagged if "if record is not None" not in source]


def test_chapter_that_was_never_executed(book: Book) -> None:
    """No executed copy at all."""
    book.write(book.build / "jupyter_execute" / "one.ipynb", nbformat.writes(nbformat.v4.new_notebook(cells=[cell("2 + 2", None, ())])))
    assert any("was not executed" in fault for fault in book.faults()), "the cells on the page are not those in the cache"
    (book.build / "jupyter_execute" / "one.ipynb").unlink()
    assert any("was not executed" in fault for fault in book.faults())


def test_report_of_a_failed_cell(book: Book) -> None:
    """Jupyter Book's error reports count, whatever the pages look like."""
    book.write(book.html / "reports" / "one.err.log", "ValueError")
    assert any("failed cells" in fault for fault in book.faults())


def test_style_sheet_that_fetches(book: Book) -> None:
    """A font from another host, named in a style sheet."""
    book.write(book.html / "_static" / "a.css", "@font-face { src: url('https://fonts.example.org/f.woff2') }")
    (found,) = book.faults()
    assert "fetches https://fonts.example.org/f.woff2" in found


def test_documents_in_reading_order(tmp_path: Path) -> None:
    """Parts, chapters and sections, endings removed."""
    toc = "format: jb-book\nroot: a\nparts:\n- chapters:\n  - file: b.md\n    sections:\n    - file: c\n  - file: d\n"
    (tmp_path / "_toc.yml").write_text(toc)
    assert documents(tmp_path / "_toc.yml") == ["a", "b", "c", "d"]


def test_code_cells_are_counted(tmp_path: Path) -> None:
    """Two executable cells; the plain example block is prose."""
    path = tmp_path / "one.md"
    path.write_text(CHAPTER + "\n```python\nprint()\n```\n\n:::{code-cell} ipython3\n2\n:::\n")
    assert code_cells(path) == 2


def test_a_number_that_its_record_does_not_have(book: Book, tmp_path: Path) -> None:
    """Pages are confronted with the records as they are now."""
    book.write(tmp_path / "results" / "study" / "book" / "comparisons.csv", "variant,mean\na,1.25\n")
    number = quoted("study/book/comparisons.csv", {"variant": "a"}, "mean", 1.25, ".2f")
    book.page(PAGE.replace("<body>", f"<body><p>{number}</p>"))
    assert check(book.source, book.build, tmp_path / "results")[0] == []
    book.page(PAGE.replace("<body>", f"<body><p>{number.replace('>1.25<', '>1.35<')}</p>"))
    (fault,) = check(book.source, book.build, tmp_path / "results")[0]
    assert fault.startswith("one: says '1.35' where") and "build the book again" in fault
