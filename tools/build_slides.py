"""Lecture slides from the chapters (`make slides`): one deck a chapter, by reveal.js, with everything bundled.

A section of the page becomes a slide: its heading, the first sentence of each paragraph as a point, and each figure on a slide of its
own with its caption. The full prose is in the speaker's notes (key S). Pictures come from the built book's executed cells, so `make book`
has to have run; nothing is executed again and nothing is fetched.
"""

import html
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from tools.check_book import documents, executed_copy
from tools.exercise_notebooks import BOOK, END, EXERCISE, ROOT, START, chapters, plain

OUT = ROOT / "_build" / "slides"
REVEAL = ("dist/reset.css", "dist/reveal.css", "dist/theme/white.css", "dist/theme/black.css", "dist/reveal.js", "plugin/notes/notes.js")
# As many points as can be read from the last row.
MOST_POINTS = 4
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"*`$(])")
MARKDOWN = (
    MarkdownIt("commonmark")
    .enable("table")
    .use(
        dollarmath_plugin,
        renderer=lambda text, options: rf"\[{html.escape(text)}\]" if options["display_mode"] else rf"\({html.escape(text)}\)",
    )
)

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="reveal/dist/reset.css"><link rel="stylesheet" href="reveal/dist/reveal.css">
<link rel="stylesheet" href="reveal/dist/theme/white.css" media="(prefers-color-scheme: light)">
<link rel="stylesheet" href="reveal/dist/theme/black.css" media="(prefers-color-scheme: dark)">
<style>.reveal{{font-size:28px}}.reveal h1{{font-size:2em}}.reveal h2{{font-size:1.4em}}.reveal ul{{display:block;text-align:left}}
.reveal li{{margin:.4em 0}}.reveal img{{max-height:60vh;margin:.5em auto}}.reveal figcaption{{font-size:.6em}}
.reveal h1,.reveal h2{{text-transform:none}}.reveal code{{font-size:.9em}}</style>
<script>window.MathJax={{startup:{{typeset:true}}}};</script><script defer src="mathjax.js"></script></head>
<body><div class="reveal"><div class="slides">
{slides}
</div></div>
<script src="reveal/dist/reveal.js"></script><script src="reveal/plugin/notes/notes.js"></script>
<script>Reveal.initialize({{hash:true,slideNumber:'c/t',width:1100,height:700,plugins:[RevealNotes]}});</script>
</body></html>
"""


@dataclass
class Slide:
    """A heading, points (Markdown, one line each), figures as (address, caption), and the prose for the speaker."""

    heading: str
    level: int
    points: list[str] = field(default_factory=list)
    figures: list[tuple[str, str]] = field(default_factory=list)
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
    """A chapter without its exercises and solutions: those are for the practical."""
    text = EXERCISE.sub("", text)
    return END.sub("", START.sub("", text))


def slides(notebook: nbformat.NotebookNode, outputs: nbformat.NotebookNode | None) -> list[Slide]:
    """The slides of a chapter; pictures are taken from the cells' outputs, which are in the same order."""
    ran = [cell for cell in outputs.cells if cell.cell_type == "code"] if outputs else []
    found: list[Slide] = []
    number = 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            done = ran[number] if number < len(ran) else None
            number += 1
            if done is not None and found and "solution" not in cell.source:
                caption = (cell.metadata.get("mystnb") or {}).get("figure", {}).get("caption", "")
                for output in done.get("outputs", []):
                    picture = output.get("data", {}).get("image/png")
                    if picture:
                        found[-1].figures.append((f"data:image/png;base64,{picture.strip()}", " ".join(plain(caption).split())))
            continue
        for part in re.split(r"^(?=#{1,3} )", plain(without_exercises(cell.source)), flags=re.MULTILINE):
            heading = re.match(r"(#{1,3}) (.+)\n?", part)
            if heading:
                found.append(Slide(heading[2].strip(), len(heading[1])))
                part = part[heading.end() :]
            if not found:
                continue
            for paragraph in paragraphs(part):
                found[-1].notes.append(paragraph)
                found[-1].points.append(re.sub(r"^(\d+\.|[-*])\s+", "", SENTENCE.split(paragraph)[0]))
    skipped = ("Exercises", "References")
    return [slide for slide in found if slide.heading not in skipped and (slide.points or slide.figures or slide.level == 1)]


def section(slide: Slide) -> str:
    """A slide's HTML: points first, then a slide a figure, all with the notes."""
    tag = "h1" if slide.level == 1 else "h2"
    heading = f"<{tag}>{MARKDOWN.renderInline(slide.heading)}</{tag}>"
    notes = f'<aside class="notes">{"".join(MARKDOWN.render(note) for note in slide.notes)}</aside>'
    out = []
    for first in range(0, max(len(slide.points), 1), MOST_POINTS):
        items = "".join(f"<li>{MARKDOWN.renderInline(point)}</li>" for point in slide.points[first : first + MOST_POINTS])
        out.append(f"<section>{heading}<ul>{items}</ul>{notes}</section>" if items else f"<section>{heading}{notes}</section>")
    for picture, caption in slide.figures:
        described = html.escape(re.sub(r"[*`$]", "", caption) or slide.heading)
        shown = f"<figcaption>{MARKDOWN.renderInline(caption)}</figcaption>" if caption else ""
        out.append(f'<section>{heading}<figure><img src="{picture}" alt="{described}">{shown}</figure>{notes}</section>')
    return "\n".join(out)


def deck(chapter: Path, build: Path = ROOT / "_build", book: Path = BOOK) -> str:
    """A chapter's whole page of slides."""
    from myst_nb.core.read import read_myst_markdown_notebook

    name = chapter.relative_to(book).with_suffix("").as_posix()
    found = slides(read_myst_markdown_notebook(chapter.read_text(), add_source_map=False), executed_copy(build, name))
    return PAGE.format(title=html.escape(found[0].heading), slides="\n".join(section(slide) for slide in found))


def copy_assets(out: Path) -> None:
    """reveal.js and MathJax beside the decks."""
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


def main() -> None:
    """Write every deck and a page that lists them."""
    if not (ROOT / "_build" / "html").is_dir():
        sys.exit("error: the slides take their pictures from the built book; run `make book` first")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    copy_assets(OUT)
    order = documents(BOOK / "_toc.yml")
    made = []
    for chapter in sorted(chapters(), key=lambda path: order.index(path.relative_to(BOOK).with_suffix("").as_posix())):
        name = chapter.relative_to(BOOK).with_suffix("").as_posix().replace("/", "-")
        text = deck(chapter)
        (OUT / f"{name}.html").write_text(text)
        made.append((name, re.search(r"<title>(.*?)</title>", text)[1], text.count("<section>")))
    listed = "".join(f'<li><a href="{name}.html">{title}</a> ({count} slides)</li>' for name, title, count in made)
    (OUT / "index.html").write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Slides</title></head><body><main><h1>Slides</h1>'
        f"<p>Arrow keys turn the slides, S opens the speaker's notes.</p><ol>{listed}</ol></main></body></html>"
    )
    print(f"{len(made)} decks: file://{OUT}/index.html")


if __name__ == "__main__":
    main()
