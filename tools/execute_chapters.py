"""Run the book's chapters that the execution cache does not hold, two at a time, and put them there (part of `make book`).

Jupyter Book runs chapters one after another. A chapter keeps one core busy, so two side by side take about half the time. What is run
here is what Jupyter Book would run: cells read by its own reader, in the chapter's folder, kept in its own cache. It then finds them
there. A chapter that fails is not kept: Jupyter Book meets it again, and its rules for failures and reports hold as if nothing had been
run before.
"""

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.executors.utils import single_nb_execution
from myst_nb.core.config import NbParserConfig
from myst_nb.core.read import create_nb_reader
from myst_parser.config.main import MdParserConfig
from nbformat import NotebookNode

from tools.check_book import documents

WORKERS = 2
# Two kernels with as many threads as cores each would fight over them; and sums must not depend on what else runs.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def read_chapter(source: Path, extensions: Sequence[str]) -> NotebookNode | None:
    """A chapter's notebook as MyST-NB reads it, or None where the page is plain text.

    extensions   `myst_enable_extensions` of `_config.yml`: whether colons fence a block decides what is a cell of its own
    """
    text = source.read_text()
    reader = create_nb_reader(str(source), MdParserConfig(enable_extensions=set(extensions)), NbParserConfig(), text)
    return None if reader is None else reader.read(text)


def pending(book: Path, cache: JupyterCacheAbstract, extensions: Sequence[str]) -> Iterator[tuple[Path, NotebookNode]]:
    """Chapters of the table of contents whose cells are not in the cache, with their notebooks; those with most cells first.

    The longest should not begin last, and cells are the best guess at length that needs no record of an earlier run.
    """
    found = []
    for name in documents(book / "_toc.yml"):
        source = next((path for path in (book / f"{name}.md", book / f"{name}.ipynb") if path.is_file()), None)
        notebook = read_chapter(source, extensions) if source else None
        if notebook is None or not any(cell.cell_type == "code" for cell in notebook.cells):
            continue
        try:
            cache.match_cache_notebook(notebook)
        except KeyError:
            found.append((source, notebook))
    yield from sorted(found, key=lambda one: -len(one[1].cells))


def run(source: Path, notebook: NotebookNode, timeout: int) -> tuple[NotebookNode, float, str | None]:
    """Execute a notebook in its chapter's folder: what became of it, seconds, and the first failure's name if a cell failed.

    Runs in a process of its own; `timeout` in seconds a cell.
    """
    os.environ.update(ONE_THREAD)
    result = single_nb_execution(notebook, cwd=str(source.parent), timeout=timeout, allow_errors=False)
    return result.nb, result.time, None if result.err is None else type(result.err).__name__


def execute(book: Path, cache_folder: Path, config: dict, workers: int = WORKERS) -> list[Path]:
    """Run what the cache does not hold and keep what succeeds; returns the chapters that failed.

    config is `_config.yml` as it was read. A dead worker process counts as a failure of its chapter.
    """
    cache = get_cache(cache_folder)
    failed: list[Path] = []
    waiting = list(pending(book, cache, config.get("parse", {}).get("myst_enable_extensions", ())))
    if not waiting:
        return failed
    start, timeout = time.perf_counter(), config.get("execute", {}).get("timeout", 30)
    print(f"Running {len(waiting)} chapters, {min(workers, len(waiting))} at a time.", flush=True)
    # Fresh processes: a forked one would carry the parent's threads and event loop.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = {pool.submit(run, source, notebook, timeout): source for source, notebook in waiting}
        for job in as_completed(jobs):
            source = jobs[job]
            try:
                notebook, seconds, failure = job.result()
            except Exception as error:
                notebook, seconds, failure = None, 0.0, type(error).__name__
            if failure:
                failed.append(source)
            else:
                # The cache is written by this process alone, so that no two write at once.
                bundle = CacheBundleIn(notebook, str(source), data={"execution_seconds": seconds})
                cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
            print(f"  {source.stem:<28} {f'failed ({failure})' if failure else f'{seconds:.0f} s'}", flush=True)
    print(f"Ran in {time.perf_counter() - start:.0f} s.", flush=True)
    return failed


def configuration(root: Path) -> dict:
    """The book's `_config.yml`."""
    return yaml.safe_load((root / "_config.yml").read_text())
