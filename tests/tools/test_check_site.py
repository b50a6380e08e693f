"""The browser finds what a reader would stumble over, on pages made to have each fault."""

import pytest

from tools import check_site

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title></head>
<body><main><h1>Title</h1>{}</main></body></html>"""

pytestmark = pytest.mark.skipif(check_site.browser() is None, reason="no Chromium is installed")


@pytest.mark.slow
def test_each_fault_is_found(tmp_path) -> None:
    """A sound page has none; the others have one each, of the kind that their name says."""
    pages = {
        "sound": ("<p>Text.</p>", None),
        "console": ("<script>console.error('broken')</script>", "console: broken"),
        "script": ("<script>undefinedFunction()</script>", "script error"),
        "fetch": ("<script>fetch('https://example.org/x').catch(() => {})</script>", "asks for https://example.org/x"),
        "sideways": ("<div style='width:3000px'>wide</div>", "scrolls sideways by"),
        "contrast": ("<p style='color:#ccc;background:#fff'>pale</p>", "color-contrast"),
        "alt": ("<img src='data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=='>", "image-alt"),
    }
    for name, (body, _) in pages.items():
        (tmp_path / f"{name}.html").write_text(PAGE.format(body))
    faults = check_site.check(tmp_path, list(pages), check_site.browser(), tmp_path)
    for name, (_, message) in pages.items():
        found = [fault for fault in faults if fault.startswith(f"{name}, ") and "first paint" not in fault]
        if message is None:
            assert found == []
        else:
            assert any(message in fault for fault in found), (name, found)
    assert (tmp_path / "sound-phone-dark.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("results.innerHTML = `<li><a href='search.html'>${query}</a></li>`", None),
        ("", "the search lists no page"),
        ("results.innerHTML = '<li><a href=search.html>a page</a></li>'; fetch('search.html')", "console: "),
    ],
)
def test_search_from_disk(tmp_path, monkeypatch, script: str, fault: str | None) -> None:
    """It has to list pages, and must not fetch them to sum them up: a browser refuses that on `file://`."""
    monkeypatch.setattr(check_site, "SEARCH_MS", 500)
    monkeypatch.setattr(check_site, "SCHEMES", ("light",))
    read = "const results = document.getElementById('search-results'), query = new URLSearchParams(location.search).get('q');"
    (tmp_path / "search.html").write_text(PAGE.format(f"<ul id='search-results'></ul><script>{read} {script}</script>"))
    faults = [found for found in check_site.check(tmp_path, ["search"], check_site.browser()) if "first paint" not in found]
    assert faults == [] if fault is None else any(fault in found for found in faults), faults
