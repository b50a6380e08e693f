"""Numbers of a page that say where they were read, so that the built page can be confronted with the records (ours).

A quoted number is an HTML `data` element: the text that a reader sees, and the file, row, column and format that it came from. `unquoted`
reads a page's numbers back, and `faults` reads each one anew from the records.
"""

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pandas as pd

from causalpose.errors import CausalPoseError

CLASS = "recorded"


def shown(value: float, form: str) -> str:
    """A number in its format; what rounds to zero has no sign."""
    text = format(float(value), form)
    return text.lstrip("+-") if float(text) == 0 else text


def quoted(source: str, where: Mapping[str, object], column: str, value: float, form: str) -> str:
    """One number as HTML that may stand in Markdown.

    source   the table below `ablations/results`, such as `tcis/book/comparisons.csv`
    where    column -> value: names exactly one row of it; column: where the number stands; form: how it is written, such as `+.1f`
    """
    facts = {
        "class": CLASS,
        "value": f"{float(value):.6g}",
        "data-source": source,
        "data-where": urlencode(where),
        "data-column": column,
        "data-format": form,
    }
    attributes = " ".join(f'{name}="{html.escape(text)}"' for name, text in facts.items())
    return f"<data {attributes}>{shown(value, form)}</data>"


@dataclass
class Quoted(HTMLParser):
    """The quoted numbers of a page: `numbers` holds (attributes, text) of each."""

    numbers: list[tuple[dict[str, str], str]] = field(default_factory=list)
    _open: bool = False

    def __post_init__(self):
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A number begins."""
        values = {name: value or "" for name, value in attrs}
        if tag == "data" and values.get("class") == CLASS:
            self.numbers.append((values, ""))
            self._open = True

    def handle_data(self, data: str) -> None:
        """What the reader sees of it."""
        if self._open:
            attributes, text = self.numbers[-1]
            self.numbers[-1] = (attributes, text + data)

    def handle_endtag(self, tag: str) -> None:
        """It ends."""
        self._open = self._open and tag != "data"


# No attribute of a quotation holds an angle bracket, and no quotation holds another. A page of a megabyte is searched in a moment.
_QUOTATION = re.compile(r"<data\b[^<>]*>.*?</data\s*>", re.DOTALL | re.IGNORECASE)


def unquoted(page: str) -> list[tuple[dict[str, str], str]]:
    """The quoted numbers of a page of HTML, in order: attributes and text."""
    parser = Quoted()
    for found in _QUOTATION.finditer(page):
        parser.feed(found.group())
    return parser.numbers


def recorded(results: Path, source: str, where: str, column: str) -> float:
    """The number that a quotation names, read anew. Errors: no such table, row or column, or more rows than one."""
    table, wanted = _table(results / source), parse_qsl(where, keep_blank_values=True)
    for name, _ in wanted:
        if name not in table.columns:
            raise CausalPoseError(f"{source} has no column {name}")
    found = _rows(results / source, tuple(name for name, _ in wanted)).get(tuple(value for _, value in wanted), ())
    if len(found) != 1 or column not in table.columns:
        raise CausalPoseError(
            f"{source} has {len(found)} rows where {where}, and {'a' if column in table.columns else 'no'} column {column}"
        )
    return float(table[column].iloc[found[0]])


@lru_cache(maxsize=32)
def _table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise CausalPoseError(f"{path} is not there")
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@lru_cache(maxsize=128)
def _rows(path: Path, names: tuple[str, ...]) -> dict[tuple[str, ...], list[int]]:
    """Places of a table's rows by what stands in these columns."""
    table, out = _table(path), {}
    for place, *key in zip(range(len(table)), *(table[name] for name in names), strict=True):
        out.setdefault(tuple(key), []).append(place)
    return out


def faults(page: str, results: Path) -> Iterator[str]:
    """One line a number that is not what its record says."""
    for facts, text in unquoted(page):
        source, where, column, form = (facts.get(f"data-{name}", "") for name in ("source", "where", "column", "format"))
        try:
            expected = shown(recorded(results, source, where, column), form)
        except (CausalPoseError, ValueError) as error:
            yield f"{text.strip()!r} cannot be confronted with its record: {error}"
            continue
        if text.strip() != expected:
            yield f"says {text.strip()!r} where {source} has {expected!r} ({where}, {column})"
