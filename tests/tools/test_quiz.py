"""The self-check directive, built into a page by Sphinx itself."""

import pytest
from sphinx.application import Sphinx

from tools.check_book import ROOT

QUIZ = """# Page

```{quiz} Which is *right*?
- [ ] this :: It is not,
  for a reason.
- [x] that $x$ :: It is.
```
"""


def build(tmp_path, text: str) -> str:
    source = tmp_path / "source"
    source.mkdir()
    (source / "index.md").write_text(text)
    (source / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\nextensions = ['myst_parser', 'quiz']\n"
        "myst_enable_extensions = ['dollarmath']\nsource_suffix = {'.md': 'markdown'}\n"
    )
    warnings = tmp_path / "warnings"
    with open(warnings, "w") as file:
        app = Sphinx(source, source, tmp_path / "out", tmp_path / "trees", "html", status=None, warning=file)
        app.build()
    return (tmp_path / "out" / "index.html").read_text() + "\nWARNINGS " + warnings.read_text()


def test_answers_open_to_their_verdict(tmp_path) -> None:
    page = build(tmp_path, QUIZ)
    assert page.count('<details class="quiz-answer">') == 2
    assert "<em>right</em>" in page and "It is not, for a reason." in page
    assert page.index("quiz-wrong") < page.index("quiz-right")
    assert "WARNINGS \n" in page + "\n" and "error" not in page.split("WARNINGS")[1].lower()


@pytest.mark.parametrize(
    ("broken", "message"),
    [(QUIZ.replace("[x]", "[ ]"), "no answer is marked"), (QUIZ.replace(" :: It is.", ""), "answer :: why")],
    ids=["no right answer", "no reason"],
)
def test_an_authors_mistake_is_reported(tmp_path, broken: str, message: str) -> None:
    assert message in build(tmp_path, broken).split("WARNINGS")[1]
