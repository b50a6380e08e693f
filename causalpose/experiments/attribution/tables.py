"""Tables of the attribution study: means with intervals over seeds x clips, paired differences, and what they say.

A score's rows make a matrix, seeds by clips; its interval draws both anew (`evaluation.statistics`). Methods are compared on the same
models, clips and joints.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from causalpose.errors import CausalPoseError
from causalpose.evaluation import statistics

# Which way is good. Scores that are not here are costs or facts about the model.
HIGHER = (
    "agreement", "agreement_target", "top_overlap", "agreement_content", "agreement_target_content", "top_overlap_content",
    "body_mass", "body_auc", "limb_mass", "limb_auc", "joint_mass", "joint_pointing", "insertion_mean_token", "insertion_blur",
    "insertion_background", "stability",
)  # fmt: skip
LOWER = (
    "deletion_mean_token", "deletion_blur", "deletion_background", "infidelity", "sensitivity", "randomised_head", "randomised_enhancement",
    "randomised_importance", "randomised_encoder", "randomised_backbone",
)  # fmt: skip
CONTROLS = ("random", "uniform", "centre", "edges")
PLACEBOS = ("untrained", "shuffled")
GROUP = ["part", "arm", "method", "score"]


def matrix(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one part, arm, method and score as seeds by clips."""
    return rows.pivot_table(index="seed", columns="clip", values="value", aggfunc="mean", dropna=False)


def summary(rows: pd.DataFrame, resamples: int = statistics.RESAMPLES) -> pd.DataFrame:
    """Mean and 95 % interval of every score: columns part, arm, method, score, mean, low, high, seeds, clips.

    `seconds` has its median with the median's interval there: a pause of the machine is no cost of a method. `ceiling` has the root of
    its clips' values, which are reliabilities: the correlation of a mean of draws with another such mean. A map that knows the true effects
    agrees with a mean of draws by the root of that (classical test theory), and no map is expected to agree more.
    """
    out = []
    for keys, part in rows.groupby(GROUP, sort=False):
        values = matrix(part).to_numpy()
        values = np.sqrt(values.clip(0, 1)) if keys[-1] in ("ceiling", "ceiling_content") else values
        if np.isnan(values).any(0).all():
            continue  # undefined for every clip: a constant map ranks nothing, say
        middle = keys[-1] == "seconds"
        interval = (statistics.median if middle else statistics.bootstrap)(values, resamples=resamples)
        out.append((*keys, interval.mean, interval.low, interval.high, interval.seeds, interval.clips))
    return pd.DataFrame(out, columns=[*GROUP, "mean", "low", "high", "seeds", "clips"])


def paired(rows: pd.DataFrame, part: str, left: tuple[str, str], right: tuple[str, str], score: str) -> statistics.Interval | None:
    """Difference left - right of two (arm, method) on a score, on the clips and seeds that both have; None where there are none."""
    chosen = rows[(rows["part"] == part) & (rows["score"] == score)]
    a, b = (matrix(chosen[(chosen["arm"] == arm) & (chosen["method"] == method)]) for arm, method in (left, right))
    seeds, clips = a.index.intersection(b.index), a.columns.intersection(b.columns)
    if not len(seeds) or not len(clips):
        return None
    a, b = a.loc[seeds, clips].to_numpy(), b.loc[seeds, clips].to_numpy()
    if (np.isnan(a) | np.isnan(b)).any(0).all():
        return None
    return statistics.paired(b, a)


