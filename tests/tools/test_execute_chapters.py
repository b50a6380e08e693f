"""Chapters are run before Jupyter Book comes to them: into its cache, two at a time, failures left to it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_cache import get_cache

from tools.execute_chapters import ONE_THREAD, execute, pending

CONFIG = {"execute": {"timeout": 60}, "parse": {"myst_enable_extensions": ["colon_fence"]}}
HEAD = "---\njupytext:\n  text_representation:\n    extension: .md\n    format_name: myst\nkernelspec:\n  name: python3\n---\n\n"
BUILD = """title: Two pages
only_build_toc_files: true
execute:
  execute_notebooks: cache
  raise_on_error: true
  show_tb: true
parse:
  myst_enable_extensions: [colon_fence]
"""


def chapter(*cells: str) -> str:
    """A chapter with these code cells."""
    return HEAD + "# A chapter\n\nSome words.\n\n" + "\n\n".join(f"```{{code-cell}} ipython3\n{cell}\n```" for cell in cells) + "\n"


def book(root: Path, **chapters: str) -> Path:
    """A book of an index without code and these chapters."""
    folder = root / "book"
    folder.mkdir(exist_ok=True)
    (folder / "index.md").write_text("# Index\n\nOnly words.\n")
    for name, text in chapters.items():
        (folder / f"{name}.md").write_text(text)
    files = "".join(f"  - file: {name}\n" for name in chapters)
    (folder / "_toc.yml").write_text(f"format: jb-book\nroot: index\nparts:\n- caption: P\n  chapters:\n{files}")
    return folder


def waiting(folder: Path, cache: Path) -> list[str]:
    """Names of the chapters that would be run."""
    return [source.stem for source, _ in pending(folder, get_cache(cache), CONFIG["parse"]["myst_enable_extensions"])]


def test_only_what_the_cache_lacks_waits(tmp_path: Path) -> None:
    """Two chapters of three run; then none; after an edit of one cell that chapter alone; after an edit of prose none.

    The failed one is not kept, and waits again.
    """
    cache = tmp_path / "cache"
    folder = book(tmp_path, one=chapter("1 + 1"), two=chapter("2", "3"), bad=chapter("raise ValueError"))
    assert waiting(folder, cache) == ["two", "one", "bad"], "most cells first, the page of words not at all"
    assert [path.stem for path in execute(folder, cache, CONFIG)] == ["bad"]
    assert waiting(folder, cache) == ["bad"]
    (folder / "one.md").write_text(chapter("1 + 1").replace("Some words", "Other words"))
    assert waiting(folder, cache) == ["bad"]
    (folder / "one.md").write_text(chapter("1 + 2"))
    assert waiting(folder, cache) == ["one", "bad"]


def test_two_at_a_time_with_one_thread_each_in_the_chapters_folder(tmp_path: Path) -> None:
    """Each chapter waits for the other's mark, so neither could end alone; what each saw of its surroundings is in its mark."""
    wait = (
        "import os, time, pathlib\n"
        "pathlib.Path('{mine}').write_text(os.environ['OMP_NUM_THREADS'] + ' ' + os.environ['OPENBLAS_NUM_THREADS'])\n"
        "deadline = time.time() + 50\n"
        "while not pathlib.Path('{other}').is_file():\n"
        "    assert time.time() < deadline, 'the other chapter does not run beside this one'\n"
        "    time.sleep(0.05)\n"
    )
    folder = book(
        tmp_path, one=chapter(wait.format(mine="one.txt", other="two.txt")), two=chapter(wait.format(mine="two.txt", other="one.txt"))
    )
    assert execute(folder, tmp_path / "cache", CONFIG, workers=2) == []
    assert {(folder / name).read_text() for name in ("one.txt", "two.txt")} == {"1 1"}


def test_a_dead_kernel_is_a_failure_of_its_chapter_alone(tmp_path: Path) -> None:
    """One chapter's kernel exits; the other is kept."""
    folder = book(tmp_path, dies=chapter("import os\nos._exit(1)"), lives=chapter("1"))
    assert [path.stem for path in execute(folder, tmp_path / "cache", CONFIG)] == ["dies"]
    assert waiting(folder, tmp_path / "cache") == ["dies"]


@pytest.mark.slow
def test_jupyter_book_takes_what_was_run_and_still_stops_at_a_failure(tmp_path: Path) -> None:
    """A cell that counts its runs in a file: run once here, and not again by Jupyter Book. A failing chapter stops the strict build."""
    count = "with open('runs.txt', 'a') as file:\n    _ = file.write('x')\nprint('the', 'answer')"
    folder = book(tmp_path, one=chapter(count))
    (tmp_path / "_config.yml").write_text(BUILD)
    cache = tmp_path / "_build" / ".jupyter_cache"
    program = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*program, "build", "book", "--config", "_config.yml", "--path-output", ".", "--all", "-W", "--keep-going"]

    def build() -> tuple[int, str]:
        finished = subprocess.run(
            command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=os.environ | ONE_THREAD, timeout=200
        )
        return finished.returncode, finished.stdout + finished.stderr

    assert execute(folder, cache, CONFIG) == []
    code, said = build()
    assert code == 0, said
    assert (folder / "runs.txt").read_text() == "x"
    assert "the answer" in (tmp_path / "_build" / "html" / "one.html").read_text()
    book(tmp_path, one=chapter(count), bad=chapter("raise ValueError('no')"))
    assert [path.stem for path in execute(folder, cache, CONFIG)] == ["bad"]
    code, said = build()
    assert code != 0 and "bad.md" in said and "CellExecutionError" in said, said
    assert (folder / "runs.txt").read_text() == "x"
