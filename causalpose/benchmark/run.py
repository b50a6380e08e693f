"""All benchmarks under one roof: `run` measures the wanted sections, `record` keeps what was found, `read` gives it back.

The record is a folder: `results.csv`, tidy rows of `COLUMNS`; `cost.csv`, the table of costs on paper; `provenance.json`, the machine, the
code, what each section took and why a section is missing, and the hash of each file. A section recorded again replaces its own rows only,
and `merge` brings in sections that were recorded in a folder of their own.
"""

import importlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from tqdm.auto import tqdm

from causalpose.benchmark.timing import COLUMNS
from causalpose.data.files import read_json, replacing
from causalpose.errors import CausalPoseError
from causalpose.experiments.provenance import file_hash, here
from causalpose.training.memory import keep_large_blocks

RESULTS, COST, PROVENANCE = "results.csv", "cost.csv", "provenance.json"


@dataclass(frozen=True)
class Section:
    """One benchmark: what it measures, its function, and settings of the short form. `tells`: its function takes `progress`, called with
    the name of what runs. `threads`: those that it takes whatever was asked for; None: as asked for."""

    about: str
    module: str
    function: str
    quick: dict = field(default_factory=dict)
    full: dict = field(default_factory=dict)
    tells: bool = True
    threads: int | None = None

    def run(self, quick: bool, progress: Callable[[str], None] | None) -> pd.DataFrame:
        """The section's rows."""
        function = getattr(importlib.import_module(f"causalpose.benchmark.{self.module}"), self.function)
        return function(**(self.quick if quick else self.full), **({"progress": progress} if self.tells else {}))


_TINY = {"name": "tiny", "frames": None, "turns": 1}
SECTIONS: dict[str, Section] = {
    "stage-2": Section("causal and merged tokens against all, and where the time goes", "model", "stage2_benchmark", _TINY),
    "reuse": Section("a video's frames through the backbone once", "model", "reuse_benchmark", _TINY),
    "vitpose": Section(
        "backbone and head against Hugging Face's VitPose", "vitpose", "vitpose_benchmark",
        {"name": "small", "depth": 1, "images": 1, "turns": 1},
    ),
    "training": Section(
        "training steps against plain nn.TransformerEncoders", "training", "training_benchmark", {"cases": (("tiny", 2),), "turns": 1}
    ),
    "choices": Section(
        "written-out attention, and the allocator's settings", "training", "choices_benchmark",
        {"width": 64, "heads": 2, "images": 1, "tokens": 16, "steps": 1, "rounds": 1, "turns": 1},
    ),
    "clustering": Section(
        "DPC-kNN against its plain form, and its growth", "clustering", "clustering_benchmark",
        {"batch": 1, "tokens": 64, "width": 32, "count": 8, "growth": (64, 128), "turns": 1},
    ),
    "peak": Section(
        "share of the matrix-multiply peak", "peak", "peak_benchmark", {"name": "tiny", "matrices": (128, 256), "turns": 1}
    ),
    "mcl": Section(
        "stage 1's parts, in one thread", "mcl", "mcl_benchmark",
        {"batch": 2, "turns": 1, "overrides": ("model.height=32", "model.width=24")}, tells=False, threads=1,
    ),
    "crops": Section(
        "person crops cut out of JPEG frames", "crops", "crops_benchmark",
        {"images": 6, "persons": 2, "frames": 3, "height": 64, "width": 48, "batch": 2, "turns": 1}, tells=False, threads=1,
    ),
    "evaluation": Section(
        "PoseTrack AP", "evaluation", "evaluation_benchmark",
        {"sequences": 2, "frames": 4, "compared": 1, "turns": 1}, tells=False, threads=1,
    ),
    "scenes": Section(
        "rendering of scenes", "scenes", "scenes_benchmark", {"sizes": ((32, 24),), "clips": 4, "repeats": 1}, tells=False, threads=1
    ),
}  # fmt: skip
PAPER = "cost"  # on paper: no time is taken, so it has a table of its own
NAMES = (PAPER, *SECTIONS)
PAPER_QUICK = {"presets": ("tiny",), "frames": (3,), "keep_rates": (0.3,), "sizes": ((64, 48),)}

