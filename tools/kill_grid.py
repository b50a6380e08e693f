"""`make kill-grid`: kill a real grid with SIGKILL at random moments, go on, and hold its tables against an undisturbed run's.

    python -m tools.kill_grid [--kills 10] [--study tcis] [--draw NUMBER] [--folder FOLDER]

Both runs are the study's smoke form from nothing: a backbone, stage 1, stage 2, evaluations and the study, each a notebook in a process of
its own. The victims take turns: everything at once, as when a machine goes down; Snakemake alone, whose cells live on for a moment; one
cell's kernel alone, which Snakemake sees fail. Minutes on two cores.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from causalpose.experiments import engine, grid

VICTIMS = ("everything", "snakemake", "ipykernel")
PROGRAM = """
import pathlib, sys
from causalpose.experiments import engine
config = {"scale": "smoke", "studies": sys.argv[1]}
sys.exit(engine.run(config, parallel=1, folder=pathlib.Path(sys.argv[2]), progress=False))
"""


def start(study: str, folder: Path) -> subprocess.Popen:
    """The engine as a process that leads its own group."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(engine.ROOT), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-c", PROGRAM, study, str(folder)]
    return subprocess.Popen(line, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def below(pid: int) -> dict[int, str]:
    """Every process below one, with its command."""
    lines = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [(int(own), int(parent), command) for own, parent, command in (line.split(None, 2) for line in lines)]
    found, waiting = {}, [pid]
    while waiting:
        above = waiting.pop()
        for own, parent, command in rows:
            if parent == above and own not in found:
                found[own] = command
                waiting.append(own)
    return found


def strike(process: subprocess.Popen, victim: str) -> bool:
    """Kill; False where there was nothing of that kind to kill."""
    family = below(process.pid)
    if victim == "everything":
        targets = [process.pid, *family]
    else:
        targets = [pid for pid, command in family.items() if victim in command][:1]
    for pid in targets:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return bool(targets)


def interrupted(study: str, folder: Path, victim: str, seconds: float) -> int | None:
    """Start or go on, and kill after so many seconds; returns the exit code where the run ended before there was anything to kill."""
    process = start(study, folder)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        struck = strike(process, victim)
        code = process.wait()
        if struck:
            print(f"  {victim} killed after {seconds:.1f} s", flush=True)
            return None
        return code
    return process.returncode


def tables(study: str, folder: Path) -> dict[str, bytes]:
    """The record's tables, whose bytes depend on the measurements alone."""
    place = folder / grid.ROOT / "results" / study / "smoke"
    return {path.name: path.read_bytes() for path in sorted(place.glob("*.csv*"))}


def main() -> None:
    """Run both, print what was killed when, and end with 1 where the tables differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--study", default="tcis")
    parser.add_argument("--draw", type=int, default=0, help="number that the moments are drawn by")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        began = time.monotonic()
        if start(asked.study, folder / "whole").wait():
            sys.exit("error: the undisturbed run failed")
        whole = time.monotonic() - began
        print(f"undisturbed: {whole:.0f} s", flush=True)
        draw, done, rounds = random.Random(asked.draw), 0, 0
        first = tables(asked.study, folder / "whole")
        while done < asked.kills:
            rounds += 1
            place = folder / f"killed-{rounds}"
            while (code := interrupted(asked.study, place, VICTIMS[done % len(VICTIMS)], draw.uniform(0.01, 0.15) * whole)) is None:
                done += 1
                if done == asked.kills:
                    code = start(asked.study, place).wait()
                    break
            second = tables(asked.study, place)
            if code or not first or first != second:
                names = [name for name in first.keys() | second.keys() if first.get(name) != second.get(name)]
                sys.exit(f"error: after {done} kills a run ended with {code}; tables that differ: {', '.join(sorted(names)) or 'none'}")
        print(f"{done} kills in {rounds} grids, then the same {len(first)} tables to the last byte: {', '.join(first)}")


if __name__ == "__main__":
    main()
