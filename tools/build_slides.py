"""Lecture slides from the chapters (`make slides`): one deck a chapter, by nbconvert and reveal.js, with everything bundled.

A section of the page becomes a notebook cell of type `slide`: its heading and the first sentence of each paragraph as a point. What does
not fit, each figure with its caption, each interactive picture and each short cell of code with what it printed stand below it
(`subslide`), and so do small tables that a cell wrote from the records; what it wrote in sentences counts as prose. All prose is in the
speaker's notes (`notes`, key S). Pictures, prints and sentences come from the built book's executed cells, so `make book` has to have run;
nothing is executed again and nothing is fetched.
"""

import argparse
import ast
import html
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import nbformat
from nbconvert.exporters import SlidesExporter
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat import NotebookNode
from tqdm import tqdm

from tools.check_book import documents, executed_copy
from tools.exercise_notebooks import BOOK, END, EXERCISE, ROOT, START, chapters, notebook, plain
from tools.prose_ratio import FOLDED

OUT = ROOT / "_build" / "slides"
TEMPLATES = Path(__file__).resolve().parent / "templates"
REVEAL = ("dist/reset.css", "dist/reveal.css", "dist/theme/white.css", "dist/theme/black.css", "dist/reveal.js", "plugin/notes/notes.js")
SHEETS = ("index.css", "theme-light.css", "theme-dark.css", "custom_reveal.css", "lecture.css")
# As much as can be read from the last row.
MOST_POINTS, MOST_LINES, WIDEST, MOST_ROWS, MOST_COLUMNS = 4, 20, 84, 8, 8
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"*`$(])")
QUIZ = re.compile(r"^(`{3,}|:{3,})\{quiz\}.*?^\1[ ]*$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(
    r"^(`{3,}|:{3,})(?:\{(?:list-table|table|math|code)[^\n]*|[a-z]*)\n.*?^\1[ ]*$",
    re.MULTILINE | re.DOTALL,
)
MARKER = re.compile(r"^(\d+\.|[-*])\s+")
QUOTATION = re.compile(r"</?data\b[^>]*>")
GLUE = re.compile(r"\{glue:text\}`(?P<name>[^`:]+)(?::(?P<form>[^`]*))?`")
GOALS = "**After this page you can**"
# Headings of boxes, and how long the page takes to read: nothing to say aloud.
NOT_SAID = re.compile(r"\*\*[^*]+\*\*$|Reading takes ")


@dataclass
class Slide:
    """A heading, points (Markdown, one line each), cells to show below it, and the prose for the speaker."""

    heading: str
    level: int
    points: list[str] = field(default_factory=list)
    shown: list[NotebookNode] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def say(self, paragraph: str) -> None:
        """Add a paragraph or an item of a list: its first sentence is a point, the whole of it is for the speaker."""
        if not NOT_SAID.match(paragraph):
            self.notes.append(paragraph)
            self.points.append(SENTENCE.split(MARKER.sub("", paragraph))[0])


def paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of prose and single items of lists; tables, boxes and code are left to the page."""
    for block in re.split(r"\n\s*\n", text):
        block = block.strip()
        if not block or block.startswith(("|", "```", ":::", "$$", ">")):
            continue
        if MARKER.match(block):
            yield from (re.sub(r"\s+", " ", item) for item in re.split(r"\n(?=(?:\d+\.|[-*])\s)", block))
        else:
            yield re.sub(r"\s+", " ", block)


def without_exercises(text: str) -> str:
    """A chapter without its exercises, quizzes, code and tables: the first are for the practical, the others for the page."""
    return FENCED.sub("", QUIZ.sub("", EXERCISE.sub("", text)))


def outside_solutions(text: str, solving: bool) -> tuple[str, bool]:
    """What of a cell's text stands in no solution, and whether one is open at its end; `solving`: one is open at its start."""
    marks = [(match.start(), match.end(), True) for match in START.finditer(text)] + [
        (match.start(), match.end(), False) for match in END.finditer(text)
    ]
    kept, position = [], 0
    for start, end, opens in sorted(marks):
        if not solving:
            kept.append(text[position:start])
        position, solving = end, opens
    if not solving:
        kept.append(text[position:])
    return "".join(kept), solving


def glued(outputs: NotebookNode | None) -> dict[str, object]:
    """The values that a chapter glued while it ran, by name."""
    found: dict[str, object] = {}
    for cell in outputs.cells if outputs else []:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            if name:
                said = next(value for kind, value in output["data"].items() if kind.endswith("text/plain"))
                try:
                    found[name] = ast.literal_eval(said)
                except (ValueError, SyntaxError):
                    found[name] = said
    return found


def spoken(text: str, values: Mapping[str, object]) -> str:
    """A chapter's text as a lecture needs it: glued numbers in their places, and no numbers of figures that the slides do not bear."""
    text = GLUE.sub(lambda match: format(values[match["name"]], match["form"] or "") if match["name"] in values else match[0], text)
    text = re.sub(r"(^|[.!?] )\{numref\}`[^`]*`", r"\1The figure", without_exercises(text), flags=re.MULTILINE)
    return plain(re.sub(r"\{numref\}`[^`]*`", "the figure", text))


