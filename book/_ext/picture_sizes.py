"""A Sphinx extension that tells the browser how wide a chapter's pictures are.

A page does not jump when they arrive, and a narrow one can hold a wide figure at a size at which its lettering can be read, in a box of its
own that scrolls, in place of shrinking it to the width of a phone (`pages.css`).
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

PICTURE = re.compile(r'<img (?P<before>[^>]*?)src="(?P<source>[^"]*_images/[^"]+\.png)"(?P<after>[^>]*?)(?P<close>\s*/?>)')
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def size(png: bytes) -> tuple[int, int] | None:
    """Width and height in pixels from a PNG's first 24 bytes, or None where it is no PNG."""
    if len(png) < 24 or png[:8] != SIGNATURE:
        return None
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def with_sizes(body: str, folder: Path) -> str:
    """The page's HTML with `width`, `height` and the style variable `--width` at every picture whose file is in `folder`."""

    def sized(match: re.Match) -> str:
        file = folder / Path(match["source"]).name
        if "width=" in match[0] or "style=" in match[0] or not file.is_file():
            return match[0]
        with file.open("rb") as png:
            found = size(png.read(24))
        if found is None:
            return match[0]
        extent = f' width="{found[0]}" height="{found[1]}" style="--width: {found[0]}px"'
        return f'<img {match["before"]}src="{match["source"]}"{match["after"]}{extent}{match["close"]}'

    return PICTURE.sub(sized, body)


def add(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """Add the sizes to a page that is about to be written; its pictures lie where the cells made them, and are copied afterwards."""
    if context.get("body") and doctree is not None:
        context["body"] = with_sizes(context["body"], Path(app.outdir).parent / "jupyter_execute")


def setup(app: Sphinx) -> dict:
    """Register."""
    app.connect("html-page-context", add)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
