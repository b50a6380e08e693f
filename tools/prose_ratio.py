"""Words of prose for a line of code, page by page: a page that is mostly code is a listing, not a chapter.

Prose is what a reader reads: paragraphs, lists, tables, captions, exercises and their solutions. Code is every line of a code cell that
is neither empty nor a comment; cells whose input is folded away (`hide-input`, `hide-cell`, `remove-input`, `remove-cell`) are not in
the reader's way and do not count.

    python -m tools.prose_ratio
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tools import exercise_notebooks
from tools.check_book import documents

# The fewest words for a line that a chapter may have; one whose subject is code may have fewer than others. Over all the aim is 9 to 11.
LEAST = 5.0
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
OPTION = re.compile(r"^\s*:[a-z-]+:.*$|^\s*[:`]{3,}.*$|^\s*\|?[\s|:-]+\|?\s*$", re.MULTILINE)
ROLE = re.compile(r"\{[a-z:]+\}`[^`]*`")
WORD = re.compile(r"[^\W\d_][\w'’-]*")


@dataclass(frozen=True)
class Ratio:
    """Words of prose and lines of code of one page."""

    words: int
    lines: int

    @property
    def value(self) -> float:
        """Words for a line; infinite where there is no code."""
        return self.words / self.lines if self.lines else float("inf")


def measure(text: str, name: str = "chapter") -> Ratio:
    """The counts of a chapter's source."""
    words = lines = 0
    for cell in exercise_notebooks.notebook(text, name).cells:
        if cell.cell_type == "code":
            if not FOLDED & set(cell.metadata.get("tags", [])):
                stripped = (line.strip() for line in cell.source.splitlines())
                lines += sum(bool(line) and not line.startswith("#") for line in stripped)
            caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")
            words += len(WORD.findall(str(caption)))
        else:
            words += len(WORD.findall(ROLE.sub("reference", OPTION.sub("", cell.source))))
    return Ratio(words, lines)


def ratios(book: Path = exercise_notebooks.BOOK) -> dict[str, Ratio]:
    """The counts of every chapter in the table of contents, in its order."""
    chapters = {path.relative_to(book).with_suffix("").as_posix(): path for path in exercise_notebooks.chapters(book)}
    return {name: measure(chapters[name].read_text(), name) for name in documents(book / "_toc.yml") if name in chapters}


def faults(found: dict[str, Ratio], least: float = LEAST) -> list[str]:
    """One line for each page below the bound."""
    return [
        f"{name}: {one.value:.1f} words of prose for a line of code, fewer than {least:g}; say more, or move code into the library"
        for name, one in found.items()
        if one.value < least
    ]


def report(found: dict[str, Ratio]) -> None:
    """Print every page's ratio and that of all, then the faults."""
    print(f"{'page':<28} {'words':>6} {'lines':>6} {'ratio':>6}")
    for name, one in found.items():
        print(f"{name:<28} {one.words:>6} {one.lines:>6} {one.value:>6.1f}")
    total = Ratio(sum(one.words for one in found.values()), sum(one.lines for one in found.values()))
    print(f"{'all':<28} {total.words:>6} {total.lines:>6} {total.value:>6.1f}")
    if wrong := faults(found):
        sys.exit("\n".join(f"error: {fault}" for fault in wrong))


if __name__ == "__main__":
    report(ratios())