def figure(output: NotebookNode, caption: str) -> NotebookNode | None:
    """A picture of a cell's output with its caption, as a Markdown cell."""
    picture = output.get("data", {}).get("image/png")
    if not picture:
        return None
    shown = f"\n<figcaption>\n\n{caption}\n\n</figcaption>" if caption else ""
    image = f'<img src="data:image/png;base64,{picture.strip()}" alt="{html.escape(re.sub(r"[*`$]", "", caption)) or "figure"}">'
    return nbformat.v4.new_markdown_cell(f"<figure>{image}{shown}\n</figure>")


def worth_showing(cell: NotebookNode, ran: NotebookNode) -> list[NotebookNode]:
    """What of a cell goes on slides: its pictures, its interactive pictures, and itself where it is short and the page does not fold it."""
    caption = " ".join(plain((cell.metadata.get("mystnb") or {}).get("figure", {}).get("caption", "")).split())
    tags = set(cell.metadata.get("tags", ()))
    outputs = ran.get("outputs", [])
    found = []
    lines = [line for line in cell.source.splitlines() if line.strip()]
    printed = [output for output in outputs if output.output_type == "stream" and output.name == "stdout"]
    said = "".join(output.text for output in printed).rstrip("\n").splitlines()
    height = len(lines) + sum(1 + len(line) // WIDEST for line in said)
    if not tags & FOLDED and 0 < height <= MOST_LINES:
        text = [nbformat.v4.new_output("stream", name="stdout", text="\n".join(said) + "\n")] if said else []
        found.append(nbformat.v4.new_code_cell("\n".join(lines), outputs=text))
    if any("image/png" in output.get("data", {}) for output in outputs) and not said and "assert" not in cell.source:
        found.clear()  # nothing but the picture's call
    for output in outputs:
        shown = output.get("data", {}).get("text/html", "")
        if 'class="cp-show"' in shown:
            kept = nbformat.v4.new_output("display_data", data={"text/html": shown})
            found.append(nbformat.v4.new_code_cell("", outputs=[kept], metadata={"tags": ["remove_input"]}))
        elif picture := figure(output, caption):
            found.append(picture)
    return found


def written(ran: NotebookNode) -> Iterator[str]:
    """The text that a cell wrote: sentences and tables from the records, without the marks by which the page is checked."""
    for output in ran.get("outputs", []):
        text = output.get("data", {}).get("text/markdown")
        if text:
            yield FENCED.sub("", plain(QUOTATION.sub("", text)))


def small_tables(text: str) -> Iterator[NotebookNode]:
    """The tables of a text that fit a slide, as Markdown cells."""
    for block in re.split(r"\n\s*\n", text):
        lines = block.strip().splitlines()
        if lines and lines[0].startswith("|") and len(lines) - 2 <= MOST_ROWS and lines[0].count("|") - 1 <= MOST_COLUMNS:
            yield nbformat.v4.new_markdown_cell("\n".join(lines))


def slides(source: NotebookNode, outputs: NotebookNode | None) -> list[Slide]:
    """The slides of a chapter; what its cells put out is taken from `outputs`, whose cells are in the same order."""
    ran = [cell for cell in outputs.cells if cell.cell_type == "code"] if outputs else []
    values = glued(outputs)
    found: list[Slide] = []
    number, solving = 0, False
    for cell in source.cells:
        if cell.cell_type == "code":
            done = ran[number] if number < len(ran) else None
            number += 1
            if done is not None and found and not solving:
                found[-1].shown += worth_showing(cell, done)
                for said in written(done):
                    found[-1].shown += small_tables(said)
                    for paragraph in paragraphs(said):
                        found[-1].say(paragraph)
            continue
        text, solving = outside_solutions(cell.source, solving)
        for part in re.split(r"^(?=#{1,3} )", spoken(text, values), flags=re.MULTILINE):
            heading = re.match(r"(#{1,3}) (.+)\n?", part)
            if heading:
                found.append(Slide(heading[2].strip(), len(heading[1])))
                part = part[heading.end() :]
            if not found:
                continue
            for paragraph in paragraphs(part):
                if paragraph == GOALS:
                    found.append(Slide("After this lecture you can", 2))
                else:
                    found[-1].say(paragraph)
    skipped = ("Exercises", "References")
    return [slide for slide in found if slide.heading not in skipped and (slide.points or slide.shown or slide.level == 1)]


def lecture(found: list[Slide]) -> NotebookNode:
    """The slides as a notebook with nbconvert's slide types; it can be opened and changed like any other."""
    cells: list[NotebookNode] = []

    def add(cell: NotebookNode, kind: str) -> None:
        cell.metadata["slideshow"] = {"slide_type": kind}
        cells.append(cell)

    for slide in found:
        heading = f"{'#' * min(slide.level, 2)} {slide.heading}"
        speak = "\n\n".join(slide.notes)
        kind = "slide"
        for first in range(0, max(len(slide.points), 1), MOST_POINTS):
            points = "\n".join(f"- {point}" for point in slide.points[first : first + MOST_POINTS])
            add(nbformat.v4.new_markdown_cell(f"{heading}\n\n{points}"), kind)
            kind = "subslide"
            if speak:
                add(nbformat.v4.new_markdown_cell(speak), "notes")
        for shown in slide.shown:
            add(nbformat.v4.new_markdown_cell(heading), "subslide")
            add(shown, "-")
            if speak:
                add(nbformat.v4.new_markdown_cell(speak), "notes")
    title = found[0].heading
    language = {"language_info": {"name": "python"}, "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata={"title": title, **language})


def exporter() -> SlidesExporter:
    """nbconvert's slides with the project's template: nothing of them is on another host."""
    writer = SlidesExporter(
        template_name="lecture",
        extra_template_basedirs=[str(TEMPLATES)],
        reveal_url_prefix="reveal",
        reveal_theme="white",  # taken away again by the template, which asks the reader's scheme
        reveal_width="1100",
        reveal_height="720",
        mathjax_url="mathjax.js",
    )
    writer.register_preprocessor(TagRemovePreprocessor(remove_input_tags={"remove_input"}), enabled=True)
    return writer


def chapter_slides(chapter: Path, build: Path = ROOT / "_build", book: Path = BOOK) -> NotebookNode:
    """A chapter's slides as a notebook."""
    name = chapter.relative_to(book).with_suffix("").as_posix()
    return lecture(slides(notebook(chapter.read_text(), name), executed_copy(build, name)))


def copy_assets(out: Path, template_paths: list[str]) -> None:
    """reveal.js, MathJax and the style sheets beside the decks; `template_paths`: where nbconvert's templates are."""
    reveal = Path(find_spec("sphinx_revealjs").origin).parent / "_static" / "revealjs"
    for name in REVEAL:
        target = out / "reveal" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(reveal / name, target)
    # The themes ask another host for a font; the reader's own will do.
    for theme in (out / "reveal" / "dist" / "theme").glob("*.css"):
        theme.write_text(re.sub(r"@import\s+(?:url\()?[^;]*;", "", theme.read_text()))
    mathjax = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax" / "tex-svg-full.js"
    shutil.copyfile(mathjax, out / "mathjax.js")
    (out / "assets").mkdir(exist_ok=True)
    for name in SHEETS:
        source = next(path for folder in template_paths for path in (Path(folder) / "static" / name, Path(folder) / name) if path.is_file())
        shutil.copyfile(source, out / "assets" / name)


def write_deck(made: NotebookNode, name: str, writer: SlidesExporter) -> Path:
    """A notebook of slides as a page among the decks."""
    text, _ = writer.from_notebook_node(made)
    target = OUT / f"{name}.html"
    target.write_text(text)
    return target


def remake(notebooks: Sequence[Path], writer: SlidesExporter) -> None:
    """The deck of each notebook of slides, beside the others."""
    for path in notebooks:
        if not path.is_file():
            sys.exit(f"error: there is no notebook {path}; `make slides` writes those of all chapters into {OUT}")
        print(f"file://{write_deck(nbformat.read(path, as_version=4), path.stem, writer)}")


def main() -> None:
    """Write every deck, as a page and as a notebook, and a page that lists them; or the decks of the notebooks that are named."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("notebooks", nargs="*", type=Path, help="notebooks of slides that were changed, of which the decks are made again")
    given = reader.parse_args()
    writer = exporter()
    if given.notebooks:
        if not (OUT / "reveal").is_dir():
            sys.exit("error: reveal.js is not there yet; run `make slides` first")
        return remake(given.notebooks, writer)
    if not (ROOT / "_build" / "html").is_dir():
        sys.exit("error: the slides take their pictures from the built book; run `make book` first")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    copy_assets(OUT, writer.template_paths)
    order = documents(BOOK / "_toc.yml")
    written_decks = []
    for chapter in tqdm(sorted(chapters(), key=lambda path: order.index(path.relative_to(BOOK).with_suffix("").as_posix())), disable=None):
        name = chapter.relative_to(BOOK).with_suffix("").as_posix().replace("/", "-")
        made = chapter_slides(chapter)
        nbformat.write(made, OUT / f"{name}.ipynb")
        write_deck(made, name, writer)
        count = sum(cell.metadata.slideshow.slide_type in ("slide", "subslide") for cell in made.cells)
        written_decks.append((name, made.metadata.title, count))
    listed = "".join(
        f'<li><a href="{name}.html">{html.escape(title)}</a> ({count} slides; <a href="{name}.ipynb">notebook</a>)</li>'
        for name, title, count in written_decks
    )
    (OUT / "index.html").write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>Slides</title></head><body><main><h1>Slides</h1>'
        "<p>Arrow keys turn the slides, down goes into a section, S opens the speaker's notes, Esc shows all. The notebooks hold the same "
        "slides for changing: <code>.venv/bin/python -m tools.build_slides NOTEBOOK.ipynb</code> makes the deck of one again.</p>"
        f"<ol>{listed}</ol></main></body></html>"
    )
    print(f"{len(written_decks)} decks: file://{OUT}/index.html")


if __name__ == "__main__":
    main()
