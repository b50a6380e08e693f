"""Build the book strictly: a warning is an error, a failed cell is an error, and no stale output survives (`make book`).

Jupyter Book's cache looks at a chapter's code cells only. A change in the library, in the pinned packages, in the shipped weights or
in the recorded results would leave old pictures on the pages. So the cache carries a key made from all of them, and is cleared
when the key changes. What the cache lacks is run two chapters at a time before the pages are made (`execute_chapters`).

Sphinx reads every page anew unless the last build had no fault and nothing but pages changed since. Then a page that was not touched
was read without a warning already, so reading only the others hides none; and every page is written again, so a link that lost its
target is found in whichever page it stands.

The built pages are checked at the end (`check_book`), and so is how much of a page is prose (`prose_ratio`).
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools import check_book, execute_chapters, prose_ratio

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
CACHE = BUILD / ".jupyter_cache"
KEY = BUILD / "cache_key"
FAULTLESS = BUILD / "faultless_key"  # of the last build without a fault; absent after any other
# What a chapter's output depends on besides its own cells. The weights lie inside causalpose/; the Makefile sets the environment.
INPUTS = ("causalpose", "ablations/results", "figures", "constraints.txt", "_config.yml", "Makefile", "CITATION.cff")
# What decides besides how a page is read and written.
BUILDER = ("book/_ext", "book/_static", "book/_toc.yml", "book/references.bib", "tools")
# Jupyter Book, with the number of Sphinx's processes as first argument, for which it has no option. Started through its function, because
# a console script names the place where the environment was made.
# Sphinx loads every page's tree several times, and each is a heap of small objects that the collector would walk again and again:
# without it the loading takes a seventh of the time, and 1.5 GB. Where every page is read, memory would grow by more: there it only works
# less often.
PROGRAM = """
import functools, gc, sys
jobs = int(sys.argv.pop(1))
gc.disable() if jobs > 1 else gc.set_threshold(1_000_000, 100, 100)
from jupyter_book import sphinx
sphinx.build_sphinx = functools.partial(sphinx.build_sphinx, jobs=jobs)
from jupyter_book.cli.main import main
main()
"""


def input_files(root: Path, names: Sequence[str] = INPUTS) -> Iterator[Path]:
    """Every file in these places (by default: all that the chapters' outputs depend on), in a fixed order."""
    for name in names:
        place = root / name
        if place.is_file():
            yield place
        else:
            yield from sorted(path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def cache_key(root: Path, names: Sequence[str] = INPUTS) -> str:
    """SHA-256 over the names and contents of `input_files`."""
    digest = hashlib.sha256()
    for path in input_files(root, names):
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


def faultless(root: Path, key_file: Path) -> tuple[bool, str]:
    """Whether the last build had no fault and nothing but pages changed since, and the key to keep if this one has none.

    The mark is taken away: it comes back at the end of a build without fault.
    """
    address = os.environ.get("CAUSALPOSE_REPOSITORY", "")
    key = f"{cache_key(root, (*INPUTS, *BUILDER))} {sys.version.split()[0]} {address}"
    same = key_file.is_file() and key_file.read_text() == key
    key_file.unlink(missing_ok=True)
    return same, key


def main() -> None:
    """Refuse stale records, clear a stale cache, run Jupyter Book, then check its pages."""
    start = time.perf_counter()
    untouched_pages_are_known, key = faultless(ROOT, FAULTLESS)
    if not untouched_pages_are_known:  # then records, weights and renderer are those that the last build was content with
        from tools import check_records  # draws a clip to know the renderer by, with all of torch: seconds that a prose edit need not wait

        check_records.main()
    if refresh_cache(ROOT, CACHE, KEY):
        print("The library, the pins, the weights or the results changed: every chapter runs again.")
    # Pages that left the table of contents and error reports of an earlier run must not survive; pages that are not read anew need the
    # pictures of their executed copies.
    for folder in ("html",) if untouched_pages_are_known else ("html", "jupyter_execute", ".doctrees"):
        shutil.rmtree(BUILD / folder, ignore_errors=True)
    # Failures are not reported here: Jupyter Book runs a chapter that failed again, and stops the build with its report.
    execute_chapters.execute(ROOT / "book", CACHE, execute_chapters.configuration(ROOT))
    # Pages are written side by side where few are read: for reading, not every extension declares that it may be run so, and says so.
    program = [sys.executable, "-c", PROGRAM, str(execute_chapters.WORKERS if untouched_pages_are_known else 1)]
    command = [*program, "build", "book", "--config", "_config.yml", "--path-output", ".", "-W", "--keep-going"]
    sphinx = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, env=os.environ | execute_chapters.ONE_THREAD)
    with sphinx:
        ratios = prose_ratio.ratios()  # while Sphinx reads and writes; this process would only wait
    if sphinx.returncode:
        reports = sorted((BUILD / "html" / "reports").rglob("*.err.log"))
        sys.exit("error: the book did not build (see above)" + "".join(f"\n  report: {path}" for path in reports))
    FAULTLESS.write_text(key)
    print(f"Built in {time.perf_counter() - start:.0f} s.")
    # Here and not in processes of their own: the libraries that read notebooks take as long to load as the checks to run.
    check_book.main()
    prose_ratio.report(ratios)


if __name__ == "__main__":
    main()
