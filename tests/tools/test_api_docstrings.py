"""Docstrings, which are plain text with aligned columns, as what autodoc shows."""

import importlib.util
from pathlib import Path

import docutils.core
import docutils.nodes
import pytest

SOURCE = Path(__file__).resolve().parents[2] / "book" / "_ext" / "api_docstrings.py"
spec = importlib.util.spec_from_file_location("api_docstrings", SOURCE)
made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)


def shown(text: str) -> docutils.nodes.document:
    """The docstring as docutils reads it; a warning fails."""
    lines = text.splitlines()
    made.rewrite(None, "function", "f", None, None, lines)
    strict = {"report_level": 1, "halt_level": 2, "warning_stream": "", "syntax_highlight": "none"}
    return docutils.core.publish_doctree("\n".join(lines), settings_overrides=strict)


def test_every_paragraph_is_prose_and_not_only_the_first() -> None:
    tree = shown("First `x` *Paper*: line\nthat goes on.\n\nSecond, with a|b, a_ and 2 * 3 * 4.")
    assert [node.astext() for node in tree.findall(docutils.nodes.paragraph)] == [
        "First x Paper: line that goes on.",
        "Second, with a|b, a_ and 2 * 3 * 4.",
    ]
    assert [node.astext() for node in tree.findall(docutils.nodes.emphasis)] == ["Paper"]
    assert [node.astext() for node in tree.findall(docutils.nodes.literal)] == ["x"]


@pytest.mark.parametrize("indent", ["", "    "])
def test_aligned_columns_become_a_list_of_names(indent: str) -> None:
    """Lines that go on belong to the row above; a name as wide as its column has one blank behind it."""
    rows = [
        "lr        the rate; `x` stays code,",
        "          and this goes on",
        "keep_rate share",
    ]
    tree = shown("What it is.\n\n" + "\n".join(indent + row for row in rows))
    names = [node.astext() for node in tree.findall(docutils.nodes.term)]
    said = [node.astext() for node in tree.findall(docutils.nodes.definition)]
    assert names == ["lr", "keep_rate"] and said == ["the rate; x stays code, and this goes on", "share"]


def test_prose_before_and_behind_the_rows_stays_prose() -> None:
    tree = shown("What.\n\nA sentence leads in.\na   one\nb   two\nA sentence follows.")
    assert [type(node).__name__ for node in tree.children] == ["paragraph", "paragraph", "definition_list", "paragraph"]


def test_code_and_drawings_keep_their_lines() -> None:
    code = "    world = World()                # a world\n    clips = world.render([0])"
    (block,) = shown(f"What.\n\n{code}").findall(docutils.nodes.literal_block)
    assert block.astext() == "world = World()                # a world\nclips = world.render([0])"


def test_items_become_a_list() -> None:
    (steps,) = shown("What.\n\n1. one\n2. two").findall(docutils.nodes.enumerated_list)
    assert [node.astext() for node in steps] == ["one", "two"]
    items = [node.astext() for node in shown("What.\n\n- one\n  goes on\n- two").findall(docutils.nodes.list_item)]
    assert items == ["one goes on", "two"]
