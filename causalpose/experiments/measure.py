"""Models and other predictors on test sets: tidy rows, and what happened on every clip."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from causalpose.clip import CONDITION_CODES
from causalpose.config import Config
from causalpose.errors import CausalPoseError
from causalpose.evaluation import evaluate, pck, tables
from causalpose.evaluation.predictions import Predictions
from causalpose.experiments.protocol import Protocol
from causalpose.model.cmpose import CMPose
from causalpose.scenes.dataset import SceneSource
from causalpose.training import tokens
from causalpose.training.sources import SCENES, training_source

# Per clip: how many joints are counted, how many of them are visible, and how many of each are right at each threshold. Counts are
# exact and small, and every percentage follows from them.
_COUNTS = ("counted", "visible")
LABELS = ("study", "variant", "seed", "dataset", "condition", "clip")


@dataclass(frozen=True)
class TestSet:
    """Clips to test on; `condition` overrides what the clips say of themselves (a mixed level, say)."""

    __test__ = False  # its name looks like a test's

    dataset: str
    source: object
    condition: str | None = None


def test_sets(protocol: Protocol, config: Config, progress: bool = False) -> list[TestSet]:
    """The test sets of a configuration's data. Scenes are the same under every condition, so clips pair across conditions too."""
    out = []
    for split in protocol.splits:
        if config.data.source != SCENES:
            source = training_source(config, split=split)
            out.append(TestSet(f"{source.describe()['root']}/{split}", source))
            continue
        for level in protocol.levels or (config.data.level,):
            data = replace(config.data, split=split, clips=protocol.clips, level=level)
            suffix = "" if level == "default" else f"-{level}"
            for condition in protocol.conditions:
                source = SceneSource(config.model, data, condition, protocol.severity, progress=progress)
                out.append(TestSet(f"scenes{suffix}/{split}", source))
    return out


test_sets.__test__ = False  # nor is this one


@dataclass(frozen=True)
class Measured:
    """`results`: tidy rows; `clips`: one row a clip with its counts."""

    results: pd.DataFrame
    clips: pd.DataFrame

    @classmethod
    def join(cls, parts: Sequence["Measured"]) -> "Measured":
        """Several, one after the other."""
        if not parts:
            raise CausalPoseError("there is nothing measured to join")
        joined = {name: pd.concat([getattr(part, name) for part in parts], ignore_index=True) for name in ("results", "clips")}
        return cls(**joined)


def measure(
    predict: Callable[[object], Predictions], keypoints: str, sets: Sequence[TestSet], *, study: str, variant: str, seed: int
) -> Measured:
    """Run a predictor (source -> predictions) over test sets."""
    results, clips = [], []
    for test in sets:
        found = predict(test.source)
        labels = {"study": study, "variant": variant, "seed": seed, "dataset": test.dataset}
        rows = evaluate.measure(found, keypoints, **labels)
        counts = clip_counts(found)
        if test.condition is not None:
            rows["condition"] = counts["condition"] = test.condition
        results.append(rows)
        clips.append(counts.assign(**labels)[[*LABELS, *(name for name in counts if name not in LABELS)]])
    return Measured(tables.tidy(pd.concat(results, ignore_index=True)), pd.concat(clips, ignore_index=True))


def measure_model(
    model: CMPose, config: Config, sets: Sequence[TestSet], *, flip_test: bool, progress: bool = False, batch: int = 64, **labels
) -> Measured:
    """Run a model over test sets, on the GPU where there is one.

    Frozen parts give the same tokens in every cell, so on scenes these are computed once and kept (in half precision, as in training).
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    mixed = tokens.mixed_kept(config)

    def predict(source) -> Predictions:
        known = None
        if config.train.freeze and config.model.stage and not flip_test and getattr(source, "world", None) is not None:
            known = tokens.embed_all(model.to(device), source, device, progress=progress, mixed=mixed)
        return evaluate.predict_source(
            model, source, batch, flip_test=flip_test, kind=config.train.loss, device=device, progress=progress, tokens=known, mixed=mixed
        )

    return measure(predict, config.model.keypoints, sets, **labels)


def clip_counts(found: Predictions, thresholds: Sequence[float] = pck.THRESHOLDS) -> pd.DataFrame:
    """Columns `condition`, `clip`, `counted`, `visible`, `right@0.2`, `right@0.2 visible`, …: one row a clip, counts as uint8."""
    apart = pck.distances(found.keypoints, found.truth, found.scale)
    used = {"": pck.counted(found.visibility), " visible": pck.counted(found.visibility, "visible")}
    table = {"condition": [CONDITION_CODES[number] for number in found.condition], "clip": found.index.astype(np.int64)}
    table |= {name: mask.sum(1) for name, mask in zip(_COUNTS, used.values(), strict=True)}
    for threshold in thresholds:
        table |= {f"right@{threshold:g}{subset}": ((apart <= threshold) & mask).sum(1) for subset, mask in used.items()}
    frame = pd.DataFrame(table)
    return frame.astype({name: "uint8" for name in frame if name not in ("condition", "clip")})
