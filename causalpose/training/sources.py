"""The data that a configuration names: `scenes`, or real video in any format that `causalpose.data.formats` knows."""

from dataclasses import replace

from causalpose.clip import CONDITIONS
from causalpose.config import Config
from causalpose.data.placebo import ShuffledLabels
from causalpose.data.source import PersonSource
from causalpose.scenes.dataset import SceneSource

SCENES = "scenes"


def training_source(
    config: Config, *, split: str | None = None, clips: int | None = None, ahead: bool = True, progress: bool = False
) -> SceneSource | PersonSource | ShuffledLabels:
    """The clips that `config.data` describes, or with `split` and `clips` those of a held-out split (under all conditions, not
    `data.condition`, which is the training clips').

    A single-frame model needs no more than the target frame, so its scenes are rendered with one. `data.shuffled` shuffles the labels of
    the training clips, never those of a held-out split. Scenes are rendered `ahead` or else batch by batch, with the same pixels.
    """
    source = _clips(config, split, clips, ahead, progress)
    return ShuffledLabels(source, config.data.seed) if config.data.shuffled and split is None else source


def _clips(config: Config, split: str | None, clips: int | None, ahead: bool, progress: bool) -> SceneSource | PersonSource:
    data = replace(config.data, split=split or config.data.split, clips=clips or config.data.clips)
    if data.source != SCENES:
        return PersonSource(data.source, data.split, config.model, data, labelled_only=True)
    model = replace(config.model, frames=1) if config.model.stage == 0 else config.model
    return SceneSource(model, data, data.condition if split is None else "mixed", ahead=ahead, progress=progress)


def evaluation_sources(
    config: Config, source: str, split: str, *, clips: int = 512, severity: int = 3, progress: bool = False
) -> list[SceneSource | PersonSource]:
    """What a model is measured on: scenes under each condition in turn (the same scenes, so they pair), or a split of real video."""
    data = replace(config.data, source=source, split=split, clips=clips)
    if source != SCENES:
        return [PersonSource(source, split, config.model, data)]
    return [SceneSource(config.model, data, condition, severity, progress=progress) for condition in CONDITIONS]
