"""The attribution study in the words and tables of a page (ours). Words follow the record; where it lacks a part, they say so.

Every function takes a record (`record.read`) and returns Markdown.
"""

from collections.abc import Iterable, Mapping

import pandas as pd

from causalpose.errors import CausalPoseError
from causalpose.evaluation.statistics import Interval
from causalpose.experiments.attribution.record import Record
from causalpose.experiments.attribution.tables import CONTROLS, LOWER, paired, wide
from causalpose.experiments.quoting import quoted
from causalpose.experiments.telling import figures
from causalpose.plotting.attribution import method_label

TRAINED = ("stage1", "stage2", "stage2-tcis", "stage2-effects")
TITLES = {
    "agreement": "agreement with effects, all frames",
    "agreement_target": "agreement with effects, target frame",
    "top_overlap": "overlap with the largest effects",
    "limb_auc": "AUC against the limb",
    "deletion_background": "deletion, re-rendered",
    "infidelity": "infidelity",
}
# The selectors of this book: the map that each ranks by (model, method), its arm in the study of selectors, its name at inference.
SELECTORS: dict[str, tuple[tuple[str, str] | None, str | None, str]] = {
    "TCIS, by the paper's outline": (("stage2-tcis", "tcis"), "attention", ""),
    "TCIS, supervised (the default)": (("stage2", "tcis"), "supervised", "own"),
    "TCIS, taught by measured effects": (("stage2-effects", "tcis"), "effects", ""),
    "heatmap mass of stage 1": (("stage2", "heatmap_mass"), "heatmap", "heatmap"),
    "encoder attention": (("stage2", "encoder_attention"), None, "encoder_attention"),
    "gradient × attention": (("stage2", "gradient_attention"), None, "gradient_attention"),
    "feature norm": (None, "norm", "norm"),
    "random": (("stage2", "random"), "random", "random"),
    "bottom (the least important)": (None, "bottom", "bottom"),
    "oracle (the true body)": (None, "oracle", "oracle"),
}  # fmt: skip
_SELECTOR_SCORES = ("agreement", "top_overlap", "limb_auc", "body_auc")


def there(record: Record, part: str) -> bool:
    """Whether the record has this part."""
    return bool((record.rows["part"] == part).any())


def size(record: Record, part: str, arm: str | None = None) -> str:
    """How many seeds and clips a part has, as counted in its rows."""
    rows = record.rows[record.rows["part"] == part]
    rows = rows if arm is None else rows[rows["arm"] == arm]
    seeds, clips = rows["seed"].nunique(), rows["clip"].nunique()
    return f"{seeds} seed{'s' * (seeds != 1)} × {clips} clip{'s' * (clips != 1)}"


def measured(record: Record) -> list[str]:
    """The trained models of the main part."""
    return [arm for arm in TRAINED if ((record.summary["part"] == "maps") & (record.summary["arm"] == arm)).any()]


