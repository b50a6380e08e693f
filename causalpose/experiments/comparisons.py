"""Differences between variants, paired clip by clip and seed by seed, with intervals.

The score of a clip is the percentage of its counted joints that are right. Its mean weighs clips equally and so differs a little from the
PCK of a results table, which weighs joints equally; differences and their intervals are always taken on clip scores.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from causalpose.errors import CausalPoseError
from causalpose.evaluation import statistics
from causalpose.evaluation.pck import SUBSETS, THRESHOLDS, metric_name

_METRICS = {metric_name(threshold, subset): (threshold, subset) for threshold in THRESHOLDS for subset in SUBSETS}


def clip_scores(clips: pd.DataFrame, variant: str, condition: str = "all", metric: str = "PCK@0.2") -> pd.DataFrame:
    """Scores in per cent, one row a seed and one column a clip; nan where the subset counts no joint.

    `clips` are rows of one data set. Under condition `all` a scene's score is its mean over the conditions: the same scene under five
    conditions is one sample, not five, and counting it five times would make every interval too narrow.
    """
    if metric not in _METRICS:
        raise CausalPoseError(f"unknown metric {metric!r}; known: {', '.join(_METRICS)}")
    rows = clips[clips["variant"] == variant]
    rows = rows if condition == "all" else rows[rows["condition"] == condition]
    if not len(rows):
        raise CausalPoseError(
            f"no clips of variant {variant!r} under condition {condition!r}; variants: {', '.join(clips['variant'].unique())}"
        )
    threshold, subset = _METRICS[metric]
    right, counted = rows[f"right@{threshold:g}"].astype(int), rows["counted"].astype(int)
    if subset != "all":
        seen, right_seen = rows["visible"].astype(int), rows[f"right@{threshold:g} visible"].astype(int)
        right, counted = (right_seen, seen) if subset == "visible" else (right - right_seen, counted - seen)
    scored = rows.assign(score=100 * right / counted.where(counted > 0))
    return scored.pivot_table(index="seed", columns="clip", values="score", aggfunc="mean", dropna=False)


def compare(
    clips: pd.DataFrame,
    against: str,
    *,
    variants: Sequence[str] | None = None,
    metrics: Sequence[str] = ("PCK@0.2",),
    resamples: int = statistics.RESAMPLES,
) -> pd.DataFrame:
    """Every variant minus `against`, by data set, condition and metric, in percentage points.

    Columns: study, dataset, condition, metric, variant, against, mean, low, high (95 %), effect (paired Cohen d), p, p_holm (Holm over the
    variants of one condition), detectable (the smallest true difference that such data could have shown), seeds, clips, distinguishable.
    A variant that was not trained has one seed and is set against every seed.
    """
    rows = []
    for (study, dataset), part in clips.groupby(["study", "dataset"], sort=False):
        names = [name for name in part["variant"].unique() if name != against and (variants is None or name in variants)]
        conditions = list(part["condition"].unique())
        for metric in metrics:
            for condition in ["all", *conditions] if len(conditions) > 1 else conditions:
                base = clip_scores(part, against, condition, metric)
                if base.isna().any().all():
                    continue  # the condition has no joint of this kind
                scores = {against: base.to_numpy()}
                scores |= {name: _aligned(base, clip_scores(part, name, condition, metric), name, against) for name in names}
                labels = {"study": study, "dataset": dataset, "condition": condition, "metric": metric}
                found = statistics.arms(scores, against, resamples=resamples)
                rows += [labels | row for row in found.drop(columns=["text"]).to_dict("records")]
    if not rows:
        raise CausalPoseError(f"nothing to compare with {against!r}")
    return pd.DataFrame(rows)


def compare_pairs(
    clips: pd.DataFrame, against: Mapping[str, str], *, metrics: Sequence[str] = ("PCK@0.2",), resamples: int = statistics.RESAMPLES
) -> pd.DataFrame | None:
    """`compare` where variants have different references (`against`: variant -> reference), with Holm over all of a metric's comparisons.

    Variants without rows, or whose reference has none, are left out; None where nothing is left.
    """
    present = set(clips["variant"])
    pairs = {name: other for name, other in against.items() if name != other and {name, other} <= present}
    if not pairs:
        return None
    # The smallest p of a bootstrap is 2 / (resamples + 1), and Holm's rule multiplies it by the number of comparisons.
    number = len(pairs) * (1 + clips["condition"].nunique()) * clips["dataset"].nunique()
    resamples = max(resamples, 100 * number)
    parts = []
    for reference in dict.fromkeys(pairs.values()):
        names = [name for name, other in pairs.items() if other == reference]
        parts.append(compare(clips, reference, variants=names, metrics=metrics, resamples=resamples))
    return corrected(parts)


def corrected(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of `compare` as one, with Holm's rule over all comparisons of a study on a metric."""
    joined = pd.concat(parts, ignore_index=True)
    joined["p_holm"] = joined.groupby(["study", "metric"], sort=False)["p"].transform(lambda p: statistics.holm(p.to_numpy()))
    return joined