def comparisons(rows: pd.DataFrame, against: Sequence[str] = ("centre", "tcis"), scores: Sequence[str] | None = None) -> pd.DataFrame:
    """Every method minus reference methods on the same model, in the part `maps`, Holm-corrected over the methods of a score.

    Columns: part, arm, score, method, against, mean, low, high, effect, p, p_holm, detectable, seeds, clips, distinguishable.
    """
    main, out = rows[rows["part"] == "maps"], []
    scores = [score for score in scores or (*HIGHER, *LOWER) if (main["score"] == score).any()]
    for arm in main["arm"].unique():
        own = main[main["arm"] == arm]
        for score in scores:
            names = list(own[own["score"] == score]["method"].unique())
            for reference in against:
                found = [
                    (name, paired(own, "maps", (arm, name), (arm, reference), score)) for name in names if name not in (reference, "effect")
                ]
                found = [(name, interval) for name, interval in found if interval is not None]
                adjusted = statistics.holm([interval.p for _, interval in found])
                for (name, interval), p in zip(found, adjusted, strict=True):
                    out.append(
                        ("maps", arm, score, name, reference, interval.mean, interval.low, interval.high, interval.effect, interval.p, p,
                         interval.detectable, interval.seeds, interval.clips, interval.distinguishable)
                    )  # fmt: skip
    columns = [
        "part",
        "arm",
        "score",
        "method",
        "against",
        "mean",
        "low",
        "high",
        "effect",
        "p",
        "p_holm",
        "detectable",
        "seeds",
        "clips",
        "distinguishable",
    ]
    return pd.DataFrame(out, columns=columns)


def revealed(rows: pd.DataFrame, biased: str = "biased", unbiased: str = "unbiased") -> pd.DataFrame:
    """Which maps show the planted shortcut: the biased model's score on the stick minus its twin's, on the same clips.

    Columns: method, score, biased, unbiased, mean, low, high, p_holm (over the methods of a score; the measured effects are none, and keep
    their own p), seeds, clips, verdict. `reveals`: the interval is above zero and p_holm below 0.05; `silent`: not so.
    """
    columns = ["method", "score", "biased", "unbiased", "mean", "low", "high", "p_holm", "seeds", "clips", "verdict"]
    out = []
    part = rows[rows["part"] == "shortcut"]
    for score in ("stick_auc", "stick_mass"):
        own = part[part["score"] == score]
        found = [(method, paired(own, "shortcut", (biased, method), (unbiased, method), score)) for method in own["method"].unique()]
        found = [(method, interval) for method, interval in found if interval is not None]
        maps = [(method, interval.p) for method, interval in found if method != "effect"]
        adjusted = dict(zip([method for method, _ in maps], statistics.holm([p for _, p in maps]), strict=True)) if maps else {}
        for method, interval in found:
            p = adjusted.get(method, interval.p)
            means = [own[(own["arm"] == arm) & (own["method"] == method)]["value"].mean() for arm in (biased, unbiased)]
            verdict = "reveals" if interval.low > 0 and p < 0.05 else "silent"
            out.append((method, score, *means, interval.mean, interval.low, interval.high, p, interval.seeds, interval.clips, verdict))
    return pd.DataFrame(out, columns=columns)


# What a method must not reach where there is nothing to find, by score: the value of chance.
_CHANCE = {"body_auc": 0.5, "limb_auc": 0.5}


def called_out(rows: pd.DataFrame) -> pd.DataFrame:
    """Methods that score where the model knows nothing, or find more of the body than the effects do where the joint is not there.

    Columns: placebo, method, score, mean, low, high, p_holm (over the methods of a placebo and score), clips. On `untrained` and `shuffled`
    models a map that still finds the body (above chance) shows the picture, not what was learned. For a joint outside the image the
    model may well look at the body; a map that ranks the body higher than the measured effects of the same clips do (mean: the difference)
    answers another question.
    """
    out = []
    cases = [("maps", arm, arm, score) for arm in PLACEBOS for score in _CHANCE]
    cases += [("outside", arm, f"joint outside ({arm})", "body_auc") for arm in rows.loc[rows["part"] == "outside", "arm"].unique()]
    for part, arm, placebo, score in cases:
        own = rows[(rows["part"] == part) & (rows["arm"] == arm) & (rows["score"] == score)]
        found = []
        for method in own["method"].unique():
            if method == "effect":
                continue
            if part == "outside":
                interval = paired(own, part, (arm, method), (arm, "effect"), score)
            else:
                interval = _above(matrix(own[own["method"] == method]).to_numpy(), _CHANCE[score])
            if interval is not None:
                found.append((method, interval))
        adjusted = statistics.holm([interval.p for _, interval in found]) if found else []
        null = 0.0 if part == "outside" else _CHANCE[score]
        for (method, interval), p in zip(found, adjusted, strict=True):
            if interval.low > null and p < 0.05:
                out.append((placebo, method, score, interval.mean, interval.low, interval.high, p, interval.clips))
    return pd.DataFrame(out, columns=["placebo", "method", "score", "mean", "low", "high", "p_holm", "clips"])


