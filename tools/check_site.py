"""Open every built page in a browser as readers do: wide and narrow, light and dark, without a network (`make check-site`).

Faults: an error in the console, a request to another host, a page that scrolls sideways, a serious or critical violation of
accessibility rules (axe-core), a first paint later than a second, a search that finds nothing. Pages come from `file://`, with what a
browser allows there and no more. Needs Chromium; where there is none the program says so and passes,
unless `--strict` is given. `--shots FOLDER` keeps a screenshot of each view.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, TimeoutError, sync_playwright
from tqdm.auto import tqdm

from tools.check_book import documents

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SIZES = {"wide": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")
FIRST_PAINT_MS = 1000
SEVERE = ("serious", "critical")
# The search's page is opened with a word that the book is full of; it has to list pages.
SEARCH, QUERY, FOUND = "search", "?q=token", "#search-results li a"
SEARCH_MS = 10_000


def browser() -> str | None:
    """The browser's program: `$CHROMIUM`, else the first of the usual names that is installed."""
    return os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


def sideways(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def first_paint(page: Page) -> float | None:
    """Milliseconds to the first contentful paint."""
    return page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null")


def violations(page: Page) -> Iterator[str]:
    """Serious and critical violations of accessibility rules, one line each with the first element that is meant."""
    for found in Axe().run(page).response["violations"]:
        if found["impact"] in SEVERE:
            where = "; ".join(" ".join(map(str, node["target"])) for node in found["nodes"][:2])
            yield f"{found['impact']}: {found['id']} ({found['help']}) at {where}, {len(found['nodes'])} in all"


def view_faults(page: Page, address: str, scheme: str, axe: bool, shot: Path | None) -> Iterator[str]:
    """Faults of one page at one size in one colour scheme."""
    heard: list[str] = []
    page.on("console", lambda message: heard.append(f"console: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: heard.append(f"script error: {error}"))
    page.on("request", lambda r: heard.append(f"asks for {r.url}") if not r.url.startswith(("file:", "data:", "blob:", "about:")) else None)
    page.add_init_script(f"localStorage.setItem('mode', '{scheme}'); localStorage.setItem('theme', '{scheme}')")
    page.goto(address, wait_until="load")
    if address.endswith(QUERY):
        try:
            page.wait_for_selector(FOUND, timeout=SEARCH_MS)
        except TimeoutError:
            yield "the search lists no page"
    page.wait_for_timeout(150)
    yield from heard
    if (excess := sideways(page)) > 0:
        widest = page.evaluate(
            "[...document.querySelectorAll('main *')].map(e => [e.getBoundingClientRect().right, e.tagName + '.' + e.className])"
            ".sort((a, b) => b[0] - a[0]).slice(0, 2).map(e => e[1]).join(' ')"
        )
        yield f"scrolls sideways by {excess} pixels ({widest})"
    painted = first_paint(page)
    if painted is not None and painted > FIRST_PAINT_MS:
        page.reload(wait_until="load")  # once more: the first time may have waited for something else on the machine
        painted = first_paint(page)
    if painted is not None and painted > FIRST_PAINT_MS:
        yield f"first paint after {painted:.0f} ms"
    if axe:
        yield from violations(page)
    if shot is not None:
        page.screenshot(path=shot, full_page=True)


def check(html: Path, names: list[str], program: str, shots: Path | None = None) -> list[str]:
    """All faults of all pages, each with page, size and scheme."""
    faults = []
    reference = next((name for name in names if name.startswith("api/")), None)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for size, (width, height) in SIZES.items():
            for scheme in SCHEMES:
                # Offline: whatever a page asks another host for, it does not get.
                context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, offline=True)
                for name in tqdm(names, desc=f"{size}, {scheme}", unit="page", leave=False, disable=None):
                    page = context.new_page()
                    shot = shots / f"{name.replace('/', '-')}-{size}-{scheme}.png" if shots else None
                    address = (html / f"{name}.html").resolve().as_uri() + (QUERY if name == SEARCH else "")
                    # Colours and names are the same at every width, so the rules are run on the wide pages; the reference's pages are
                    # all made by one template, so one of them stands for the others.
                    axe = size == "wide" and (not name.startswith("api/") or name == reference)
                    faults += [f"{name}, {size}, {scheme}: {fault}" for fault in view_faults(page, address, scheme, axe, shot)]
                    page.close()
                context.close()
        chromium.close()
    return faults


def main() -> None:
    """Print the faults; any makes the exit code 1."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--html", type=Path, default=ROOT / "_build" / "html")
    reader.add_argument("--shots", type=Path, help="folder for a screenshot of every view")
    reader.add_argument("--only", nargs="*", help="pages to open (default: all)")
    reader.add_argument("--strict", action="store_true", help="no browser is a fault")
    given = reader.parse_args()
    names = given.only or [*documents(ROOT / "book" / "_toc.yml"), SEARCH]
    missing = [name for name in names if not (given.html / f"{name}.html").is_file()]
    if missing:
        sys.exit(f"error: not built: {', '.join(missing)}; run `make book` first")
    program = browser()
    if program is None:
        print("No Chromium is installed (or named by $CHROMIUM): the pages were not opened in a browser.")
        sys.exit(1 if given.strict else 0)
    if given.shots:
        given.shots.mkdir(parents=True, exist_ok=True)
    faults = check(given.html, names, program, given.shots)
    if faults:
        sys.exit("\n".join(f"error: {fault}" for fault in faults))
    print(f"{len(names)} pages opened at {len(SIZES)} sizes in {len(SCHEMES)} schemes, offline: no fault.")


if __name__ == "__main__":
    main()
