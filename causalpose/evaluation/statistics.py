"""What may be said about a score or a difference: bootstrap intervals, effect sizes, the Holm correction, what could have been seen.

Every table takes its statistics from here, and prints them by one formatter: `mean [low, high], n seeds × m clips`. The way in:

    bootstrap(scores)             a mean with its interval; median(scores) likewise, for seconds
    paired(baseline, variant)     a difference, with effect size, p and the smallest effect that the data could have shown
    ratio(baseline, variant)      a ratio of means (corrupted / clean), with its interval
    arms({name: scores}, against) every arm minus one, Holm-corrected, as a table

Scores are arrays `[seeds, clips]` in any unit (or `[clips]`: one seed), nan where a clip has no score.

Two variants are compared on the *same* clips and the same seeds, so the unit is a difference. Seeds and clips are both samples: another
training run would differ, and so would another test set. The two are crossed (each seed is tested on every clip), and the resampler draws
both anew, independently (Owen's pigeonhole bootstrap, Annals of Applied Statistics 2007): a replicate is the mean over drawn seeds x
drawn clips. `scipy.stats.bootstrap` has no such design; it is used where there is one factor only.

Few seeds make a poor sample: with two or three, the interval is a lower bound on the doubt about seeds. Say the number beside it, always.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from causalpose.errors import CausalPoseError

RESAMPLES = 10_000
ARM_COLUMNS = [
    "variant", "against", "mean", "low", "high", "effect", "p", "p_holm", "detectable", "seeds", "clips", "distinguishable", "text",
]  # fmt: skip


@dataclass(frozen=True)
class Interval:
    """A mean with its percentile interval, from `seeds` runs x `clips` clips.

    `p` (two-sided, against zero), `effect` and `detectable` are for differences:
    `effect` is the paired Cohen d over clips (averaged over seeds): the mean difference in standard deviations of the differences;
    `detectable` is the smallest true difference that such data show as distinguishable in four of five repetitions
    (`smallest_detectable`), in the unit of the scores: "no difference was seen" means "none above this".
    """

    mean: float
    low: float
    high: float
    seeds: int
    clips: int
    effect: float = float("nan")
    p: float = float("nan")
    detectable: float = float("nan")

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves zero out."""
        return distinguishable(self.low, self.high)

    def __str__(self) -> str:
        return format_interval(self.mean, self.low, self.high, self.seeds, self.clips)