def intervals(clips: pd.DataFrame, *, metrics: Sequence[str] = ("PCK@0.2",), resamples: int = statistics.RESAMPLES) -> pd.DataFrame:
    """Each variant's own mean clip score with its 95 % interval.

    Columns: study, dataset, condition, metric, variant, mean, low, high, seeds, clips.
    """
    rows = []
    for (study, dataset, condition, variant), part in clips.groupby(["study", "dataset", "condition", "variant"], sort=False):
        for metric in metrics:
            scores = clip_scores(part, variant, condition, metric).to_numpy()
            if np.isnan(scores).any(0).all():
                continue
            interval = statistics.bootstrap(scores, resamples=resamples)
            values = {key: getattr(interval, key) for key in ("mean", "low", "high", "seeds", "clips")}
            rows.append({"study": study, "dataset": dataset, "condition": condition, "metric": metric, "variant": variant} | values)
    return pd.DataFrame(rows)


def sentence(row: pd.Series) -> str:
    """A comparison in words: `mask beats none under occluded by 1.3 [0.2, 2.4], 3 seeds × 400 clips`, or that no difference is seen."""
    figures = statistics.format_interval(row["mean"], row.low, row.high, int(row.seeds), int(row.clips))
    where = "over all conditions" if row.condition == "all" else f"under {row.condition.replace('_', ' ')}"
    if not statistics.distinguishable(row.low, row.high):
        return f"{row.variant} and {row.against} are not distinguishable {where} ({figures})"
    if row["mean"] > 0:
        return f"{row.variant} beats {row.against} {where} by {figures}"
    return f"{row.variant} falls behind {row.against} {where} ({figures})"


def summary(compared: pd.DataFrame, metric: str = "PCK@0.2", condition: str = "all") -> str:
    """What comparisons come to: which arms differ from their reference, which of them after Holm, and that the others do not."""
    rows = compared[(compared["metric"] == metric) & (compared["condition"] == condition)].sort_values("mean", ascending=False)
    if rows.empty:
        raise CausalPoseError(f"no comparison on {metric!r} under {condition!r}")
    clear = rows[[statistics.distinguishable(row.low, row.high) for row in rows.itertuples()]]
    where = "over all conditions" if condition == "all" else f"under {condition.replace('_', ' ')}"
    told = [f"{row.variant} {row.mean:+.1f} to {row.against}" for row in clear.itertuples()]
    kept = [row.variant for row in clear.itertuples() if row.p_holm < 0.05]
    after = "all" if len(kept) == len(told) else ", ".join(kept) or "none"
    first = (
        f"{metric} {where}, in points: {', '.join(told)}." if told else f"{metric} {where}: no arm is distinguishable from its reference."
    )
    rest = [row.variant for row in rows.itertuples() if row.Index not in clear.index]
    first += f" After Holm's correction: {after}." if told else ""
    return first + (f" Not distinguishable from their reference: {', '.join(rest)}." if told and rest else "")


def _aligned(base: pd.DataFrame, scores: pd.DataFrame, name: str, against: str) -> np.ndarray:
    """An arm's scores with the columns in the baseline's order; other clips or other seeds are refused."""
    if not base.columns.sort_values().equals(scores.columns.sort_values()):
        raise CausalPoseError(f"{name} and {against} were tested on different clips")
    if base.index.tolist() != scores.index.tolist() and len(base) > 1 and len(scores) > 1:
        raise CausalPoseError(
            f"{name} has the seeds {scores.index.tolist()}, {against} has {base.index.tolist()}; a paired difference needs the same"
        )
    return scores[base.columns].to_numpy()
