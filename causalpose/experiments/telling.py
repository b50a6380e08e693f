"""A recorded study in the words and tables of a page: one comparison looked up, a difference with its interval, the design, a dial.

The words follow the record. A page that asks for a comparison which is not there is told so, and one that needs a record which may be
absent asks `found` first.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from causalpose.config import override, preset
from causalpose.errors import CausalPoseError
from causalpose.evaluation.statistics import distinguishable, telling_digits
from causalpose.experiments import records
from causalpose.experiments.arms import CLUSTERING, STUDIES, TCIS
from causalpose.experiments.comparisons import clip_scores
from causalpose.experiments.quoting import quoted, shown
from causalpose.model.selection import kept_tokens

DIAL_COLUMNS = ("series", "setting", "variant", "seed", "score")


def found(folder: Path | str) -> records.Record | None:
    """The record in a folder, or None where there is none; one that was cut short, edited or mixed is still an error."""
    return records.read(folder) if any(Path(folder).rglob(records.PROVENANCE)) else None


def comparison(compared: pd.DataFrame, variant: str, condition: str = "all", metric: str = "PCK@0.2") -> pd.Series:
    """The recorded comparison of one arm with its reference."""
    arm = compared[compared["variant"] == variant]
    rows = arm[(arm["condition"] == condition) & (arm["metric"] == metric)]
    if len(rows) != 1:
        raise CausalPoseError(
            f"{len(rows)} comparisons of arm {variant!r} under {condition!r} on {metric!r}; arms: {', '.join(compared['variant'].unique())}"
        )
    return rows.iloc[0]


def verdict(row: pd.Series) -> str:
    """The only three things that an interval allows: `better`, `worse`, `not distinguishable`."""
    if not distinguishable(row.low, row.high):
        return "not distinguishable"
    return "better" if row["mean"] > 0 else "worse"


def figures(row: pd.Series) -> str:
    """`+0.4 [0.1, 0.8]`: a difference in points with its 95 % interval; a row of a recorded study is quoted (`experiments.quoting`)."""
    low, high = (_number(row, column, f".{telling_digits(row[column])}f") for column in ("low", "high"))
    return f"{_number(row, 'mean', '+.1f')} [{low}, {high}]"


def _number(row: pd.Series, column: str, form: str) -> str:
    if "study" not in row:
        return shown(row[column], form)
    where = {name: row[name] for name in ("dataset", "condition", "metric", "variant", "against")}
    place = f"{row['study']}/book" if row["study"] in STUDIES else row["study"]  # a study of the grid has a record for each scale
    return quoted(f"{place}/{records.COMPARISONS}", where, column, row[column], form)


def told(row: pd.Series) -> str:
    """A difference with its interval and what may be said of it: nothing seen, and how much would have been; seen; seen even after Holm."""
    if verdict(row) == "not distinguishable":
        size = row.get("detectable", float("nan"))
        return f"{figures(row)}, not distinguishable" + (
            "" if np.isnan(size) else f" ({_number(row, 'detectable', '.1f')} would have shown)"
        )
    return f"{figures(row)}, {verdict(row)}" + ("" if row.p_holm < 0.05 else " by its own interval, not after Holm")


def listed(compared: pd.DataFrame, arms: Mapping[str, str], condition: str = "all", metric: str = "PCK@0.2") -> str:
    """A Markdown list: what each arm means and its difference; arms that the record does not hold are named at the end."""
    present = [name for name in arms if (compared["variant"] == name).any()]
    lines = []
    for name in present:
        row = comparison(compared, name, condition, metric)
        lines.append(f"- {arms[name]} (`{name}` minus `{row.against}`): {told(row)}.")
    missing = [name for name in arms if name not in present]
    if missing:
        lines.append(f"- Not in this record: {', '.join(f'`{name}`' for name in missing)}.")
    return "\n".join(lines)


def table(compared: pd.DataFrame, arms: Sequence[str] | None = None, metric: str = "PCK@0.2") -> str:
    """A Markdown table of differences in points, a row an arm and a column a condition, bold where the interval leaves zero out."""
    rows = compared[compared["metric"] == metric]
    rows = rows if arms is None else rows[rows["variant"].isin(list(arms))]
    if rows.empty:
        raise CausalPoseError(f"no comparison on {metric!r} of {'any arm' if arms is None else ', '.join(arms)}")
    conditions, pairs = list(dict.fromkeys(rows["condition"])), list(dict.fromkeys(zip(rows["variant"], rows["against"], strict=True)))
    lines = ["| difference | " + " | ".join(name.replace("_", " ") for name in conditions) + " |", "| --- |" + " --- |" * len(conditions)]
    for variant, against in pairs:
        cells = []
        for condition in conditions:
            here = rows[(rows["variant"] == variant) & (rows["condition"] == condition)]
            text = figures(here.iloc[0]) if len(here) else ""
            cells.append(f"**{text}**" if len(here) and verdict(here.iloc[0]) != "not distinguishable" else text)
        lines.append(f"| `{variant}` − `{against}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def design(record: records.Record) -> str:
    """What stands behind the numbers: arms, seeds, backbones, clips, conditions, protocol, scale and source."""
    facts = record.provenance[0]
    trained = record.results.groupby("variant")["seed"].nunique()
    clips = record.clips.groupby(["variant", "seed", "condition"]).size()
    conditions = list(dict.fromkeys(record.clips["condition"]))
    backbones = {entry["backbone"] for entry in facts.get("entries", ()) if "backbone" in entry}
    return (
        f"{len(trained)} arms, {_count(trained.max(), 'training seed')}"
        + (f" on {_count(len(backbones), 'pretrained backbone')}" if backbones else "")
        + f", {_count(clips.max(), 'held-out clip')} under each of {_count(len(conditions), 'condition')} "
        f"({', '.join(name.replace('_', ' ') for name in conditions)}), true boxes, torso scale; the same clips and seeds in all arms. "
        f"Recorded at scale `{facts.get('scale', 'book')}` from source `{facts['source_hash'][:12]}`."
    )


def minutes(record: records.Record) -> dict[str, float]:
    """Minutes of training behind each arm, the mean over its seeds: its own and those of the stages below that the grid trained for it.

    Arms that were not trained are left out.
    """
    facts = record.provenance[0]
    cells = {cell["key"]: cell for cell in facts["cells"]}
    taken: dict[str, list[float]] = {}
    for entry in facts["entries"]:
        cell, seconds = cells.get(cells[entry["evaluation"]]["weights"]["key"]), 0.0
        while cell is not None:
            seconds, below = seconds + cell["seconds"], cell["init"]
            cell = None if below is None else cells.get(below["key"])
        if seconds:
            taken.setdefault(entry["variant"], []).append(seconds / 60)
    return {name: sum(values) / len(values) for name, values in taken.items()}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def kept_shares() -> dict[str, dict[float, str]]:
    """TCIS by its dial: selector -> share ρ of tokens kept -> the arm; with everything kept both selectors are the arm `all`."""
    base = override(preset("tiny", ["model.stage=2"]), TCIS.baseline)
    out: dict[str, dict[float, str]] = {"attention": {}, "random": {}}
    for arm in TCIS.arms:
        if set(arm.changes) <= {"model.fte.selector", "model.fte.keep_rate"}:
            fte = arm.config(base).model.fte
            if fte.selector in out:
                out[fte.selector][fte.keep_rate] = arm.name
    return {name: dict(sorted((arms | {1.0: "all"}).items())) for name, arms in out.items()}


def merged_tokens() -> dict[str, dict[float, str]]:
    """Clustering by its dial: `DPC-kNN` -> number M of merged tokens -> the arm; M = 0 drops the rest and M = all of the rest keeps it."""
    base = override(preset("tiny", ["model.stage=2"]), CLUSTERING.baseline)
    rows, columns = base.model.grid
    tokens = base.model.frames * rows * columns
    arms = {0.0: "drop", float(tokens - kept_tokens(base.model.fte.keep_rate, tokens)): "keep"}
    for arm in CLUSTERING.arms:
        if set(arm.changes) <= {"model.fte.clusters"}:
            arms[float(arm.config(base).model.fte.clusters)] = arm.name
    return {"DPC-kNN": dict(sorted(arms.items()))}


def dial(record: records.Record, series: Mapping[str, Mapping[float, str]], metric: str = "PCK@0.2") -> pd.DataFrame:
    """Mean clip scores over all conditions by setting and seed, of the arms that the record holds: columns `DIAL_COLUMNS`."""
    present, rows = set(record.clips["variant"]), []
    for name, arms in series.items():
        for setting, variant in arms.items():
            if variant in present:
                scores = clip_scores(record.clips, variant, metric=metric).mean(axis=1)
                rows += [(name, setting, variant, int(seed), float(score)) for seed, score in scores.items()]
    return pd.DataFrame(rows, columns=list(DIAL_COLUMNS))
