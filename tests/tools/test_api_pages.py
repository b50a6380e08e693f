"""The reference shows the whole library."""

import importlib
import inspect
import pkgutil
import re

import causalpose
from causalpose import skeletons
from tools import api_pages, library_names


def walked() -> dict[str, set[str]]:
    """Public functions and classes by module, as Python itself finds them: every package is walked and every module imported."""
    found = {}
    for entry in pkgutil.walk_packages(causalpose.__path__, "causalpose."):
        if "._" in entry.name or f"{entry.name}.".startswith("causalpose.cli."):  # the program's commands have their own help
            continue
        module = importlib.import_module(entry.name)
        own = {
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__ == inspect.unwrap(value).__module__
            if inspect.isclass(value) or inspect.isroutine(inspect.unwrap(value))
        }
        if own:
            found[module.__name__] = {f"{module.__name__}.{name}" for name in own}
    return found


def test_pages_are_up_to_date() -> None:
    """Every public module has its place; `make api` writes the pages again."""
    for path, text in api_pages.pages().items():
        assert path.is_file() and path.read_text() == text, f"{path.name} is out of date; run `make api`"


def test_every_part_of_the_library_has_a_page() -> None:
    parts = {path.name for path in api_pages.LIBRARY.iterdir() if path.is_dir() and any(path.rglob("[a-z]*.py"))}
    assert parts - {"cli"} <= set(api_pages.PARTS)


def test_modules_are_public_ones() -> None:
    assert skeletons.__name__ in api_pages.modules("")
    assert all("__" not in name for part in api_pages.PARTS for name in api_pages.modules(part))


def test_no_module_is_left_out_at_any_depth() -> None:
    """The committed pages show the modules that Python finds, and the list of names their functions and classes."""
    there = walked()
    assert any(name.count(".") > 2 for name in there), "no module of a subpackage was found: the walk itself is wrong"
    shown = [name for path in api_pages.PAGES.glob("*.md") for name in re.findall(r"automodule:: (\S+)", path.read_text())]
    assert sorted(shown) == sorted(there)
    listed = {entry.full for part in library_names.names().values() for entry in part}
    assert listed == set().union(*there.values())
    assert set(re.findall(r"\{py:obj\}`\w+ <([\w.]+)>`", library_names.page())) == listed