def _above(values: np.ndarray, chance: float) -> statistics.Interval | None:
    """A mean with its interval and its p against chance; None where no clip has a score."""
    if np.isnan(values).any(0).all():
        return None
    found = statistics.paired(np.full_like(values, chance), values)
    return replace(found, mean=found.mean + chance, low=found.low + chance, high=found.high + chance)


def disagreements(rows: pd.DataFrame, method: str = "tcis", count: int = 10) -> pd.DataFrame:
    """The clips in which a method and the measured effects disagree most: columns arm, seed, clip, joint, value, lowest agreement first.

    A clip stands once, with the model in which it is worst; placebos have nothing to disagree about.
    """
    chosen = rows[(rows["part"] == "maps") & (rows["method"] == method) & (rows["score"] == "agreement")].dropna(subset="value")
    chosen = chosen[~chosen["arm"].isin(PLACEBOS)]
    if chosen.empty:
        raise CausalPoseError(f"no clip has a {method} map and measured effects")
    return chosen.sort_values("value").drop_duplicates("clip")[["arm", "seed", "clip", "joint", "value"]].head(count).reset_index(drop=True)


def wide(summarised: pd.DataFrame, arm: str, scores: Sequence[str], part: str = "maps", digits: int = 2) -> pd.DataFrame:
    """Methods by scores as text, `mean [low, high]`, in the order of the first score."""
    rows = summarised[(summarised["part"] == part) & (summarised["arm"] == arm) & summarised["score"].isin(list(scores))]
    text = rows.assign(text=[f"{r.mean:.{digits}f} [{r.low:.{digits}f}, {r.high:.{digits}f}]" for r in rows.itertuples(index=False)])
    frame = text.pivot(index="method", columns="score", values="text").reindex(columns=list(scores))
    first = rows[rows["score"] == scores[0]].set_index("method")["mean"]
    order = first.reindex(frame.index).sort_values(ascending=scores[0] in LOWER, na_position="last").index
    frame = frame.loc[order].astype(object).fillna("–")
    frame.index.name = frame.columns.name = None
    return frame


def against_control(compared: pd.DataFrame, arm: str, score: str, control: str = "centre") -> str:
    """In words, how many methods beat a control on a score, how many it beats, and how many cannot be told from it."""
    rows = compared[(compared["arm"] == arm) & (compared["score"] == score) & (compared["against"] == control)]
    rows = rows[~rows["method"].isin(CONTROLS)]
    if rows.empty:
        raise CausalPoseError(f"nothing is compared with {control!r} on {score!r} for {arm!r}")
    sign = -1 if score in LOWER else 1
    better = int((np.minimum(sign * rows["low"], sign * rows["high"]) > 0).sum())
    worse = int((np.maximum(sign * rows["low"], sign * rows["high"]) < 0).sum())
    return f"on {arm} {better} of {len(rows)} methods are better, {worse} worse, {len(rows) - better - worse} not distinguishable"


def selection_summary(rows: pd.DataFrame, arm: str, rate: float = 0.3) -> str:
    """In words, what exchanging a model's selection does at a share kept: each other selection against its own."""
    said = []
    for other in ("oracle", "heatmap", "norm", "random", "bottom"):
        interval = paired(rows, "selection", (arm, "own"), (arm, other), f"pck@{rate:g}")
        if interval is not None:
            verdict = "not distinguishable from" if not interval.distinguishable else "above" if interval.mean > 0 else "below"
            said.append(f"{verdict} {other} ({interval.mean:+.1f} points)")
    if not said:
        raise CausalPoseError(f"no selection trial of {arm!r} at a share of {rate:g}")
    return f"Accuracy of {arm} with {rate:.0%} of the tokens, its own selection against others at inference: {', '.join(said)}."
