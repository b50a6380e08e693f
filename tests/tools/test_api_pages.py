"""The reference shows the whole library."""

from causalpose import skeletons
from tools import api_pages


def test_pages_are_up_to_date() -> None:
    """Every public module has its place; `make api` writes the pages again."""
    for path, text in api_pages.pages().items():
        assert path.is_file() and path.read_text() == text, f"{path.name} is out of date; run `make api`"


def test_every_part_of_the_library_has_a_page() -> None:
    parts = {path.name for path in api_pages.LIBRARY.iterdir() if path.is_dir() and any(path.glob("[a-z]*.py"))}
    assert parts - {"cli"} <= set(api_pages.PARTS)


def test_modules_are_public_ones() -> None:
    assert skeletons.__name__ in api_pages.modules("")
    assert all("__" not in name for part in api_pages.PARTS for name in api_pages.modules(part))
