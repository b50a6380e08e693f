"""The engine in front of Snakemake: what to run, with how many processes, and what came of it (`causalpose ablate`).

Snakemake holds the order, the retries and the queue; a cell's result decides by itself whether it is finished (`experiments.grid`). So
nothing is lost when Snakemake, a cell or the machine is killed: the same command goes on.
"""

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tqdm import tqdm

from causalpose.data.files import replacing
from causalpose.errors import CausalPoseError
from causalpose.experiments import grid
from causalpose.experiments.grid import Asked
from causalpose.experiments.jobs import Job, chosen, jobs

try:
    import fcntl
except ImportError:  # not on Windows, where two runs at once are not noticed
    fcntl = None

ROOT = Path(__file__).resolve().parents[2]
SNAKEFILE = ROOT / "ablations" / "Snakefile"
RESULTS = Path("ablations/results")

# Settings of the engine's own, beside those of `grid.Asked`.
_OWN = {"studies", "threads", "slots", "retries", "mem_mb", "root"}
_LISTS = ("seeds", "arms", "overrides", "backbones")
# The allocator is told to keep freed memory: with its defaults some runs spent a third of their time in the kernel.
_ALLOCATOR = "MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_TOP_PAD_=268435456 MALLOC_ARENA_MAX=1"


def command(config: Mapping[str, object]) -> str:
    """The shell command of a cell: its notebook through papermill, in a process of its own, its words in a log of its own."""
    python, slots = shlex.quote(sys.executable), config.get("slots")
    waiting = f"{python} -m causalpose.experiments.slots {slots} {grid.ROOT / '.slots'} " if slots else ""
    return (
        f"mkdir -p $(dirname {{params.notebook}}) && export PYTHONPATH={shlex.quote(_path())} OMP_NUM_THREADS={{threads}} {_ALLOCATOR} && "
        f"{waiting}{python} -m papermill {{params.template:q}} {{params.notebook:q}} -k python3 --no-progress-bar "
        "-b {params.parameters} > {log:q} 2>&1"
    )


def asked_from(config: Mapping[str, object]) -> Asked:
    """What a Snakemake configuration asks for; an unknown name is an error."""
    known = set(Asked.__dataclass_fields__)
    unknown = sorted(set(config) - _OWN - known)
    if unknown:
        raise CausalPoseError(f"unknown setting {', '.join(unknown)}; known: {', '.join(sorted(_OWN | known))}")
    values = {name: value for name, value in config.items() if name in known and value not in (None, "", [], ())}
    for name in values.keys() & set(_LISTS):
        parts = values[name]
        parts = str(parts).replace(",", " ").split() if not isinstance(parts, (list, tuple)) else parts
        try:
            values[name] = tuple(int(part) if name == "seeds" else str(part) for part in parts)
        except ValueError:
            raise CausalPoseError(f'{name} = {config[name]!r} must be whole numbers, such as "0,1,2"') from None
    if "main" in values:
        values["main"] = str(values["main"]).lower() in ("true", "1", "yes")
    if any(seed < 0 for seed in values.get("seeds", ())):
        raise CausalPoseError(f"seeds = {config['seeds']} must not be negative")
    for name in ("steps", "batch", "clips", "test_clips"):
        if name in values:
            try:
                values[name] = int(values[name])
            except (TypeError, ValueError):
                raise CausalPoseError(f"{name} = {config[name]!r} must be a whole number") from None
            if values[name] < 1:
                raise CausalPoseError(f"{name} = {values[name]} must be at least 1")
    return Asked(**values)


def planned(config: Mapping[str, object]) -> list[Job]:
    """The jobs of a Snakemake configuration."""
    names = config.get("studies") or ()
    names = names.replace(",", " ").split() if isinstance(names, str) else names
    return jobs(chosen(names), asked_from(config))


@dataclass(frozen=True)
class Forecast:
    """Minutes of a cell on one core by its kind and work: those of the finished cells here (their median), else the scale's table."""

    seen: dict[str, float]
    table: dict[str, float]

    @classmethod
    def of(cls, every: Sequence[Job], asked: Asked, folder: Path = ROOT) -> "Forecast":
        """From the finished cells among the jobs."""
        seconds: dict[str, list[float]] = {}
        for job in every:
            if job.kind != "study" and (folder / job.done).is_file():
                try:
                    taken = json.loads((folder / job.done).read_text(encoding="utf-8"))["seconds"]
                    seconds.setdefault(job.kind, []).append(taken / job.work)
                except (ValueError, KeyError):
                    continue
        # A process starts, imports and ends beside what it counts.
        return cls({kind: (statistics.median(found) + 10) / 60 for kind, found in seconds.items()}, asked.sizes.minutes)

    def minutes(self, job: Job) -> float:
        """Of one cell."""
        return job.work * self.seen.get(job.kind, self.table.get(job.kind, 1.0))


