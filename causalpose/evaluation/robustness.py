"""What a corruption costs: scores on corrupted clips over scores on the clean ones, clip by clip."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from causalpose.data.corruptions import CORRUPTIONS, SEVERITIES, CorruptedSource
from causalpose.errors import CausalPoseError
from causalpose.evaluation import pck, statistics
from causalpose.evaluation.predictions import Predictions

COLUMNS = ["corruption", "severity", "score", "clean", "ratio", "low", "high", "seeds", "clips", "text"]


def robustness(
    predict: Callable[[object], Predictions],
    source,
    *,
    kinds: Sequence[str] = tuple(CORRUPTIONS),
    severities: Sequence[int] = SEVERITIES,
    threshold: float = 0.2,
    seed: int = 0,
    resamples: int = statistics.RESAMPLES,
) -> pd.DataFrame:
    """The report of ratios corrupted / clean of a predictor (source -> predictions) on a source.

    Columns: corruption, severity (0: the mean over the severities), score and clean (mean PCK of clips, percent), ratio with its interval
    low, high, seeds, clips, text. The first row, corruption `all`, is the mean over everything (Michaelis et al. 2019 call its ratio the
    relative performance under corruption). Ratios are nan where the clean clips score 0. All joints that the clean clips count are
    counted, also those under an occluder.
    """
    if not kinds or not severities:
        raise CausalPoseError("robustness: give at least one corruption and one severity")

    def scores(at) -> np.ndarray:
        found = predict(at)
        return pck.clip_scores(found.keypoints, found.truth, found.visibility, found.scale, threshold)

    clean = scores(source)
    corrupted = {(kind, s): scores(CorruptedSource(source, kind, s, seed)) for kind in kinds for s in severities}
    groups: list[tuple[str, int, np.ndarray]] = [("all", 0, np.mean(list(corrupted.values()), axis=0))]
    for kind in kinds:
        groups.append((kind, 0, np.mean([corrupted[kind, s] for s in severities], axis=0)))
        groups += [(kind, s, corrupted[kind, s]) for s in severities]
    rows = []
    for kind, severity, values in groups:
        score = (kind, severity, np.nanmean(values), np.nanmean(clean))
        if np.nanmean(clean) == 0:
            nothing = float("nan")
            rows.append((*score, nothing, nothing, nothing, 1, int((~np.isnan(clean)).sum()), "no ratio: the clean clips score 0"))
            continue
        found = statistics.ratio(clean, values, resamples=resamples)
        text = statistics.format_interval(found.mean, found.low, found.high, found.seeds, found.clips, digits=2)
        rows.append((*score, found.mean, found.low, found.high, found.seeds, found.clips, text))
    return pd.DataFrame(rows, columns=COLUMNS)
