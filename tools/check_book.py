"""Check the built book: every page there, every cell run, no failure hidden, no number but the record's, no picture mute, nothing fetched
from elsewhere.

`make book` ends with it. Each check yields one line per fault, which names the page and the remedy or the place; any fault makes the
program exit with 1. At the end it prints what each page weighs.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import yaml
from jupyter_cache import get_cache

from causalpose.experiments import quoting

ROOT = Path(__file__).resolve().parent.parent
# A page heavier than this, pictures included and shared scripts left out, loads slowly for somebody.
HEAVIEST_PAGE = 1_500_000
# Alternative text shorter than this names a picture ("plot") and does not say what it shows.
SHORTEST_ALT = 15
# The tag of a cell whose figure comes with a record: until there is one the cell shows nothing, and the chapter says so.
MAY_BE_EMPTY = "may-be-empty"
CODE_CELL = re.compile(r"^(?:`{3,}|:{3,})\{code-cell\}", re.MULTILINE)
# The attribute through which each element makes the browser fetch something as it shows the page.
FETCHING = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
}
FETCHING_LINKS = {"stylesheet", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "icon", "shortcut", "manifest"}
CSS_FETCH = re.compile(r"""(?:@import\s+(?:url\()?|url\()\s*["']?((?:https?:)?//[^"')\s]+)""")


@dataclass
class Page(HTMLParser):
    """What one HTML page shows and fetches."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    images: list[tuple[str, str]] = field(default_factory=list)
    outputs: int = 0
    styles: list[str] = field(default_factory=list)
    _in_style: bool = False

    def __post_init__(self):
        super().__init__(convert_charrefs=True)

    def __hash__(self) -> int:
        return id(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses, the anchors, the pictures and the outputs of cells."""
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and FETCHING_LINKS & set(values.get("rel", "").split()):
            self.fetched.append(values.get("href", ""))
        if FETCHING.get(tag) in values:
            self.fetched.append(values[FETCHING[tag]])
        if tag == "img":
            self.images.append((values.get("src", ""), values.get("alt", "")))
        if "cell_output" in values.get("class", "").split():
            self.outputs += 1
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        """Keep style sheets written into the page."""
        if self._in_style:
            self.styles.append(data)

    def handle_endtag(self, tag: str) -> None:
        """A style sheet ends."""
        self._in_style = False


def documents(toc: Path) -> list[str]:
    """Names of all pages in a `_toc.yml`, in reading order."""

    def walk(node) -> Iterator[str]:
        if isinstance(node, dict):
            yield from (node[key] for key in ("root", "file") if key in node)
            for key in ("parts", "chapters", "sections"):
                yield from walk(node.get(key, []))
        else:
            for child in node:
                yield from walk(child)

    return [name.removesuffix(".md").removesuffix(".ipynb") for name in walk(yaml.safe_load(toc.read_text()))]


def code_cells(source: Path) -> int:
    """Number of code cells that a chapter's source has."""
    if source.suffix == ".ipynb":
        return sum(cell["cell_type"] == "code" for cell in json.loads(source.read_text())["cells"])
    return len(CODE_CELL.findall(source.read_text()))


def executed_copy(build: Path, name: str) -> nbformat.NotebookNode | None:
    """The chapter's cells with the outputs that its page was made from, or None where it was not executed.

    They are looked up in the execution cache by the cells themselves. The copy in `jupyter_execute` only tells which cells those
    are: when a chapter comes from the cache, MyST-NB writes that copy without its outputs.
    """
    written = build / "jupyter_execute" / f"{name}.ipynb"
    if not written.is_file():
        return None
    try:
        return get_cache(build / ".jupyter_cache").merge_match_into_notebook(nbformat.read(written, as_version=4))[1]
    except KeyError:
        return None


def shows_picture(output: nbformat.NotebookNode) -> bool:
    """Whether an output of a cell is a picture, or HTML with pictures in it, as the interactive ones are."""
    data = output.get("data", {})
    return any(kind.startswith("image/") for kind in data) or "<img " in "".join(data.get("text/html", ""))


def execution_faults(name: str, expected: int, executed: nbformat.NotebookNode | None) -> Iterator[str]:
    """Faults of a chapter's executed copy: cells missing or not run, failed without having been meant to, captions without a picture."""
    if executed is None:
        yield f"{name}: has {expected} code cells, but was not executed"
        return
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    if len(cells) != expected:
        yield f"{name}: its source has {expected} code cells, its executed copy {len(cells)}"
    if not any(cell["outputs"] for cell in cells):
        yield f"{name}: no cell shows any output"
    for number, cell in enumerate(cells, 1):
        tags = cell["metadata"].get("tags", [])
        if "".join(cell["source"]).strip() and cell["execution_count"] is None and "skip-execution" not in tags:
            yield f"{name}: code cell {number} was not run"
        errors = [output for output in cell["outputs"] if output["output_type"] == "error"]
        if errors and "raises-exception" not in tags:
            yield f"{name}: code cell {number} failed: {errors[0]['ename']}: {errors[0]['evalue']}"
        figure = cell["metadata"].get("mystnb", {}).get("figure")
        if figure and not errors and MAY_BE_EMPTY not in tags and not any(map(shows_picture, cell["outputs"])):
            yield f"{name}: code cell {number} has the caption of {figure.get('name', 'a figure')}, but shows no picture"
        printed = "".join("".join(output.get("text", "")) for output in cell["outputs"])
        if "Traceback (most recent call last)" in printed:
            yield f"{name}: code cell {number} prints a traceback"


def is_external(address: str) -> bool:
    """Whether an address leads to another host."""
    return address.startswith("//") or urlsplit(address).scheme in ("http", "https", "ftp", "ws", "wss")


def page_faults(name: str, page: Page, file: Path, html: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """Faults of one page as the browser sees it."""
    for address in page.fetched:
        if is_external(address):
            yield f"{name}: fetches {address}; a page must need no other host"
        elif address and not address.startswith("data:") and not (file.parent / unquote(urlsplit(address).path)).is_file():
            yield f"{name}: {address} is not among the built files"
    for address in CSS_FETCH.findall("".join(page.styles)):
        yield f"{name}: a style in the page fetches {address}"
    for source, alt in page.images:
        if len(alt.strip()) < SHORTEST_ALT or alt.strip() == source or re.fullmatch(r"[\w./-]+\.(png|svg|jpe?g|gif)", alt.strip()):
            yield f"{name}: picture {source} has no telling alternative text (alt={alt!r}); say in a sentence what it shows"
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
            continue
        target = (file.parent / unquote(parts.path)).resolve() if parts.path else file.resolve()
        if not target.exists():
            yield f"{name}: the link {link} leads nowhere"
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
            yield f"{name}: the link {link} names a place that its page does not have"


def style_faults(html: Path) -> Iterator[str]:
    """Style sheets beside the pages that fetch from another host."""
    for sheet in sorted(html.rglob("*.css")):
        for address in CSS_FETCH.findall(sheet.read_text(errors="replace")):
            yield f"{sheet.relative_to(html)}: fetches {address}"


def weight(page: Page, file: Path) -> tuple[int, int]:
    """Bytes of the page itself and of its pictures."""
    pictures = {(file.parent / unquote(source)).resolve() for source, _ in page.images if not source.startswith("data:")}
    return file.stat().st_size, sum(picture.stat().st_size for picture in pictures if picture.is_file())


def read_page(file: Path) -> Page:
    """Parse a page."""
    page = Page()
    page.feed(file.read_text())
    return page


def check(book: Path, build: Path, results: Path = ROOT / "ablations" / "results") -> tuple[list[str], list[str]]:
    """All faults of the built book, and one line of measures a page."""
    html = build / "html"
    names = documents(book / "_toc.yml")
    faults = [f"failed cells, see {report}" for report in sorted(html.glob("reports/**/*.err.log"))]
    faults += [f"{name}: in the table of contents twice" for name in sorted({n for n in names if names.count(n) > 1})]
    pages = {file.resolve(): read_page(file) for file in sorted(html.rglob("*.html")) if "_static" not in file.parts}
    measures = []
    for name in names:
        file = html / f"{name}.html"
        if not file.is_file():
            faults.append(f"{name}: is in the table of contents, but {file} was not built")
            continue
        page = pages[file.resolve()]
        source = next(path for path in (book / f"{name}.md", book / f"{name}.ipynb") if path.is_file())
        cells = code_cells(source)
        if cells:
            faults += execution_faults(name, cells, executed_copy(build, name))
            if not page.outputs:
                faults.append(f"{name}: the page shows no output of its {cells} code cells")
        faults += page_faults(name, page, file, html, pages)
        written = file.read_text()
        quotations = len(quoting.unquoted(written))
        faults += [f"{name}: {fault}; build the book again" for fault in quoting.faults(written, results)]
        text, pictures = weight(page, file)
        if text + pictures > HEAVIEST_PAGE:
            faults.append(f"{name}: weighs {(text + pictures) / 1e6:.1f} MB; keep a page under {HEAVIEST_PAGE / 1e6:.1f} MB")
        counts = f"{cells:>5} {page.outputs:>8} {len(page.images):>9}"
        measures.append(f"{name:<28} {counts} {text / 1000:>8.0f} {pictures / 1000:>12.0f} {quotations:>8}")
    faults += style_faults(html)
    return faults, measures


def main() -> None:
    """Print the measures, then the faults."""
    faults, measures = check(ROOT / "book", ROOT / "_build")
    print(f"\n{'page':<28} {'cells':>5} {'outputs':>8} {'pictures':>9} {'page kB':>8} {'pictures kB':>12} {'quotes':>8}")
    print("\n".join(measures))
    if faults:
        sys.exit("\n" + "\n".join(f"error: {fault}" for fault in faults))
    print(f"\n{len(measures)} pages: all built, every cell run, every quoted number as its record has it,")
    print("every link and picture in place, nothing fetched from elsewhere.")


if __name__ == "__main__":
    main()