# Kept for each section by itself: another one may have been measured on another day, by other code.
_OF_A_SECTION = ("date", "commit", "uncommitted_changes", "source_hash")

# What was aimed for, as bounds of a row's ratio or (for shares) value: (section, start of the case, quantity) -> (column, at least).
AIMS: dict[tuple[str, str, str], tuple[str, float]] = {
    ("stage-2", "base", "blocks"): ("ratio", 3.0),
    ("vitpose", "ViTPose-base", "backbone and head"): ("ratio", 1.0),
    ("training", "tiny", "step, clean branch"): ("ratio", 1 / 1.1),
    ("training", "tiny", "step, three branches"): ("ratio", 1 / 2.2),
    ("training", "base", "step, clean branch"): ("ratio", 1 / 1.1),
    ("training", "base", "step, three branches"): ("ratio", 1 / 2.2),
    ("peak", "base", "forward, share of the peak"): ("value", 70.0),
    ("peak", "base", "training, share of the peak"): ("value", 60.0),
}
CLUSTERING_AIM_MS = 4.0  # a clip of 672 tokens of 768: at most


@dataclass(frozen=True)
class Bench:
    """What was found: rows, costs on paper (None where not asked for), reasons of missing sections, seconds by section."""

    results: pd.DataFrame
    cost: pd.DataFrame | None
    missing: dict[str, str]
    seconds: dict[str, float]


def run(sections: Sequence[str] = NAMES, *, quick: bool = False, progress: bool = False) -> Bench:
    """Measure the named sections; one that fails is named in `missing` with its reason, and the others go on.

    quick   tiny sizes: shows that everything runs, and its numbers mean nothing
    """
    unknown = [name for name in sections if name not in NAMES]
    if unknown:
        raise CausalPoseError(f"unknown section {unknown[0]!r}; sections: {', '.join(NAMES)}")
    # As training and `predict` do, and for the references as well; here, so that a section does not depend on the one before it.
    keep_large_blocks()
    parts, cost, missing, seconds = [], None, {}, {}
    with tqdm(list(dict.fromkeys(sections)), desc="bench", unit="section", disable=not progress) as bar:
        for name in bar:
            began = time.perf_counter()
            bar.set_description(name)
            try:
                if name == PAPER:
                    from causalpose.benchmark.cost import cost_table

                    cost = cost_table(**(PAPER_QUICK if quick else {}), progress=progress)
                else:
                    rows = SECTIONS[name].run(quick, lambda text, bar=bar: bar.set_postfix_str(text))
                    # A benchmark of several parts names them in its rows; here the section is what was asked for.
                    inner = rows["section"] != name
                    parts.append(rows.assign(section=name, case=rows["case"].where(~inner, rows["section"] + ": " + rows["case"])))
            except Exception as error:  # a benchmark of one part must not cost the results of the others
                missing[name] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            bar.set_postfix_str("")
            seconds[name] = round(time.perf_counter() - began, 1)
    results = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    return Bench(results, cost, missing, seconds)


def with_aims(results: pd.DataFrame) -> pd.DataFrame:
    """The rows with two more columns: `aim` in words, empty where there is none, and whether it was `met` (None without)."""
    aims, met = [], []
    for line in results.itertuples():
        found = next(
            (bound for (section, case, what), bound in AIMS.items()
             if (section, what) == (line.section, line.quantity) and line.case.startswith(case)), None,
        )  # fmt: skip
        if found:
            column, least = found
            aims.append(f"≥ {least:.2g}x" if column == "ratio" else f"≥ {least:g} %")
            met.append(getattr(line, column) >= least)
        elif line.section == "clustering" and line.case.endswith("x 672 tokens of 768") and line.unit == "ms":
            aims.append(f"< {CLUSTERING_AIM_MS:g} ms")
            met.append(line.value < CLUSTERING_AIM_MS)
        else:
            aims.append("")
            met.append(None)
    return results.assign(aim=aims, met=pd.Series(met, dtype=object, index=results.index))