def _matrix(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    values = values[None] if values.ndim == 1 else values
    if values.ndim != 2 or 0 in values.shape:
        raise CausalPoseError(f"{name}: scores must be [seeds, clips] (or [clips]) and not empty, not {list(values.shape)}")
    if np.isinf(values).any():
        raise CausalPoseError(f"{name}: scores hold infinite values")
    return values


def bootstrap(values: np.ndarray, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Mean of scores `[seeds, clips]` with its interval; seeds and clips are both resampled. Clips that hold a nan are left out."""
    return _interval(_matrix(values, "bootstrap"), level, resamples, seed)[0]


def median(values: np.ndarray, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Median of scores `[seeds, clips]` with its interval over clips, each of them the median of its seeds (in the field `mean`).

    For costs in seconds, which hold outliers that are the machine's own; clips that hold a nan are left out.
    """
    _check_level(level)
    values = _matrix(values, "median")
    values = values[:, ~np.isnan(values).any(0)]
    seeds, clips = values.shape
    if clips == 0:
        raise CausalPoseError("median: no clip has a score for every seed")
    each = np.median(values, 0)
    middle = float(np.median(each))
    if clips == 1:
        return Interval(middle, middle, middle, seeds, clips)
    found = stats.bootstrap(
        (each,), np.median, confidence_level=level, n_resamples=resamples, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return Interval(middle, float(found.low), float(found.high), seeds, clips)


def _interval(values: np.ndarray, level: float, resamples: int, seed: int) -> tuple[Interval, np.ndarray, np.ndarray]:
    """The interval, the scores that it is of, and the means of the replicates."""
    _check_level(level)
    values = values[:, ~np.isnan(values).any(0)]
    seeds, clips = values.shape
    if clips == 0:
        raise CausalPoseError("bootstrap: no clip has a score for every seed (no joint of this kind is counted)")
    means = _crossed_means(values, resamples, np.random.default_rng(seed))
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(values.mean()), float(low), float(high), seeds, clips), values, means


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise CausalPoseError(f"confidence level = {level} must be between 0 and 1 (0.95, say)")


def _pair(baseline: np.ndarray, variant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as `[seeds, clips]`, of one shape."""
    baseline, variant = _matrix(baseline, "baseline"), _matrix(variant, "variant")
    if baseline.shape != variant.shape:
        raise CausalPoseError(
            f"paired comparison: baseline {list(baseline.shape)} and variant {list(variant.shape)} are not the same seeds and clips"
        )
    return baseline, variant


def _crossed_means(values: np.ndarray, resamples: int, random: np.random.Generator) -> np.ndarray:
    """Means `[R]` of replicates that draw seeds and clips with replacement: drawing is a multinomial count, a mean is a weighted sum."""
    seeds, clips = values.shape
    out = np.empty(resamples)
    step = max(1, 4_000_000 // clips)  # bounds the counts held at once to 32 MB
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        clip_counts = random.multinomial(clips, np.full(clips, 1 / clips), size=size)
        seed_counts = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=size)
        out[start : start + size] = ((clip_counts @ values.T) * seed_counts).sum(1) / (seeds * clips)
    return out


def paired(baseline: np.ndarray, variant: np.ndarray, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The difference variant - baseline of scores `[seeds, clips]` on the same clips (same column, same clip), with effect size and p.

    `p` is the bootstrap's two-sided achieved level: twice the smaller share of replicates on either side of zero, with one added to
    numerator and denominator so that it is never zero.
    """
    baseline, variant = _pair(baseline, variant)
    interval, difference, means = _interval(variant - baseline, level, resamples, seed)
    fewer = min(int((means <= 0).sum()), int((means >= 0).sum()))
    p = min(1.0, 2 * (fewer + 1) / (resamples + 1))
    detectable = smallest_detectable(float(means.std(ddof=1)), alpha=1 - level) if resamples > 1 else float("nan")
    return replace(interval, effect=cohen_d(difference.mean(0)), p=p, detectable=detectable)


def smallest_detectable(standard_error: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true difference that a two-sided test at `alpha` finds with probability `power`, in the unit of the standard error.

    (z[1 - alpha/2] + z[power]) x standard error: 2.80 standard errors for the usual 5 % and 80 % (Bloom, Evaluation Review 1995).
    """
    if not (0 < power < 1 and 0 < alpha < 1) or not standard_error >= 0:
        raise CausalPoseError(
            f"smallest detectable effect: power {power} and alpha {alpha} must be in (0, 1), standard error {standard_error} >= 0"
        )
    return float((stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)) * standard_error)


def ratio(baseline: np.ndarray, variant: np.ndarray, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The ratio mean(variant) / mean(baseline) of scores `[seeds, clips]` on the same clips, with its interval.

    Seeds and clips are resampled for both at once, since they are the same clips. 1 means "nothing lost", so `distinguishable` (from
    zero) says nothing here: look whether 1 lies inside. Clips that hold a nan in either are left out.
    """
    baseline, variant = _pair(baseline, variant)
    used = ~np.isnan(baseline + variant).any(0)
    base, other = baseline[:, used], variant[:, used]
    if base.shape[1] == 0:
        raise CausalPoseError("ratio: no clip has a score for every seed in both")
    if base.mean() == 0:
        raise CausalPoseError("ratio: the baseline's mean is zero; a ratio to nothing has no meaning")
    below = _crossed_means(base, resamples, np.random.default_rng(seed))
    above = _crossed_means(other, resamples, np.random.default_rng(seed))  # the same stream: the same seeds and clips are drawn
    _check_level(level)
    usable = below != 0  # a replicate may draw clips that all score nothing
    low, high = np.quantile(above[usable] / below[usable], [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(other.mean() / base.mean()), float(low), float(high), *base.shape)


def arms(scores: Mapping[str, np.ndarray], against: str, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Every arm minus the arm `against`, paired by seed and clip, with Holm's correction over the arms: one row an arm, in their order.

    scores    arm -> scores `[seeds, clips]`; column j is the same clip in every arm, row i the same seed. An arm that was not trained has
              one row and is set against every seed.
    columns   variant, against, mean, low, high, effect, p, p_holm, detectable, seeds, clips, distinguishable, text
    """
    if against not in scores:
        raise CausalPoseError(f"no arm {against!r} to compare with; arms: {', '.join(scores) or 'none'}")
    base = _matrix(scores[against], against)
    found = {}
    for name, values in scores.items():
        if name == against:
            continue
        values = _matrix(values, name)
        if values.shape[1] != base.shape[1] or (values.shape[0] != base.shape[0] and 1 not in (values.shape[0], base.shape[0])):
            raise CausalPoseError(
                f"{name}: scores {list(values.shape)} and {against}'s {list(base.shape)} are not of the same seeds and clips"
            )
        found[name] = paired(*np.broadcast_arrays(base, values), level=level, resamples=resamples, seed=seed)
    adjusted = holm([interval.p for interval in found.values()])
    rows = [
        {"variant": name, "against": against}
        | {key: getattr(interval, key) for key in ("mean", "low", "high", "effect", "p")}
        | {"p_holm": p_holm, "detectable": interval.detectable, "seeds": interval.seeds, "clips": interval.clips}
        | {"distinguishable": interval.distinguishable, "text": str(interval)}
        for (name, interval), p_holm in zip(found.items(), adjusted, strict=True)
    ]
    return pd.DataFrame(rows, columns=ARM_COLUMNS)


def cohen_d(differences: np.ndarray) -> float:
    """Paired Cohen d: mean over standard deviation (n - 1) of paired differences `[n]`; 0 where all are zero, ± infinity if equal."""
    differences = np.asarray(differences, dtype=float)
    mean = float(differences.mean())
    spread = float(differences.std(ddof=1)) if differences.size > 1 else 0.0
    if spread < 1e-12 * max(1.0, abs(mean)):
        return 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
    return mean / spread


def mean_interval(values: Sequence[float], level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float, float]:
    """Mean, low, high of one sample `[n]` (seeds, or clips) by scipy's bias-corrected bootstrap; equal values have no width."""
    sample = np.asarray(values, dtype=float)
    sample = sample[~np.isnan(sample)]
    if sample.size == 0:
        raise CausalPoseError("mean_interval: there is no value")
    mean = float(sample.mean())
    if sample.size == 1 or np.ptp(sample) == 0:
        return mean, mean, mean
    result = stats.bootstrap(
        (sample,), np.mean, confidence_level=level, n_resamples=resamples, method="BCa", rng=np.random.default_rng(seed), vectorized=True
    )
    return mean, float(result.confidence_interval.low), float(result.confidence_interval.high)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjusted p values, in the order given: of `m` tests the smallest p is multiplied by m, the next by m - 1, …"""
    p = np.asarray(p_values, dtype=float)
    if p.ndim != 1 or np.isnan(p).any() or (p < 0).any() or (p > 1).any():
        raise CausalPoseError(f"Holm correction: p values must be a list of numbers in [0, 1], not {p_values!r}")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)) if p.size else p
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def distinguishable(low: float, high: float) -> bool:
    """Whether an interval of a difference leaves zero out; where it does not, the book says "not distinguishable"."""
    if np.isnan(low) or np.isnan(high) or low > high:
        raise CausalPoseError(f"interval [{low}, {high}] must be two numbers, low first")
    return bool(low > 0 or high < 0)


def telling_digits(bound: float, least: int = 1, most: int = 3) -> int:
    """So many decimals that a bound beside zero does not look like zero: on which side it lies is what an interval is read for."""
    digits = least
    while digits < most and bound != 0 and round(bound, digits) == 0:
        digits += 1
    return digits


def format_interval(mean: float, low: float, high: float, seeds: int, clips: int, digits: int = 1) -> str:
    """`1.3 [0.2, 2.4], 3 seeds × 256 clips`; a bound beside zero has more digits than the rest (`telling_digits`)."""
    places = (digits, telling_digits(low, digits), telling_digits(high, digits))
    numbers = [f"{value:.{place}f}" for value, place in zip((mean, low, high), places, strict=True)]
    numbers = [number.lstrip("-") if float(number) == 0 else number for number in numbers]  # "-0.0" reads as a finding
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}], {seeds} seed{'s' * (seeds != 1)} × {clips} clip{'s' * (clips != 1)}"
