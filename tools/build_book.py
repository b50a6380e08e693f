"""Build the book strictly: a warning is an error, a failed cell is an error, and no stale output survives (`make book`).

Jupyter Book's cache looks at a chapter's code cells only. A change in the library, in the pinned packages, in the shipped weights or
in the recorded results would leave old pictures on the pages. So the cache carries a key made from all of them, and is cleared
when the key changes. What the cache lacks is run two chapters at a time before the pages are made (`execute_chapters`).
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tools import check_records, execute_chapters

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
CACHE = BUILD / ".jupyter_cache"
KEY = BUILD / "cache_key"
# What a chapter's output depends on besides its own cells. The weights lie inside causalpose/; the Makefile sets the environment.
INPUTS = ("causalpose", "ablations/results", "figures", "constraints.txt", "_config.yml", "Makefile")


def input_files(root: Path) -> Iterator[Path]:
    """Every file that the chapters' outputs depend on, in a fixed order."""
    for name in INPUTS:
        place = root / name
        if place.is_file():
            yield place
        else:
            yield from sorted(path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def cache_key(root: Path) -> str:
    """SHA-256 over the names and contents of `input_files`."""
    digest = hashlib.sha256()
    for path in input_files(root):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def refresh_cache(root: Path, cache: Path, key_file: Path) -> bool:
    """Remove the execution cache when it was made from other inputs; returns whether it was removed."""
    key = cache_key(root)
    if key_file.is_file() and key_file.read_text() == key:
        return False
    stale = cache.is_dir()
    shutil.rmtree(cache, ignore_errors=True)
    key_file.parent.mkdir(parents=True, exist_ok=True)
    fresh = key_file.with_suffix(".tmp")
    fresh.write_text(key)
    os.replace(fresh, key_file)
    return stale


def main() -> None:
    """Refuse stale records, clear a stale cache, then run Jupyter Book."""
    start = time.perf_counter()
    check_records.main()
    if refresh_cache(ROOT, CACHE, KEY):
        print("The library, the pins, the weights or the results changed: every chapter runs again.")
    # Pages that left the table of contents, executed copies and error reports of an earlier run must not survive.
    for folder in ("html", "jupyter_execute"):
        shutil.rmtree(BUILD / folder, ignore_errors=True)
    # Failures are not reported here: Jupyter Book runs a chapter that failed again, and stops the build with its report.
    execute_chapters.execute(ROOT / "book", CACHE, execute_chapters.configuration(ROOT))
    # Started through its function, because a console script names the place where the environment was made.
    program = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*program, "build", "book", "--config", "_config.yml", "--path-output", "."]
    finished = subprocess.run(
        [*command, "--all", "-W", "--keep-going"], cwd=ROOT, stdin=subprocess.DEVNULL, env=os.environ | execute_chapters.ONE_THREAD
    )
    if finished.returncode:
        reports = sorted((BUILD / "html" / "reports").rglob("*.err.log"))
        sys.exit("error: the book did not build (see above)" + "".join(f"\n  report: {path}" for path in reports))
    print(f"Built in {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()
