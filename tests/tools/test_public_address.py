"""Launch buttons and cards: on every page when the repository's address is known, on none when it is not."""

import re
import stat

import nbformat
import pytest
import yaml
from PIL import Image
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import docutils_namespace, patch_docutils

from tools.check_book import ROOT, read_page

CHAPTER = r"""---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  name: python3
  display_name: Python 3
  language: python
---

# A *page* where 1 < 2

It says that 2 > 1.

```{code-cell} ipython3
1 + 1
```
"""
VARIABLE = "CAUSALPOSE_REPOSITORY"


@pytest.fixture
def build(tmp_path, monkeypatch):
    """A function that builds a chapter and a page without code with the book's theme and extensions; it returns the folder of pages."""
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    monkeypatch.delenv(VARIABLE, raising=False)

    def run(repository: str = "", base: str = ""):
        source, out = tmp_path / "book", tmp_path / "html"
        source.mkdir(exist_ok=True)
        (source / "index.md").write_text("# Index\n\nWords.\n\n```{toctree}\nchapter\n```\n")
        (source / "chapter.md").write_text(CHAPTER)
        config = {
            "extensions": ["myst_nb", "public_address", "notebook_downloads"], "html_theme": "sphinx_book_theme",
            "nb_execution_mode": "off", "html_baseurl": base,
            "source_suffix": {".md": "myst-nb"},  # of its own: Sphinx adds to its default in place, for every later build of the process
            "html_theme_options": {"repository_url": repository, "repository_branch": "main", "launch_buttons": {"thebe": False}},
        }  # fmt: skip
        with open(tmp_path / "warnings", "w") as warnings, patch_docutils(), docutils_namespace():
            app = Sphinx(source, None, out, tmp_path / "trees", "html", config, status=None, warning=warnings, freshenv=True)
            app.build(force_all=True)
        assert (tmp_path / "warnings").read_text() == ""
        return out

    return run


def metas(text: str) -> dict[str, str]:
    """The card's tags of a page."""
    return dict(re.findall(r'<meta (?:property|name)="((?:og|twitter):[^"]+)" content="([^"]*)"', text))


def test_without_an_address_no_page_has_any(build):
    html = build()
    for name in ("index", "chapter"):
        text = (html / f"{name}.html").read_text()
        assert "mybinder" not in text and "colab" not in text and "launch-buttons" not in text and not metas(text)
    assert not (html / "_static" / "social_card.png").exists()
    student = nbformat.read(html / "notebooks" / "chapter-student.ipynb", as_version=4)
    assert not any("git clone" in cell.source for cell in student.cells)


@pytest.mark.parametrize("by_variable", [False, True], ids=["setting", "variable"])
def test_with_an_address_a_chapter_has_buttons_and_every_page_a_card(build, monkeypatch, by_variable):
    address = "https://github.com/Some-One/pose-book"
    if by_variable:
        monkeypatch.setenv(VARIABLE, address)
    html = build("" if by_variable else address)
    links = read_page(html / "chapter.html").links
    assert "https://mybinder.org/v2/gh/Some-One/pose-book/main?urlpath=lab/tree/notebooks/chapter-student.ipynb" in links
    colab = "https://colab.research.google.com/github/Some-One/pose-book/blob/gh-pages/notebooks/chapter-student.ipynb"
    assert colab in links
    assert "mybinder" not in (html / "index.html").read_text(), "a page without code has nothing to launch"
    card = metas((html / "chapter.html").read_text())
    assert card["og:title"] == "A page where 1 &lt; 2" and card["og:description"] == "It says that 2 &gt; 1."
    assert card["og:url"] == "https://some-one.github.io/pose-book/chapter.html"
    assert card["og:image"] == "https://some-one.github.io/pose-book/_static/social_card.png"
    assert metas((html / "index.html").read_text())["og:url"].endswith("/index.html")
    # The page's own files are still all that it fetches: a card's picture is for the service that shows the link.
    assert not any(fetched.startswith("http") for fetched in read_page(html / "chapter.html").fetched)
    for kind in ("student", "solved"):
        first = nbformat.read(html / "notebooks" / f"chapter-{kind}.ipynb", as_version=4).cells[0]
        assert f"git clone --quiet --depth 1 {address} " in first.source


def test_the_card_is_there_and_has_the_services_size(build):
    html = build("https://github.com/some/book")
    assert (html / ".nojekyll").is_file(), "GitHub would leave out every folder whose name begins with _"
    with Image.open(html / "_static" / "social_card.png") as picture:
        assert picture.size == (1200, 630)
    tags = metas((html / "chapter.html").read_text())
    assert (tags["og:image:width"], tags["og:image:height"], tags["twitter:card"]) == ("1200", "630", "summary_large_image")


def test_other_hosts(build, monkeypatch):
    """GitLab has Binder but no Colab; elsewhere there is a card only if the pages' place is said."""
    gitlab = build("https://gitlab.com/group/sub/book")
    text = (gitlab / "chapter.html").read_text()
    assert "/v2/gl/group%2Fsub%2Fbook/main" in text and "colab" not in text
    assert metas(text)["og:url"] == "https://group.gitlab.io/sub/book/chapter.html"
    monkeypatch.setenv(VARIABLE, "https://git.example.org/a/book")
    own = (build() / "chapter.html").read_text()
    assert "/v2/git/https%3A%2F%2Fgit.example.org%2Fa%2Fbook/main" in own and not metas(own)
    placed = (build("", "https://example.org/book") / "chapter.html").read_text()
    assert metas(placed)["og:url"] == "https://example.org/book/chapter.html"


@pytest.mark.parametrize("wrong", ["github.com/a/b", "https://github.com/a", "http://github.com/a/b"])
def test_a_faulty_address_stops_the_build_with_its_remedy(build, wrong):
    with pytest.raises(ExtensionError, match=f"{re.escape(repr(wrong))} is none; write https://HOST/OWNER/NAME"):
        build(wrong)


def test_binder_finds_what_it_needs():
    """Binder reads `.binder/` only: the Python that the pins were made with, and a script that may be started and names what is there."""
    environment = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text())
    assert any(re.fullmatch(r"python=3\.\d+", entry) for entry in environment["dependencies"]), "repo2docker wants the minor version"
    script = ROOT / ".binder" / "postBuild"
    assert script.stat().st_mode & stat.S_IXUSR and script.read_text().startswith("#!/bin/bash\n")
    named = re.search(r"-c (\S+)", script.read_text())[1]
    assert (ROOT / named).is_file() and (ROOT / "tools" / "exercise_notebooks.py").is_file()
    assert "--out notebooks" in script.read_text(), "the buttons open notebooks/PAGE-student.ipynb"
