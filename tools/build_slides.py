"""Lecture slides from the chapters (`make slides`): one deck a chapter, by nbconvert and reveal.js, with everything bundled.

A section of the page becomes a notebook cell of type `slide`: its heading and the first sentence of each paragraph as a point. What does
not fit, each figure with its caption, each interactive picture and each short cell of code with what it printed stand below it
(`subslide`). The full prose is in the speaker's notes (`notes`, key S). Pictures and prints come from the built book's executed cells,
so `make book` has to have run; nothing is executed again and nothing is fetched.
"""

import ast
import html
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import nbformat
from nbconvert.exporters import SlidesExporter
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat import NotebookNode
from tqdm import tqdm

from tools.check_book import documents, executed_copy
from tools.exercise_notebooks import BOOK, END, EXERCISE, ROOT, START, chapters, plain
from tools.prose_ratio import FOLDED

OUT = ROOT / "_build" / "slides"
TEMPLATES = Path(__file__).resolve().parent / "templates"
REVEAL = ("dist/reset.css", "dist/reveal.css", "dist/theme/white.css", "dist/theme/black.css", "dist/reveal.js", "plugin/notes/notes.js")
SHEETS = ("index.css", "theme-light.css", "theme-dark.css", "custom_reveal.css", "lecture.css")
# As much as can be read from the last row.
MOST_POINTS, MOST_LINES, WIDEST = 4, 20, 84
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"*`$(])")
QUIZ = re.compile(r"^(`{3,}|:{3,})\{quiz\}.*?^\1[ ]*$", re.MULTILINE | re.DOTALL)
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


def paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of prose and single items of lists; tables, boxes and code are left to the page."""
    for block in re.split(r"\n\s*\n", text):
        block = block.strip()
        if not block or block.startswith(("|", "```", ":::", "$$", ">")):
            continue
        if re.match(r"(\d+\.|[-*])\s", block):
            yield from (re.sub(r"\s+", " ", item) for item in re.split(r"\n(?=(?:\d+\.|[-*])\s)", block))
        else:
            yield re.sub(r"\s+", " ", block)


def without_exercises(text: str) -> str:
    """A chapter without its exercises, solutions and quizzes: those are for the practical."""
    text = QUIZ.sub("", EXERCISE.sub("", text))
    return END.sub("", START.sub("", text))


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


def slides(notebook: NotebookNode, outputs: NotebookNode | None) -> list[Slide]:
    """The slides of a chapter; what its cells put out is taken from `outputs`, whose cells are in the same order."""
    ran = [cell for cell in outputs.cells if cell.cell_type == "code"] if outputs else []
    values = glued(outputs)
    found: list[Slide] = []
    number, solving = 0, False
    for cell in notebook.cells:
        if cell.cell_type == "code":
            done = ran[number] if number < len(ran) else None
            number += 1
            if done is not None and found and not solving:
                found[-1].shown += worth_showing(cell, done)
            continue
        marks = [(match.start(), kind) for kind, pattern in ((True, START), (False, END)) for match in pattern.finditer(cell.source)]
        solving = max(marks)[1] if marks else solving
        for part in re.split(r"^(?=#{1,3} )", spoken(cell.source, values), flags=re.MULTILINE):
            heading = re.match(r"(#{1,3}) (.+)\n?", part)
            if heading:
                found.append(Slide(heading[2].strip(), len(heading[1])))
                part = part[heading.end() :]
            if not found:
                continue
            for paragraph in paragraphs(part):
                if paragraph == GOALS:
                    found.append(Slide("After this lecture you can", 2))
                    continue
                if NOT_SAID.match(paragraph):
                    continue
                found[-1].notes.append(paragraph)
                found[-1].points.append(re.sub(r"^(\d+\.|[-*])\s+", "", SENTENCE.split(paragraph)[0]))
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
    from myst_nb.core.read import read_myst_markdown_notebook

    name = chapter.relative_to(book).with_suffix("").as_posix()
    return lecture(slides(read_myst_markdown_notebook(chapter.read_text(), add_source_map=False), executed_copy(build, name)))


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


def main() -> None:
    """Write every deck, as a page and as a notebook, and a page that lists them."""
    if not (ROOT / "_build" / "html").is_dir():
        sys.exit("error: the slides take their pictures from the built book; run `make book` first")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    writer = exporter()
    copy_assets(OUT, writer.template_paths)
    order = documents(BOOK / "_toc.yml")
    made = []
    for chapter in tqdm(sorted(chapters(), key=lambda path: order.index(path.relative_to(BOOK).with_suffix("").as_posix())), disable=None):
        name = chapter.relative_to(BOOK).with_suffix("").as_posix().replace("/", "-")
        notebook = chapter_slides(chapter)
        nbformat.write(notebook, OUT / f"{name}.ipynb")
        text, _ = writer.from_notebook_node(notebook)
        (OUT / f"{name}.html").write_text(text)
        count = sum(cell.metadata.slideshow.slide_type in ("slide", "subslide") for cell in notebook.cells)
        made.append((name, notebook.metadata.title, count))
    listed = "".join(
        f'<li><a href="{name}.html">{html.escape(title)}</a> ({count} slides; <a href="{name}.ipynb">notebook</a>)</li>'
        for name, title, count in made
    )
    (OUT / "index.html").write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>Slides</title></head><body><main><h1>Slides</h1>'
        "<p>Arrow keys turn the slides, down goes into a section, S opens the speaker's notes, Esc shows all. The notebooks hold the same "
        f"slides for changing: <code>jupyter nbconvert --to slides</code> makes a deck of one.</p><ol>{listed}</ol></main></body></html>"
    )
    print(f"{len(made)} decks: file://{OUT}/index.html")


if __name__ == "__main__":
    main()