@lru_cache(maxsize=1)
def _forecast(scale: str) -> Forecast:
    return Forecast({}, Asked(scale).sizes.minutes)


def minutes_allowed(job: Job, config: Mapping[str, object]) -> int:
    """The limit that a cluster is given for a cell: twenty times the forecast, an hour at least."""
    return max(60, round(20 * _forecast(asked_from(config).scale).minutes(job)))


def listing(config: Mapping[str, object], parallel: int, *, brief: bool = False, folder: Path = ROOT) -> str:
    """The cells with their state and the minutes that are left, in words; `brief`: counts by kind."""
    every = planned(config)
    forecast = Forecast.of(every, asked_from(config), folder)
    done = {job.name for job in every if (folder / job.done).is_file()}
    left = sum(forecast.minutes(job) for job in every if job.name not in done)
    if brief:
        lines = []
        for kind in dict.fromkeys(job.kind for job in every):
            names = [job.name for job in every if job.kind == kind]
            lines.append(f"{kind:10s} {sum(name in done for name in names):4d} of {len(names)} finished")
    else:
        states = {job.name: "finished" if job.name in done else f"{forecast.minutes(job):.1f} min" for job in every}
        lines = [f"{states[job.name]:>10s}  {job.label}" for job in every]
    total = f"{len(done)} of {len(every)} cells are finished"
    if left:
        total += f"; the others take about {left:.0f} minutes on one core, {left / parallel:.0f} with {parallel} at once"
    return "\n".join([*lines, total])


def run(config: Mapping[str, object], *, parallel: int, folder: Path = ROOT, arguments: Sequence[str] = (), progress: bool = True) -> int:
    """Run the grid in `folder`; returns 0 when every cell is finished.

    parallel    cells at once
    arguments   handed to Snakemake, after everything else
    """
    every, scale = planned(config), asked_from(config).scale
    place = folder / grid.ROOT / scale
    place.mkdir(parents=True, exist_ok=True)
    waiting = [job for job in every if not (folder / job.done).is_file()]
    began = time.time()
    if waiting:
        with _alone(folder / grid.ROOT) as lock:
            _snakemake(config, every, parallel, folder, place, arguments, progress, lock)
    failed = [job for job in waiting if not (folder / job.done).is_file()]
    for record in publish(every, scale, folder):
        print(f"record: {record}")
    for line in _faults(failed, folder, scale, began):
        print(line, file=sys.stderr)
    if not waiting:
        print(f"all {len(every)} cells are finished; nothing to do")
    return 1 if failed else 0


def _snakemake(config, every, parallel, folder, place, arguments, progress, lock) -> None:
    threads = int(config.get("threads") or 1)
    settings = place / "grid.json"
    with replacing(settings) as temporary:
        given = {name: value for name, value in config.items() if value not in (None, "", ())}
        given |= {"root": str(folder.resolve())} | ({} if arguments else {"slots": parallel})  # a profile may send cells elsewhere
        temporary.write_text(json.dumps(given), encoding="utf-8")
    # The greedy scheduler needs no solver in a process of its own.
    # What is there is whole, for every cell writes its last file in one step: Snakemake's own marks of half-done files and its lock, which
    # a kill leaves behind, have nothing to add.
    line = [
        sys.executable, "-m", "snakemake", "-s", str(SNAKEFILE), "--directory", str(folder), "--cores", str(parallel * threads),
        "--scheduler", "greedy", "--keep-going", "--ignore-incomplete", "--nolock", "--rerun-triggers", "input",
        "--configfile", str(settings), *arguments,
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": _path()}
    log = place / "snakemake.log"
    with open(log, "w") as words, _bar(every, folder, progress) as refresh:
        handle = () if lock is None else (lock.fileno(),)
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=words, stderr=words, env=environment, pass_fds=handle)
        try:
            while process.poll() is None:
                refresh()
                time.sleep(0.5)
        except KeyboardInterrupt:
            process.terminate()  # Snakemake lets running cells end or ends them, and leaves
            process.wait()
            raise
        refresh()
    if process.returncode and not any((place / "logs").glob("*.log")):  # it failed before any cell began
        print(log.read_text()[-2000:], file=sys.stderr)


