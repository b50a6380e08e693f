"""Slides from a chapter's text, through nbconvert."""

import re

import nbformat
import pytest

from tools import build_slides

TEXT = """# Title of the page

First sentence here. A second one.

**After this page you can**

1. Do a thing. At length.
2. do another.

## A section

A point with $x^2$: {glue:text}`toy-number:.1f` of {numref}`fig-toy`. More about it.

- an item
- another item

| a | table |
| --- | --- |
| is | left out |

```bash
# a comment is no heading

make table
```

:::{list-table} Rows
* - a table
  - too

* - another row
  - of it
:::

:::{quiz} Which is asked in class?
- [x] this one :: because it is so

- [ ] not that :: because it is not
:::
"""
PRACTICAL = """## A section that is not called so

:::{exercise} Not in the lecture
:label: toy-a

Task.
:::

:::{solution-start} toy-a
:::

The answer, which is a secret.
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
    cells = [
        new(TEXT),
        nbformat.v4.new_code_cell(code, metadata=metadata),
        new(PRACTICAL),
        answer,
        new("Secret as well.\n\n:::{solution-end}\n:::\n\nAfter it."),
    ]
    ran = [new(TEXT), nbformat.v4.new_code_cell(code, outputs=outputs), new(PRACTICAL), answer]
    return build_slides.slides(nbformat.v4.new_notebook(cells=cells), nbformat.v4.new_notebook(cells=ran))


def test_first_sentences_become_points_and_the_rest_is_for_the_speaker() -> None:
    title, goals, section, last = made([GLUED])
    assert last.points == ["After it."]
    assert (title.heading, title.points) == ("Title of the page", ["First sentence here."])
    assert goals.points == ["Do a thing.", "do another."]
    assert section.points == ["A point with $x^2$: 2.2 of the figure.", "an item", "another item"]
    assert "More about it." in " ".join(section.notes)
    said = " ".join(point for slide in (title, goals, section) for point in slide.points + slide.notes)
    assert not re.search("table|Task|asked in class|because|comment|row", said)


def test_a_figure_gets_a_slide_with_its_caption_and_its_call_does_not() -> None:
    (cell,) = made([PICTURE])[2].shown
    assert cell.cell_type == "markdown" and "What is *seen*." in cell.source and 'alt="What is seen."' in cell.source


def test_short_code_is_shown_with_what_it_printed_and_folded_or_long_code_is_not() -> None:
    printed = nbformat.v4.new_output("stream", name="stdout", text="3\n")
    (cell,) = made([printed], "print(1 + 2)")[2].shown
    assert cell.cell_type == "code" and cell.source == "print(1 + 2)" and cell.outputs[0].text == "3\n"
    assert not made([printed], "print(1 + 2)", tags=["hide-input"])[2].shown
    assert not made([printed], "x = 1\n" * (build_slides.MOST_LINES + 1))[2].shown


def test_a_solution_is_never_on_a_slide() -> None:
    """Neither its code nor its prose, under whatever heading it stands."""
    told = [text for slide in made([]) for text in (*slide.points, *slide.notes, *(cell.source for cell in slide.shown))]
    assert told and not any("secret" in text.lower() for text in told)


def test_what_a_cell_wrote_is_said_and_its_small_tables_are_shown() -> None:
    """Without the marks by which the page's numbers are checked."""
    rows = "| a | b |\n| --- | --- |\n" + '| 1 | <data value="2.0" data-source="x.csv">2</data> |\n'
    wrote = nbformat.v4.new_output("display_data", data={"text/markdown": f"It gains <data>2</data> points. So it is.\n\n{rows}"})
    section = made([wrote], "Markdown(text)", tags=["hide-input"])[2]
    assert section.points[-1] == "It gains 2 points." and "So it is." in section.notes[-1]
    (table,) = section.shown
    assert table.source.splitlines()[-1] == "| 1 | 2 |"
    wrote.data["text/markdown"] = rows + "| 3 | 4 |\n" * build_slides.MOST_ROWS
    assert not made([wrote], "Markdown(text)", tags=["hide-input"])[2].shown


def test_nbconvert_makes_the_deck_and_nothing_of_it_is_on_another_host() -> None:
    interactive = nbformat.v4.new_output("display_data", data={"text/html": '<div class="cp-show">pictures</div>'})
    lecture = build_slides.lecture(made([PICTURE, interactive], "assert plot()"))
    kinds = [cell.metadata.slideshow.slide_type for cell in lecture.cells]
    assert kinds.count("slide") == 4 and kinds.count("subslide") == 3 and "notes" in kinds
    nbformat.validate(lecture)
    text, _ = build_slides.exporter().from_notebook_node(lecture)
    assert text.count("<section") == 2 * 4 + 3, "reveal.js: a stack a section, and a section a slide in it"
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


def test_a_changed_notebook_of_slides_makes_its_deck_again(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(build_slides, "OUT", tmp_path)
    lecture = build_slides.lecture(made([]))
    lecture.cells[0].source = "# My own title"
    nbformat.write(lecture, tmp_path / "mine.ipynb")
    build_slides.remake([tmp_path / "mine.ipynb"], build_slides.exporter())
    assert "My own title" in (tmp_path / "mine.html").read_text() and "mine.html" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="there is no notebook"):
        build_slides.remake([tmp_path / "absent.ipynb"], build_slides.exporter())
