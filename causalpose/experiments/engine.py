"""The engine in front of Snakemake: what to run, with how many processes, and what came of it (`causalpose ablate`).

Snakemake holds the order, the retries and the queue; a cell's result decides by itself whether it is finished (`experiments.grid`). So
nothing is lost when Snakemake, a cell or the machine is killed: the same command goes on.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from causalpose.data.files import replacing
from causalpose.errors import CausalPoseError
from causalpose.experiments.grid import Asked
from causalpose.experiments.jobs import Job, chosen, jobs

ROOT = Path(__file__).resolve().parents[2]
SNAKEFILE = ROOT / "ablations" / "Snakefile"

# The allocator is told to keep freed memory: with its defaults some runs spent a third of their time in the kernel.
_ALLOCATOR = "MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_TOP_PAD_=268435456 MALLOC_ARENA_MAX=1"
COMMAND = (
    "mkdir -p $(dirname {params.notebook}) && "
    f"OMP_NUM_THREADS={{threads}} {_ALLOCATOR} "
    f"{sys.executable} -m papermill {{params.template}} {{params.notebook}} -k python3 --no-progress-bar "
    "-b {params.parameters} > {log} 2>&1 || {{ tail -n 1 {log} >&2; exit 1; }}"
)


def asked_from(config: Mapping[str, object]) -> Asked:
    """What Snakemake's `--config` asks for; an unknown name is an error."""
    own = {"studies", "threads", "retries", "mem_mb", "root"}
    known = set(Asked.__dataclass_fields__)
    unknown = sorted(set(config) - own - known)
    if unknown:
        raise CausalPoseError(f"unknown setting {', '.join(unknown)}; known: {', '.join(sorted(own | known))}")
    values = {name: value for name, value in config.items() if name in known and value not in (None, "")}
    for name in ("seeds", "arms", "overrides", "backbones"):
        if name in values:
            parts = str(values[name]).replace(",", " ").split() if not isinstance(values[name], (list, tuple)) else values[name]
            values[name] = tuple(int(part) for part in parts) if name == "seeds" else tuple(map(str, parts))
    if "main" in values:
        values["main"] = str(values["main"]).lower() in ("true", "1", "yes")
    return Asked(**values)


def studies_from(config: Mapping[str, object]) -> tuple[str, ...]:
    """The studies that `--config studies=…` names; all by default."""
    names = str(config.get("studies") or "").replace(",", " ").split()
    return chosen(names)


def planned(config: Mapping[str, object]) -> list[Job]:
    """The jobs of a Snakemake configuration."""
    return jobs(studies_from(config), asked_from(config))


def minutes_allowed(job: Job, config: Mapping[str, object]) -> int:
    """The limit that a cluster is given for a cell: twenty times the forecast, an hour at least."""
    return max(60, round(20 * expected_minutes(job, asked_from(config))))


def expected_minutes(job: Job, asked: Asked) -> float:
    """The forecast for a cell on one idle core."""
    return asked.sizes.minutes.get(job.kind, 1.0)


def listing(config: Mapping[str, object], parallel: int, *, status: bool = False) -> str:
    """The cells with their state and the minutes that are left, in words."""
    asked, lines, left = asked_from(config), [], 0.0
    every = planned(config)
    for job in every:
        finished = (ROOT / job.done).is_file()
        minutes = 0.0 if finished else expected_minutes(job, asked)
        left += minutes
        lines.append(f"{'finished' if finished else 'to do':8s} {minutes:6.1f} min  {job.label}")
    done = sum(line.startswith("finished") for line in lines)
    total = f"{done} of {len(every)} cells finished; about {left:.0f} minutes on one core, {left / parallel:.0f} with {parallel} at once"
    return total if status else "\n".join([*lines, total])


def run(config: Mapping[str, object], *, jobs: int, arguments: Sequence[str] = (), folder: Path = ROOT) -> int:
    """Run the grid; returns Snakemake's exit code. Records of finished studies are published, whatever became of the others."""
    given = [f"{name}={value}" for name, value in config.items() if value not in (None, "", ())]
    threads = int(config.get("threads", 1))
    command = [
        sys.executable, "-m", "snakemake", "-s", str(SNAKEFILE), "--cores", str(jobs * threads), "--keep-going", "--rerun-incomplete",
        "--nolock", "--rerun-triggers", "input", "--quiet", "--config", *given, *arguments,
    ]  # fmt: skip
    code = subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": _path()}, stdin=subprocess.DEVNULL).returncode
    for place in publish(config, folder):
        print(f"record: {place}")
    return code


def publish(config: Mapping[str, object], folder: Path = ROOT) -> list[Path]:
    """Copy the records of finished studies to where they are read from: `ablations/results` for the scales whose numbers count."""
    asked = asked_from(config)
    results = folder / ("runs/ablations/results" if asked.scale == "smoke" else "ablations/results")
    places = []
    for job in planned(config):
        source = (folder / job.done).parent
        if job.kind != "study" or not (folder / job.done).is_file():
            continue
        target = results / job.template / asked.scale
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.iterdir(), key=lambda path: path.name == "provenance.json"):
            if path.is_file() and not path.name.startswith("."):
                with replacing(target / path.name) as temporary:
                    shutil.copyfile(path, temporary)
        places.append(target.relative_to(folder))
    return places


def _path() -> str:
    """The package that runs here is the one that the cells import."""
    return os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
