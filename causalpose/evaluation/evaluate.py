"""Run a model over a source and measure it, condition by condition."""

from collections.abc import Sequence
from contextlib import nullcontext

import pandas as pd
import torch
from tqdm.auto import tqdm

from causalpose.clip import CONDITION_CODES, Clip
from causalpose.errors import CausalPoseError
from causalpose.evaluation import poses
from causalpose.evaluation.pck import THRESHOLDS, pck
from causalpose.evaluation.predictions import Predictions
from causalpose.evaluation.tables import tidy
from causalpose.model.cmpose import CMPose
from causalpose.skeletons import keypoint_set
from causalpose.training.truth import body_share


@torch.inference_mode()
def predict_source(
    model: CMPose,
    source,
    batch: int = 64,
    *,
    flip_test: bool = True,
    kind: str = "ce",
    device: torch.device | str = "cpu",
    progress: bool = False,
    tokens: torch.Tensor | None = None,
    mixed: bool = False,
    decoder: str = "dark",
) -> Predictions:
    """Poses of every clip of a source at its target frame.

    `source` has `len` and `batch(indices) -> Clip`; `kind` is the loss the model was trained with (`TrainConfig.loss`). The model is left
    in the mode it came in. The `oracle` selector gets its truth from the clips' part masks.

    tokens   `[n, T, N, C]` of every clip, where they are known already (a frozen backbone's); not with the flip test
    mixed    these tokens have been through the encoder too
    decoder  from map to place, one of `causalpose.model.heatmaps.DECODERS`
    """
    if batch < 1:
        raise CausalPoseError(f"evaluation batch = {batch} must be at least 1")
    if tokens is not None and flip_test:
        raise CausalPoseError("the flip test needs the frames of the mirrored clip; tokens alone do not give it")
    config = model.config
    oracle = config.stage == 2 and config.fte.selector == "oracle"
    was_training = model.training
    model.to(device).eval()
    parts = []
    try:
        for start in tqdm(range(0, len(source), batch), desc="evaluate", unit="batch", disable=not progress, leave=False):
            numbers = torch.arange(start, min(start + batch, len(source)))
            clip = source.batch(numbers).to(device)
            if clip.keypoints.shape[-2] != len(keypoint_set(config.keypoints)):
                raise CausalPoseError(
                    f"the source's clips hold {clip.keypoints.shape[-2]} keypoints, but the model predicts {config.keypoints}"
                )
            truth = body_share(clip, config) if oracle else None
            known = None if tokens is None else tokens[numbers].to(device)
            maps = poses.to_maps(_heatmaps(model, clip, truth, known, mixed), kind)
            if flip_test:
                flipped = model(clip.frames.flip(-1), truth=poses.flip_truth(truth, config)).heatmaps
                maps = (maps + poses.unflip(poses.to_maps(flipped, kind), config)) / 2
            points, scores = poses.poses(maps, config, kind, decoder)
            parts.append(Predictions.of(clip, points.cpu().numpy(), scores.cpu().numpy()))
    finally:
        model.train(was_training)
    return Predictions.concatenate(parts)


def _heatmaps(model: CMPose, clip: Clip, truth: torch.Tensor | None, tokens: torch.Tensor | None, mixed: bool) -> torch.Tensor:
    if tokens is None:
        return model(clip.frames, truth=truth).heatmaps
    with model.encoder.passing() if mixed else nullcontext():
        return model.forward_tokens(tokens, truth=truth).heatmaps


def measure(predictions: Predictions, keypoints: str, thresholds: Sequence[float] = THRESHOLDS, **labels: object) -> pd.DataFrame:
    """Tidy PCK rows of predictions by condition; `labels` are the columns `study`, `variant`, `seed`, `dataset`.

    With more than one condition present, rows of condition `all` (every clip) come first. The mean's and each joint's values are percent.
    """
    names = keypoint_set(keypoints)
    present = [number for number in range(len(CONDITION_CODES)) if (predictions.condition == number).any()]
    groups = {CONDITION_CODES[number]: predictions.select(predictions.condition == number) for number in present}
    if len(present) > 1:
        groups = {"all": predictions, **groups}
    rows = []
    for condition, part in groups.items():
        for threshold in thresholds:
            table = pck(part.keypoints, part.truth, part.visibility, part.scale, threshold, names)
            rows.append(table.drop(columns="count").assign(condition=condition))
    return tidy(pd.concat(rows, ignore_index=True), **({"study": "evaluate", "variant": "model", "seed": 0, "dataset": "unknown"} | labels))


def evaluate(
    model: CMPose,
    source,
    *,
    study: str = "evaluate",
    variant: str = "model",
    seed: int = 0,
    dataset: str | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    batch: int = 64,
    flip_test: bool = True,
    kind: str = "ce",
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> pd.DataFrame:
    """PCK of a model on a source by condition and joint, as a tidy frame (percent). `dataset` defaults to the source's own name."""
    predictions = predict_source(model, source, batch, flip_test=flip_test, kind=kind, device=device, progress=progress)
    dataset = dataset or _name(source.describe())
    return measure(predictions, model.config.keypoints, thresholds, study=study, variant=variant, seed=seed, dataset=dataset)


def _name(facts: dict) -> str:
    """A data set's short name from its description: the folder (or kind) and the split."""
    kind = facts.get("root") or facts.get("source") or "unknown"
    return f"{kind}/{facts['split']}" if facts.get("split") else str(kind)