@contextmanager
def _bar(every: Sequence[Job], folder: Path, progress: bool) -> Iterator:
    """A bar of finished cells, by the files that say so."""
    open_jobs = {job.name: job for job in every if not (folder / job.done).is_file()}
    with tqdm(total=len(every), initial=len(every) - len(open_jobs), unit="cell", disable=not progress, smoothing=0.1) as bar:

        def refresh() -> None:
            for name, job in list(open_jobs.items()):
                if (folder / job.done).is_file():
                    del open_jobs[name]
                    bar.set_postfix_str(job.label)
                    bar.update()

        yield refresh


@contextmanager
def _alone(place: Path) -> Iterator:
    """One run of the grid a folder. The lock goes on to Snakemake, and ends with the last process that has it."""
    with open(place / ".lock", "a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise CausalPoseError(f"the grid is running already in {place}; wait until it has ended, or end it") from None
        yield file


def publish(every: Sequence[Job], scale: str, folder: Path = ROOT) -> list[Path]:
    """Copy the records of finished studies to where the book reads them, `ablations/results`.

    Those of scale smoke stay in `runs`, and so does one that would replace a fuller record: a run with fewer arms or seeds, or of other
    sizes, is a look at the matter and no new record.
    """
    places = []
    for job in every:
        source = (folder / job.done).parent
        if job.kind != "study" or not (folder / job.done).is_file():
            continue
        record = RESULTS / job.template / scale
        aside = scale == "smoke" or lesser(source / "provenance.json", folder / record / "provenance.json")
        target = folder / (grid.ROOT / "results" / job.template / scale if aside else record)
        if not _same(source / "provenance.json", target / "provenance.json"):
            for path in sorted(source.iterdir(), key=lambda path: path.name == "provenance.json"):
                if path.is_file() and not path.name.startswith("."):
                    with replacing(target / path.name) as temporary:
                        shutil.copyfile(path, temporary)
        places.append(target.relative_to(folder))
    return places


# What may differ between a record and the run that replaces it, if that holds all of its arms and seeds.
_FREE = {"seeds", "arms", "main", "out", "results", "cell"}


def lesser(run: Path, record: Path) -> bool:
    """Whether a study's run, by its provenance, holds less than the record that is there, or was asked for other sizes or data."""
    if not record.is_file():
        return False
    try:
        (held, asked), (held_before, asked_before) = (_extent(json.loads(path.read_text(encoding="utf-8"))) for path in (run, record))
    except (ValueError, KeyError, TypeError):
        return False  # what is there is no record of a study
    return not held_before <= held or asked != asked_before


def _extent(facts: dict) -> tuple[set, dict]:
    """What a record holds, and the sizes and data that it was asked for."""
    if "entries" in facts:
        parameters = {name: value for name, value in facts["parameters"].items() if name not in _FREE}
        return {(entry["variant"], entry["seed"]) for entry in facts["entries"]}, parameters
    # A study of tasks: each is a part on a model and some clips.
    held = {(task["part"], task["arm"], task["seed"], clip) for task in facts["tasks"] for clip in task["clips"]}
    return held, {name: facts["sizes"][name] for name in ("training", "question")}


def _same(left: Path, right: Path) -> bool:
    return right.is_file() and left.read_bytes() == right.read_bytes()


def _faults(failed: Sequence[Job], folder: Path, scale: str, began: float) -> list[str]:
    """What failed, by name, with the last line of its words; the cells that only wait for one of them are counted."""
    lines, blocked = [], Counter()
    for job in failed:
        log = folder / grid.ROOT / scale / "logs" / f"{job.name}.log"
        if log.is_file() and log.stat().st_mtime >= began:
            words = log.read_text(errors="replace").strip().splitlines()
            notebook = grid.ROOT / scale / "notebooks" / f"{job.name}.ipynb"
            lines.append(f"failed: {job.label}: {words[-1].strip() if words else 'without a word'} (see {notebook})")
        else:
            blocked[job.kind] += 1
    if blocked:
        counts = ", ".join(f"{number} {kind}" for kind, number in blocked.items())
        lines.append(f"not run, for what they need is missing: {counts}; the engine's own words: {grid.ROOT / scale / 'snakemake.log'}")
    return lines


def _path() -> str:
    """The package that runs here is the one that the cells import."""
    return os.pathsep.join(dict.fromkeys(part for part in (str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)) if part))
