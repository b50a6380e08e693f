"""Slides from a chapter's text, through nbconvert."""

import re

import nbformat
import pytest

from tools import build_slides

TEXT = """# Title of the page

First sentence here. A second one.

**After this page you can**

1. do a thing;
2. do another.

## A section

A point with $x^2$: {glue:text}`toy-number:.1f` of {numref}`fig-toy`. More about it.

- an item
- another item

| a | table |
| --- | --- |
| is | left out |

:::{quiz} Which is asked in class?
- [x] this one :: because it is so

- [ ] not that :: because it is not
:::
"""
PRACTICAL = """## Exercises

:::{exercise} Not in the lecture
:label: toy-a

Task.
:::

:::{solution-start} toy-a
:::
"""
PICTURE = nbformat.v4.new_output("display_data", data={"image/png": "AAAA"})
GLUED = nbformat.v4.new_output(
    "display_data",
    data={"application/papermill.record/text/plain": "2.25"},
    metadata={"scrapbook": {"name": "toy-number", "mime_prefix": "application/papermill.record/"}},
)


def made(outputs: list, code: str = "plot()", **metadata) -> list[build_slides.Slide]:
    """The slides of a page with one cell of code, a solution after it."""
    metadata = {"mystnb": {"figure": {"caption": "What is *seen*."}}, **metadata}
    new = nbformat.v4.new_markdown_cell
    answer = nbformat.v4.new_code_cell("secret = 1")
    cells = [new(TEXT), nbformat.v4.new_code_cell(code, metadata=metadata), new(PRACTICAL), answer, new(":::{solution-end}\n:::\n")]
    ran = [new(TEXT), nbformat.v4.new_code_cell(code, outputs=outputs), new(PRACTICAL), answer]
    return build_slides.slides(nbformat.v4.new_notebook(cells=cells), nbformat.v4.new_notebook(cells=ran))


def test_first_sentences_become_points_and_the_rest_is_for_the_speaker() -> None:
    title, goals, section = made([GLUED])
    assert (title.heading, title.points) == ("Title of the page", ["First sentence here."])
    assert goals.points == ["do a thing;", "do another."]
    assert section.points == ["A point with $x^2$: 2.2 of the figure.", "an item", "another item"]
    assert "More about it." in " ".join(section.notes)
    said = " ".join(point for slide in (title, goals, section) for point in slide.points + slide.notes)
    assert not re.search("table|Task|asked in class|because", said)


def test_a_figure_gets_a_slide_with_its_caption_and_its_call_does_not() -> None:
    (cell,) = made([PICTURE])[-1].shown
    assert cell.cell_type == "markdown" and "What is *seen*." in cell.source and 'alt="What is seen."' in cell.source


def test_short_code_is_shown_with_what_it_printed_and_folded_or_long_code_is_not() -> None:
    printed = nbformat.v4.new_output("stream", name="stdout", text="3\n")
    (cell,) = made([printed], "print(1 + 2)")[-1].shown
    assert cell.cell_type == "code" and cell.source == "print(1 + 2)" and cell.outputs[0].text == "3\n"
    assert not made([printed], "print(1 + 2)", tags=["hide-input"])[-1].shown
    assert not made([printed], "x = 1\n" * (build_slides.MOST_LINES + 1))[-1].shown


def test_a_solution_is_never_on_a_slide() -> None:
    assert not any("secret" in cell.source for slide in made([]) for cell in slide.shown)


def test_nbconvert_makes_the_deck_and_nothing_of_it_is_on_another_host() -> None:
    interactive = nbformat.v4.new_output("display_data", data={"text/html": '<div class="cp-show">pictures</div>'})
    lecture = build_slides.lecture(made([PICTURE, interactive], "assert plot()"))
    kinds = [cell.metadata.slideshow.slide_type for cell in lecture.cells]
    assert kinds.count("slide") == 3 and kinds.count("subslide") == 3 and "notes" in kinds
    nbformat.validate(lecture)
    text, _ = build_slides.exporter().from_notebook_node(lecture)
    assert text.count("<section") == 2 * 3 + 3, "reveal.js: a stack a section, and a section a slide in it"
    assert "Reveal.initialize" in text and '<aside class="notes">' in text and 'class="cp-show"' in text
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text) and "require(" not in text


def test_assets_fetch_nothing(tmp_path) -> None:
    build_slides.copy_assets(tmp_path, build_slides.exporter().template_paths)
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"(]*http", sheet.read_text()), sheet
    assert (tmp_path / "mathjax.js").stat().st_size > 1e6
    assert all((tmp_path / "assets" / name).is_file() for name in build_slides.SHEETS)


def test_a_glued_value_that_the_page_does_not_have_stays_out() -> None:
    """The chapter's own rule (`plain`) says what a reader without the page sees."""
    assert "(computed above)" in build_slides.spoken("It is {glue:text}`missing:.1f`.", {})


@pytest.mark.parametrize(
    ("text", "expected"), [("See {numref}`fig-a`.", "See the figure."), ("{numref}`fig-a` shows.", "The figure shows.")]
)
def test_figures_have_no_numbers_on_slides(text: str, expected: str) -> None:
    assert build_slides.spoken(text, {}).strip() == expected
