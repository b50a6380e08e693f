"""The book as one PDF (`make pdf`): Chromium prints every page, and the pages are joined with a bookmark each.

`make book` has to have run; nothing is executed again and nothing is fetched. Without Chromium it says so and ends with 1.
"""

import io
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright
from pypdf import PdfReader, PdfWriter

from tools.check_book import documents
from tools.check_site import ROOT, browser

# The menus belong to the screen; what is folded there is open on paper.
PRINT = """
.bd-sidebar-primary, .bd-sidebar-secondary, .bd-header-article, .prev-next-footer, .notebook-downloads, .cp-bar
{ display: none !important; }
.cp-show.cp-on .cp-all figure { display: block !important; }
.bd-main, .bd-content, .bd-article-container { max-width: 100% !important; }
"""


def printed(html: Path, names: list[str], program: str) -> list[tuple[str, bytes]]:
    """Title and PDF of each page."""
    out = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = chromium.new_context(color_scheme="light", offline=True)
        for name in names:
            page = context.new_page()
            page.add_init_script("localStorage.setItem('mode', 'light'); localStorage.setItem('theme', 'light')")
            page.goto((html / f"{name}.html").resolve().as_uri(), wait_until="load")
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            page.evaluate("window.MathJax?.startup?.promise")
            page.add_style_tag(content=PRINT)
            title = page.locator("h1").first.inner_text().rstrip("#")
            margin = dict.fromkeys(("top", "right", "bottom", "left"), "15mm")
            out.append((title, page.pdf(format="A4", print_background=True, margin=margin)))
            page.close()
        chromium.close()
    return out


def main() -> None:
    """Print, join, say where."""
    program = browser()
    if program is None:
        sys.exit("error: the PDF is printed by Chromium, which is not installed (or named by $CHROMIUM)")
    html = ROOT / "_build" / "html"
    names = documents(ROOT / "book" / "_toc.yml")
    missing = [name for name in names if not (html / f"{name}.html").is_file()]
    if missing:
        sys.exit(f"error: not built: {', '.join(missing)}; run `make book` first")
    joined = PdfWriter()
    for title, pdf in printed(html, names, program):
        start = len(joined.pages)
        for page in PdfReader(io.BytesIO(pdf)).pages:
            joined.add_page(page)
        joined.add_outline_item(title=title, page_number=start)
    target = ROOT / "_build" / "causalpose.pdf"
    with open(target, "wb") as file:
        joined.write(file)
    print(f"{len(joined.pages)} pages: file://{target}")


if __name__ == "__main__":
    main()
