"""Slides from a chapter's text."""

import re

import nbformat

from tools import build_slides

TEXT = """# Title of the page

First sentence here. A second one.

## A section

A point with $x^2$. More about it.

- an item
- another item

| a | table |
| --- | --- |
| is | left out |

## Exercises

:::{exercise} Not in the lecture
:label: toy-a

Task.
:::
"""


def made(outputs: list) -> list[build_slides.Slide]:
    figure = {"mystnb": {"figure": {"caption": "What is *seen*."}}}
    cells = [nbformat.v4.new_markdown_cell(TEXT), nbformat.v4.new_code_cell("plot()", metadata=figure)]
    ran = nbformat.v4.new_notebook(cells=[cells[0], nbformat.v4.new_code_cell("plot()", outputs=outputs)])
    head, tail = TEXT.split("## Exercises")
    cells = [nbformat.v4.new_markdown_cell(head), cells[1], nbformat.v4.new_markdown_cell("## Exercises" + tail)]
    return build_slides.slides(nbformat.v4.new_notebook(cells=cells), ran)


def test_first_sentences_become_points_and_the_rest_is_for_the_speaker() -> None:
    title, second = made([])
    assert (title.heading, title.points) == ("Title of the page", ["First sentence here."])
    assert second.points == ["A point with $x^2$.", "an item", "another item"]
    assert "More about it." in " ".join(second.notes)
    assert not any("table" in point or "Task" in point for point in second.points)


def test_a_figure_gets_a_slide_with_its_caption() -> None:
    picture = nbformat.v4.new_output("display_data", data={"image/png": "AAAA"})
    slide = made([picture])[1]
    assert slide.figures == [("data:image/png;base64,AAAA", "What is *seen*.")]
    text = build_slides.section(slide)
    assert text.count("<section>") == 2 and 'alt="What is seen."' in text and r"\(x^2\)" in text


def test_assets_fetch_nothing(tmp_path) -> None:
    build_slides.copy_assets(tmp_path)
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"(]*http", sheet.read_text())
    assert (tmp_path / "mathjax.js").stat().st_size > 1e6
