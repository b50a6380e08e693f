"""The execution cache is cleared exactly when something that chapters depend on changes."""

from pathlib import Path

import pytest

from tools.build_book import cache_key, faultless, refresh_cache


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small repository with one file of each kind."""
    for name in (
        "causalpose/model/a.py",
        "causalpose/weights/w.safetensors",
        "ablations/results/r.csv",
        "constraints.txt",
        "book/index.md",
        "book/_ext/quiz.py",
        "book/_toc.yml",
        "tools/check.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    "name", ["causalpose/model/a.py", "causalpose/weights/w.safetensors", "ablations/results/r.csv", "constraints.txt"]
)
def test_change_clears_the_cache_once(tree: Path, name: str) -> None:
    """First build: nothing to clear. Unchanged: kept. Changed: cleared. Then kept again."""
    cache, key = tree / "_build" / "cache", tree / "_build" / "key"
    assert refresh_cache(tree, cache, key) is False
    cache.mkdir()
    assert refresh_cache(tree, cache, key) is False and cache.is_dir()
    (tree / name).write_text("changed")
    assert refresh_cache(tree, cache, key) is True and not cache.exists()
    cache.mkdir()
    assert refresh_cache(tree, cache, key) is False and cache.is_dir()


def test_chapters_and_bytecode_leave_the_key(tree: Path) -> None:
    """Chapters are the cache's own business, and compiled modules say nothing new."""
    before = cache_key(tree)
    (tree / "book" / "index.md").write_text("changed")
    (tree / "causalpose" / "__pycache__").mkdir()
    (tree / "causalpose" / "__pycache__" / "a.pyc").write_text("x")
    assert cache_key(tree) == before


@pytest.mark.parametrize("name", ["book/_ext/quiz.py", "book/_toc.yml", "tools/check.py", "causalpose/model/a.py"])
def test_all_pages_are_read_unless_only_pages_changed(tree: Path, name: str) -> None:
    """Nothing is known before a faultless build, after one that was not, and once anything but a page changed."""
    mark = tree / "mark"
    known, key = faultless(tree, mark)
    assert not known
    mark.write_text(key)
    (tree / "book" / "index.md").write_text("edited prose")
    assert faultless(tree, mark) == (True, key)
    assert faultless(tree, mark) == (False, key), "the build in between left no mark: it had a fault"
    mark.write_text(key)
    (tree / name).write_text("changed")
    assert faultless(tree, mark)[0] is False


def test_the_repositorys_address_is_on_every_page(tree: Path, monkeypatch) -> None:
    mark = tree / "mark"
    mark.write_text(faultless(tree, mark)[1])
    monkeypatch.setenv("CAUSALPOSE_REPOSITORY", "https://github.com/owner/name")
    assert faultless(tree, mark)[0] is False


def test_moving_text_between_files_changes_the_key(tmp_path: Path) -> None:
    """The border between two files counts: 'ab' + 'c' is not 'a' + 'bc'."""
    keys = []
    for first, second in (("ab", "c"), ("a", "bc")):
        (tmp_path / "causalpose").mkdir(exist_ok=True)
        (tmp_path / "causalpose" / "one.py").write_text(first)
        (tmp_path / "causalpose" / "two.py").write_text(second)
        keys.append(cache_key(tmp_path))
    assert keys[0] != keys[1]
