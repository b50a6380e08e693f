"""`make verify-results`: draw one cell of a recorded study, run it again at full length, and hold it against the record.

    python tools/verify_results.py [--study NAME] [--scale book] [--draw NUMBER] [--folder FOLDER]

The drawn cell is trained and tested from nothing but the shipped backbone, in a folder of its own, with the parameters that the record's
provenance names. On the same machine with the same code and versions the counts of every clip agree. Elsewhere they need not, so the
verdict is statistical: the two runs' scores, paired clip by clip, may differ by no more than two runs with other seeds do.
"""

import argparse
import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd

from causalpose.errors import CausalPoseError
from causalpose.experiments import grid, records
from causalpose.experiments.arms import STUDIES
from causalpose.experiments.cells import evaluate
from causalpose.experiments.comparisons import clip_scores
from causalpose.experiments.protocol import Protocol
from causalpose.experiments.provenance import source_hash

RESULTS = Path(__file__).resolve().parent.parent / "ablations" / "results"
FLOOR = 1.0  # points of PCK@0.2 that runs on two machines may differ by, where the record's seeds differ by less


def recorded(results: Path, scale: str) -> list[str]:
    """The studies that have a record of trained arms."""
    return [name for name in STUDIES if records.finished(results / name / scale)]


def asked_again(facts: dict) -> grid.Asked:
    """What the record asked for, from its provenance."""
    known = {name: value for name, value in facts["parameters"].items() if name in grid.Asked.__dataclass_fields__}
    return grid.Asked(**{name: tuple(value) if isinstance(value, list) else value for name, value in known.items()})


def protocol(facts: dict) -> Protocol:
    """How the record's models were tested: today's scale may know more conditions than the record's did."""
    return Protocol(**{name: tuple(value) if isinstance(value, list) else value for name, value in facts["protocol"].items()})


def verify(results: Path, name: str, scale: str, draw: random.Random, folder: Path) -> tuple[str, bool]:
    """Run a drawn cell of a study again; returns the verdict in words, and whether it agrees."""
    record = records.read(results / name / scale)
    (facts,) = record.provenance
    entries = facts["entries"]
    chosen = draw.choice([entry for entry in entries if STUDIES[name].arm(entry["variant"]).trained])
    backbone = chosen["backbone"]
    asked = replace(asked_again(facts), seeds=(chosen["seed"],), arms=(chosen["variant"],), main=False)
    if "trained by the grid" not in backbone:
        asked = replace(asked, backbones=(backbone,))
    print(f"{name}, arm {chosen['variant']}, seed {chosen['seed']}, backbone {backbone}: running at full length", flush=True)
    (entry,) = [entry for entry in grid.entries(name, asked) if entry.arm.name == chosen["variant"]]
    again = evaluate(replace(entry.evaluation, protocol=protocol(facts)), folder).measured.clips.assign(
        variant="again", seed=chosen["seed"]
    )
    rows = record.clips
    before = rows[(rows["variant"] == chosen["variant"]) & (rows["seed"] == chosen["seed"])]
    allowed = max(FLOOR, seed_spread(rows, chosen["variant"]))
    return compare(before.assign(variant="record"), again, allowed, facts["source_hash"])


def seed_spread(clips: pd.DataFrame, variant: str) -> float:
    """The largest difference between two seeds of the record, in points of PCK@0.2 over all conditions."""
    means = clip_scores(clips, variant).mean(axis=1)
    return float(means.max() - means.min())


def compare(before: pd.DataFrame, again: pd.DataFrame, allowed: float, recorded_by: str) -> tuple[str, bool]:
    """The verdict on two runs of one cell."""
    keys = ["dataset", "condition", "clip"]
    counts = [name for name in before if "right" in name or name in ("counted", "visible")]
    left, right = (frame.set_index(keys)[counts].sort_index() for frame in (before, again))
    if not left.index.equals(right.index):
        return "the tests hold different clips", False
    if left.astype(int).equals(right.astype(int)):
        return f"identical: the counts of all {len(left)} clips agree", True
    both = pd.concat([before, again], ignore_index=True)
    difference = float(clip_scores(both, "again").mean(axis=1).iloc[0] - clip_scores(both, "record").mean(axis=1).iloc[0])
    differing = int((left.astype(int) != right.astype(int)).any(axis=1).sum())
    code = "the same code" if source_hash() == recorded_by else "other code than the record's"
    agrees = abs(difference) <= allowed
    verdict = "agrees" if agrees else "DISAGREES"
    return (
        f"{verdict}: {difference:+.2f} points of PCK@0.2 (allowed {allowed:.2f}); {differing} of {len(left)} clips differ; {code}",
        agrees,
    )


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--study", choices=STUDIES, help="draw from this study (all recorded ones)")
    reader.add_argument("--scale", default="book")
    reader.add_argument("--draw", type=int, help="number that decides the draw (by the clock)")
    reader.add_argument("--results", type=Path, default=RESULTS)
    reader.add_argument("--folder", type=Path, help="folder of the run; kept (a temporary one)")
    given = reader.parse_args(arguments)
    draw = random.Random(given.draw)
    try:
        names = [given.study] if given.study else recorded(given.results, given.scale)
        if not names:
            raise CausalPoseError(f"{given.results} holds no record of a study at scale {given.scale}; make ablations SCALE={given.scale}")
        with tempfile.TemporaryDirectory() as temporary:
            words, agrees = verify(given.results, draw.choice(names), given.scale, draw, given.folder or Path(temporary))
    except CausalPoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(words)
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
