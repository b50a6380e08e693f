"""Open every deck of slides in a browser and go through it (the end of `make slides`).

Faults: an error in the console, a request to another host, a file that is missing, a slide that is higher or wider than its frame. Where
there is no Chromium it says so and passes.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import BrowserContext, sync_playwright
from tqdm.auto import tqdm

from tools.build_slides import OUT
from tools.check_site import browser

# Of the frame that reveal.js scales to the window, in its pixels; a line may touch the edge.
WALK = """() => {
    const {width, height} = Reveal.getConfig(), over = [];
    for (const slide of Reveal.getSlides()) {
        const at = Reveal.getIndices(slide);
        Reveal.slide(at.h, at.v);
        if (slide.scrollHeight > height + 8 || slide.scrollWidth > width + 8)
            over.push(`slide ${at.h}/${at.v} is ${slide.scrollWidth} x ${slide.scrollHeight}, its frame ${width} x ${height}`);
    }
    return [Reveal.getTotalSlides(), over];
}"""


def deck_faults(context: BrowserContext, deck: Path) -> Iterator[str]:
    """What is wrong with one deck."""
    page = context.new_page()
    heard: list[str] = []
    page.on("console", lambda message: heard.append(f"console: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: heard.append(f"script error: {error}"))
    page.on("requestfailed", lambda request: heard.append(f"cannot load {request.url[:120]}"))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else heard.append(f"asks {request.url[:120]}"))
    page.goto(deck.resolve().as_uri(), wait_until="load")
    page.wait_for_function("window.Reveal && Reveal.isReady()", timeout=10_000)
    page.evaluate("window.MathJax?.startup?.promise")
    slides, over = page.evaluate(WALK)
    page.close()
    yield from heard
    yield from over
    if slides < 3:
        yield f"has {slides} slides"


def faults(folder: Path, program: str) -> list[str]:
    """Those of all decks, each with its deck's name."""
    found = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = chromium.new_context(offline=True, viewport={"width": 1280, "height": 800})
        for deck in tqdm(sorted(path for path in folder.glob("*.html") if path.name != "index.html"), "decks", disable=None):
            found += [f"{deck.name}: {fault}" for fault in deck_faults(context, deck)]
        chromium.close()
    return found


def main() -> None:
    """Check them all and say what is wrong."""
    program = browser()
    if program is None:
        print("no Chromium here (or named by $CHROMIUM): the slides were not opened")
        return
    found = faults(OUT, program)
    for fault in found:
        print(f"error: {fault}", file=sys.stderr)
    if found:
        sys.exit(1)
    print("every deck opens, asks nothing of another host, and every slide fits its frame")


if __name__ == "__main__":
    main()