def spread(row: pd.Series, digits: int = 2) -> str:
    """A mean with its interval, quoted (`experiments.quoting`) from whichever table of the record the row is of."""
    marks = {"against": "comparisons", "placebo": "called_out", "verdict": "shortcut"}
    table = next((table for mark, table in marks.items() if mark in row), "summary")
    where = {name: row[name] for name in ("placebo", "part", "arm", "method", "score", "against") if name in row}
    mean, low, high = (quoted(f"attribution/book/{table}.csv", where, name, row[name], f".{digits}f") for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def points(found: Interval, digits: int = 1) -> str:
    """A difference with its interval."""
    return f"{found.mean:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def listed(names: Iterable[str]) -> str:
    """Methods by their names for people."""
    return ", ".join(map(method_label, names)) or "none"


def value(record: Record, arm: str, method: str, score: str, part: str = "maps") -> pd.Series | None:
    """A row of the summary, or None where the record has none."""
    try:
        return record.value(arm, method, score, part)
    except CausalPoseError:
        return None


def by_model(record: Record, part: str, scores: Mapping[str, str]) -> str:
    """Means with intervals of a part: a table a model, methods by scores (name -> title), `seeds × clips` beside the model's name."""
    text = ""
    for arm in record.summary.loc[record.summary["part"] == part, "arm"].unique():
        table = wide(record.summary, arm, list(scores), part, digits=3)
        text += f"\n**`{arm}`**, {size(record, part, arm)}:\n\n| map | {' | '.join(scores.values())} |\n| --- |{' --- |' * len(scores)}\n"
        for name, row in table.iterrows():
            text += f"| {method_label(name)} | {' | '.join(str(row.get(score, '')) for score in scores)} |\n"
    return text


def parts(record: Record) -> str:
    """What was recorded: a row a part and model, and the protocol."""
    facts, text = record.provenance, "| part | model | seeds × clips |\n| --- | --- | --- |\n"
    for part, arm in dict.fromkeys(zip(record.rows["part"], record.rows["arm"], strict=True)):
        text += f"| {part.replace('_', ' ')} | `{arm}` | {size(record, part, arm)} |\n"
    source = str(facts.get("code_hash") or facts.get("source_hash") or facts.get("commit"))[:12]
    left = facts["not_reached"]
    return (
        f"{text}\nRecorded at scale `{facts['scale']}`, source `{source}`; clips: {facts['protocol']['clips']}; "
        f"{facts['protocol']['selection']}. Draws of each measured effect: {facts['protocol']['resamples']}. "
        f"Tasks of the study that its time did not reach: {sum(left.values()) if isinstance(left, dict) else len(left)}."
    )


def ceilings(record: Record) -> str:
    """How well a map could agree, and how large effects are, by model."""
    lines = []
    for arm in measured(record):
        ceiling, nats = (value(record, arm, "effect", score) for score in ("ceiling", "effect_nats"))
        if ceiling is not None and nats is not None:
            lines.append(f"- `{arm}`: ceiling {spread(ceiling)}; effects have a mean size of {spread(nats, 3)} nats")
    return "\n".join(lines) or "The record holds no ceiling: effects were drawn once."


def groups(record: Record, arm: str, score: str, against: str) -> dict[str, list[str]]:
    """Methods that are better, worse, not distinguishable from one, by their interval; controls are left out."""
    rows = record.comparisons
    rows = rows[(rows["arm"] == arm) & (rows["score"] == score) & (rows["against"] == against) & ~rows["method"].isin(CONTROLS)]
    sign = -1 if score in LOWER else 1
    out: dict[str, list[str]] = {"better": [], "worse": [], "not distinguishable": []}
    for _, row in rows.iterrows():
        low, high = sorted((sign * row["low"], sign * row["high"]))
        out["better" if low > 0 else "worse" if high < 0 else "not distinguishable"].append(row["method"])
    return out


def verdicts(record: Record, against: str = "centre") -> str:
    """A table a model, methods by scores: + better than the control, − worse, ○ not distinguishable; most pluses first."""
    text = ""
    for arm in measured(record):
        found = {score: groups(record, arm, score, against) for score in TITLES}
        marks = {
            score: {name: mark for mark, names in zip("+−○", sorted_names.values(), strict=True) for name in names}
            for score, sorted_names in found.items()
            if any(sorted_names.values())
        }
        names = dict.fromkeys(name for column in marks.values() for name in column)
        order = sorted(names, key=lambda name: -sum((column.get(name) == "+") - (column.get(name) == "−") for column in marks.values()))
        text += f"\n**`{arm}`**, against `{against}`:\n\n| method | {' | '.join(TITLES[score] for score in marks)} |\n"
        text += "| --- |" + " :-: |" * len(marks) + "\n"
        for name in order:
            text += f"| {method_label(name)} | {' | '.join(column.get(name, '–') for column in marks.values())} |\n"
    return (
        f"{text}\n**+** better, **−** worse, ○ not distinguishable, by 95 % intervals without correction for the number of methods; "
        f"{size(record, 'maps', measured(record)[0])}."
    )


def few(record: Record) -> bool:
    """Whether not even a win on every clip would pass a sign test at 5 %."""
    return 2 / 2 ** record.rows.loc[record.rows["part"] == "maps", "clip"].nunique() > 0.05


def caution(record: Record) -> str:
    """What the number of clips and of methods leaves of the verdicts."""
    rows = record.comparisons
    rows = rows[(rows["against"] == "centre") & ~rows["method"].isin(CONTROLS) & rows["score"].isin(list(TITLES))]
    n = record.rows.loc[record.rows["part"] == "maps", "clip"].nunique()
    best = f"= {2 / 2**n:.2g}" if n < 11 else "below 0.001"
    start = f"With {n} clips, a method that wins on *every* clip has p {best} in a sign test over clips. "
    if few(record):
        return start + (
            "So **this record establishes no order of methods for scenes in general**. Its groups describe these clips; the bootstrap, "
            "which can only draw the same few clips again, makes its intervals too narrow."
        )
    sure = (rows["p_holm"] < 0.05) & rows["distinguishable"]
    return start + (
        f"Of {int(rows['distinguishable'].sum())} differences from `centre` whose interval leaves zero out, {int(sure.sum())} also have "
        "p < 0.05 by Holm's rule over the methods of a score."
    )


def own_map(record: Record) -> str:
    """The causal-token map: its agreement, the control, and who agrees more."""
    lines = []
    for arm in measured(record):
        own = value(record, arm, "tcis", "agreement")
        if own is None:
            continue
        lines.append(f"**`{arm}`**: agreement of the causal-token map with effects {spread(own)}.")
        rows = record.comparisons
        rows = rows[(rows["arm"] == arm) & (rows["score"] == "agreement") & (rows["method"] == "tcis") & (rows["against"] == "centre")]
        for _, one in rows.iterrows():
            verdict = "not distinguishable from" if one["low"] <= 0 <= one["high"] else "above" if one["low"] > 0 else "below"
            sample = f"{int(one['seeds'])} × {int(one['clips'])}"
            lines.append(f"On these clips, it is {verdict} the control `centre` (difference {spread(one)}, {sample}).")
        found = groups(record, arm, "agreement", "tcis")
        lines.append(
            f"Agree with effects more than it, by the same intervals: {listed(found['better'])}; less: {listed(found['worse'])}; "
            f"not distinguishable: {listed(found['not distinguishable'])}.\n"
        )
    if lines and few(record):
        lines.append("The caution above holds here too: few clips, narrow intervals.")
    return "\n".join(lines) or "The record holds no causal-token map."


def selectors(record: Record, arms: pd.DataFrame, rate: float = 0.3) -> str:
    """Every selector on every recorded score.

    arms   comparisons of the study of selectors (`experiments.records`), in which each is trained with, against `attention`
    """
    text = "| selector | " + " | ".join(("agreement", "top-tenth overlap", "AUC, limb", "AUC, body", "seconds a map"))
    text += " | put into the default model: PCK@0.2 minus its own | trained with: PCK@0.2 minus TCIS by the outline |\n"
    text += "| --- |" + " --- |" * (len(_SELECTOR_SCORES) + 3) + "\n"
    whole = arms[(arms["condition"] == "all") & (arms["metric"] == "PCK@0.2") & (arms["against"] == "attention")]
    whole = whole.set_index("variant", drop=False)
    for name, (ranked, trained, put) in SELECTORS.items():
        cells = []
        for score in _SELECTOR_SCORES:
            found = None if ranked is None else value(record, *ranked, score)
            cells.append("–" if found is None else spread(found))
        cost = None if ranked is None else value(record, *ranked, "seconds")
        cells.append("–" if cost is None else spread(cost, 3))
        found = paired(record.rows, "selection", ("stage2", put), ("stage2", "own"), f"pck@{rate:g}") if put and put != "own" else None
        cells.append("0, by definition" if put == "own" else "–" if found is None else _marked(points(found), found.distinguishable))
        if trained == "attention":
            cells.append("0, by definition")
        elif trained in whole.index:
            row = whole.loc[trained]
            cells.append(_marked(figures(row), bool(row["low"] > 0 or row["high"] < 0)))
        else:
            # Trained for this trial, and not for the study of selectors: the same difference, on this record's clips.
            found = None
            if ranked and ranked[1] == "tcis":
                found = paired(record.rows, "selection", (ranked[0], "own"), ("stage2-tcis", "own"), f"pck@{rate:g}")
            cells.append("–" if found is None else f"{_marked(points(found), found.distinguishable)} (on the clips of this trial)")
        text += f"| {name} | {' | '.join(cells)} |\n"
    return text + (
        f"\nA dash: not recorded. Bold: the interval leaves zero out. Maps: {size(record, 'maps', 'stage2')}; exchanged at inference with "
        f"{rate:.0%} of the tokens: {size(record, 'selection', 'stage2')}."
    )


def _marked(text: str, bold: bool) -> str:
    return f"**{text}**" if bold else text


def called_out(record: Record) -> str:
    """Who scores above chance where there is nothing to find."""
    rows = record.called_out
    if not len(rows):
        if there(record, "outside") or (record.rows["arm"] == "untrained").any():
            return "No method was above chance in a placebo. With so few clips, that is weak evidence of innocence."
        return "The record's time did not reach the placebos."
    head = "called out, highest first (mean; for a joint outside, minus that of the effects)"
    text = f"| placebo | score | {head} | clips |\n| --- | --- | --- | --- |\n"
    for (placebo, score), part in rows.groupby(["placebo", "score"], sort=False):
        part = part.sort_values("mean", ascending=False)
        names = "; ".join(f"{method_label(row['method'])} {spread(row)}" for _, row in part.iterrows())
        title = {"body_auc": "AUC against the body", "limb_auc": "AUC against the limb"}.get(score, score.replace("_", " "))
        text += f"| {placebo} | {title} | {names} | {part['clips'].min()} |\n"
    if (rows["method"] == "random").any():
        noise = rows.loc[rows["method"] == "random", "high"].max()
        above = rows[(rows["low"] > noise) & ~rows["method"].isin(CONTROLS)]
        text += (
            "\n**The list names `random`, a map of pure noise.** So the yardstick itself is called out: with so few clips an interval is "
            "too narrow, and a name near the noise proves nothing. Whose whole interval lies above that of the noise as well: "
            f"{listed(dict.fromkeys(above['method']))}."
        )
    return text


def selection(record: Record, rate: float = 0.3) -> str:
    """What exchanging the selection does, and what comes of other content in the tokens left out."""
    rows, lines = record.rows, []
    for arm in rows.loc[rows["part"] == "selection", "arm"].unique():
        for other in ("random", "bottom", "oracle", "encoder_attention", "gradient_attention"):
            found = paired(rows, "selection", (arm, "own"), (arm, other), f"pck@{rate:g}")
            if found is not None:
                better = "better than" if found.mean > 0 else "worse than"
                verdict = better if found.distinguishable else "not distinguishable from"
                lines.append(
                    f"- `{arm}`, a share of {rate:g}: the model's own selection is **{verdict}** *{method_label(other)}*, {points(found)} "
                    f"points of PCK@0.2 ({found.seeds} seeds × {found.clips} clips);"
                )
        found = paired(rows, "selection", (arm, "attention"), (arm, "random"), f"shift_another-clip@{rate:g}")
        if found is not None:
            verdict = ("less" if found.mean < 0 else "more") if found.distinguishable else "no different"
            lines.append(
                f"- `{arm}`: with another clip in the tokens left out, the pose moves **{verdict}** than where the lot decides what is "
                f"left out, {points(found)} pixels ({found.seeds} seeds × {found.clips} clips)."
            )
    return "\n".join(lines) or "The record's time did not reach the selection trials."


def lean(record: Record) -> Interval | None:
    """How much more the model of the biased world leans on the stick than its twin, as a share of the way; None where one is missing."""
    return paired(record.rows, "shortcut", ("biased", ""), ("unbiased", ""), "lean")


def planted(record: Record) -> bool:
    """Whether it is shown that the shortcut was learned."""
    found = lean(record)
    return found is not None and found.low > 0


def leaning(record: Record) -> str:
    """Whether there is a shortcut to be revealed."""
    found = lean(record)
    if found is None:
        return "The record's time did not reach both twins, so nothing can be said about the shortcut."
    start = f"Biased minus unbiased: {found.mean:.2f} [{found.low:.2f}, {found.high:.2f}] of the way, {size(record, 'shortcut')}. "
    if found.low > 0:
        return start + "**The shortcut was learned**, so a faithful map must show it."
    return start + (
        "The interval does not lie above zero: **no shortcut can be claimed**, and the maps below are tried on a question without a known "
        "answer."
    )


def revealed(record: Record) -> str:
    """Which maps show the stick; right or wrong only if the shortcut was learned."""
    rows = record.shortcut[record.shortcut["score"] == "stick_auc"] if len(record.shortcut) else record.shortcut
    if not len(rows):
        return "The record holds no verdicts on the shortcut."
    own, effects = rows[~rows["method"].isin((*CONTROLS, "effect"))], rows[rows["method"] == "effect"]
    up, rest = (listed(own.loc[own["verdict"] == verdict, "method"]) for verdict in ("reveals", "silent"))
    if planted(record):
        text = f"**Reveal it**: {up}.\n\n**Stay silent**: {rest}.\n\n"
    else:
        text = (
            f"These maps rank the stick higher in the biased model than in its twin, by their intervals: {up}. These do not: {rest}. "
            "Since it is not shown that the biased model follows the stick, neither group can be called right or wrong.\n\n"
        )
    for _, row in effects.iterrows():
        text += f"The measured effects themselves, by the same rule: difference {spread(row)}, {row['verdict']}. "
    wrong = rows[rows["method"].isin(CONTROLS) & (rows["verdict"] == "reveals")]["method"]
    return text + f"Controls that 'reveal' it, and would thereby discredit the test: {listed(wrong)}."