def document(bench: Bench) -> dict:
    """Everything as JSON: results, costs, missing sections, seconds, machine."""

    def rows(frame: pd.DataFrame | None) -> list[dict]:
        return [] if frame is None else json.loads(frame.to_json(orient="records"))

    return {
        "results": rows(bench.results), "cost": rows(bench.cost), "missing": bench.missing, "seconds": bench.seconds, "provenance": here(),
    }  # fmt: skip


def record(bench: Bench, folder: Path | str) -> Path:
    """Write a record, or into the one that is there: sections measured now replace their rows. Returns the folder."""
    facts, sections = here(), {}
    for name, seconds in bench.seconds.items():
        threads = name in SECTIONS and SECTIONS[name].threads or torch.get_num_threads()
        entry = {"seconds": seconds, "threads": threads, **{key: facts[key] for key in _OF_A_SECTION}}
        entry |= {"processor": facts["machine"]["processor"], "torch": facts["versions"]["torch"]}
        sections[name] = entry | ({"missing": bench.missing[name]} if name in bench.missing else {})
    return _write(Path(folder), bench.results, bench.cost, {"sections": sections, **facts})


def merge(folder: Path | str, other: Path | str) -> Path:
    """The sections of another record into this one, each with the provenance that it has there. Returns the folder."""
    found = read(other)
    return _write(Path(folder), found.results, found.cost, found.provenance)


def _write(folder: Path, results: pd.DataFrame, cost: pd.DataFrame | None, provenance: dict) -> Path:
    """Replace the rows of the sections that `provenance` names; what is said once for all is the provenance's."""
    sections = provenance["sections"]
    if (folder / PROVENANCE).is_file():
        before = read(folder)
        old = before.results[~before.results["section"].isin(list(sections))]
        results = pd.concat([old, results], ignore_index=True) if len(old) and len(results) else (old if len(old) else results)
        cost = before.cost if cost is None else cost
        sections = before.provenance["sections"] | sections
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / RESULTS) as temporary:
        results.to_csv(temporary, index=False, float_format="%.6g")
    if cost is not None:
        with replacing(folder / COST) as temporary:
            cost.to_csv(temporary, index=False, float_format="%.6g")
    files = {name: file_hash(folder / name) for name in (RESULTS, COST) if (folder / name).is_file()}
    with replacing(folder / PROVENANCE) as temporary:
        text = json.dumps({**provenance, "sections": sections, "files": files}, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Recorded:
    """A record as read: rows, costs on paper (None where there are none), provenance."""

    results: pd.DataFrame
    cost: pd.DataFrame | None
    provenance: dict


def read(folder: Path | str) -> Recorded:
    """The record in a folder. Refused: no record, or a file that is not what its provenance says."""
    folder = Path(folder)
    if not (folder / PROVENANCE).is_file():
        raise CausalPoseError(f"{folder} holds no record of the benchmarks; run `causalpose bench --record`")
    provenance = read_json(folder / PROVENANCE)
    for name, expected in provenance["files"].items():
        if not (folder / name).is_file() or file_hash(folder / name) != expected:
            raise CausalPoseError(f"{folder / name} is not what {PROVENANCE} recorded; run `causalpose bench --record` again")
    cost = pd.read_csv(folder / COST) if COST in provenance["files"] else None
    results = pd.read_csv(folder / RESULTS, keep_default_na=False, na_values={name: [""] for name in ("value", "reference", "ratio")})
    return Recorded(results, cost, provenance)
