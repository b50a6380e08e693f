"""Run the notebooks of ablations/ through papermill, each in its own process with an outer time limit (`make ablations`).

A parameter is handed over only when the notebook declares it (papermill itself merely warns about an unknown one), and a name
that no notebook bears is an error. Executed copies go to runs/ablations/SCALE/.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from papermill import inspect_notebook

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "ablations"
LIMIT_MINUTES = {"smoke": 10, "book": 600, "paper": 6000}


def chosen(study: str | None) -> list[Path]:
    """The notebooks to run, the two training notebooks first because the studies read as their continuation."""
    everything = sorted(NOTEBOOKS.glob("*.ipynb"), key=lambda path: (not path.stem.startswith("train_"), path.stem))
    if not everything:
        sys.exit("error: ablations/ holds no notebook")
    if study is None:
        return everything
    found = [path for path in everything if path.stem == study]
    if not found:
        sys.exit(f"error: no study {study!r} in ablations/; there are: {', '.join(path.stem for path in everything)}")
    return found


def parameters(notebook: Path, wanted: dict[str, str]) -> list[str]:
    """The `-p name value` arguments for what the notebook declares; a wanted name that it lacks is an error."""
    declared = inspect_notebook(str(notebook))
    unknown = sorted(set(wanted) - set(declared))
    if unknown:
        sys.exit(f"error: {notebook.name} declares no parameter {', '.join(unknown)}; it has: {', '.join(declared) or 'none'}")
    return [part for name, value in wanted.items() for part in ("-p", name, value)]


def seed_of(notebook: Path, seed: str | None) -> dict[str, str]:
    """The seed under the name that the notebook gives it: a study takes several, and one is a list of one."""
    if seed is None:
        return {}
    return {"seeds" if "seeds" in inspect_notebook(str(notebook)) else "seed": seed}


def run(notebook: Path, wanted: dict[str, str], out: Path, minutes: float) -> float:
    """Execute one notebook into `out`; returns its seconds. A failed cell or a passed time limit ends the program."""
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "papermill", str(notebook), str(out), "-k", "python3", "--cwd", str(ROOT), "--no-progress-bar"]
    start = time.perf_counter()
    try:
        finished = subprocess.run([*command, *parameters(notebook, wanted)], timeout=60 * minutes, cwd=ROOT, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        sys.exit(f"error: {notebook.name} took longer than {minutes:g} minutes; its cells so far are in {out}")
    if finished.returncode:
        sys.exit(f"error: {notebook.name} failed (see above); the executed copy is {out}")
    return time.perf_counter() - start


def main() -> None:
    """Read the command line, run, and say where to look."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--scale", choices=LIMIT_MINUTES, default="smoke")
    reader.add_argument("--study", help="one notebook's name, without .ipynb")
    reader.add_argument("--seed")
    choice = reader.parse_args()
    folder = ROOT / "runs" / "ablations" / choice.scale
    for notebook in chosen(choice.study):
        print(f"{notebook.stem}: running at scale {choice.scale}", flush=True)
        wanted = {"scale": choice.scale} | seed_of(notebook, choice.seed)
        seconds = run(notebook, wanted, folder / notebook.name, LIMIT_MINUTES[choice.scale])
        print(f"{notebook.stem}: {seconds:.0f} s", flush=True)
    print(f"\nExecuted notebooks: {folder}")


if __name__ == "__main__":
    main()
