"""The three scales of every study, in one table.

`smoke` proves that everything runs (its numbers mean nothing), `book` is what the book's records were made with on a CPU, `paper` is
meant for GPUs. A scale decides sizes only; what a study compares is the same at every scale.
"""

from dataclasses import dataclass, field

from causalpose.conditions import CONDITION_CODES
from causalpose.errors import CausalPoseError

TRAIN = "train"  # in place of shipped backbones: the grid trains its own


@dataclass(frozen=True)
class Scale:
    """Sizes of one scale.

    preset       the model
    training     dotted configuration keys of a training cell (steps, batch, clips, …); what is absent is the preset's
    stages       the same for one stage alone, over `training`
    studies      the same for the stages above the backbone in one study alone, over both
    backbones    shipped backbones that the training seeds take in turn (those that are present), or `train`
    test_clips   held-out clips per condition
    seeds        training seeds of a study
    conditions   under which it is tested
    flip_test    average with the mirrored clip when testing: costs twice, so only where the time is there
    minutes      of a cell on one idle core, by its kind, for the forecast of a dry run before anything was timed
    """

    preset: str
    training: dict = field(default_factory=dict)
    stages: dict[int, dict] = field(default_factory=dict)
    studies: dict[str, dict] = field(default_factory=dict)
    backbones: tuple[str, ...] = (TRAIN,)
    test_clips: int = 2000
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    conditions: tuple[str, ...] = CONDITION_CODES
    flip_test: bool = True
    minutes: dict[str, float] = field(default_factory=dict)


# With a frozen backbone and no augmentation its tokens are computed once and kept, which makes a cell a matter of minutes on one thread.
# The price: no cell can improve the backbone. All arms of a study pay it alike. Stage 2 keeps stage 1's encoder as well: its cells train
# what stage 2 adds, and the head, on one and the same stage 1.
_CACHED = {"train.freeze": True, "train.augment": False, "train.precision": "bf16", "train.lr": 2e-3}
_BACKBONE = {"train.freeze": False, "train.augment": False, "train.lr": 1e-3}
_STAGE_2 = {"train.freeze_encoder": True, "train.lr": 1e-3}

SCALES: dict[str, Scale] = {
    "smoke": Scale(
        "tiny",
        _CACHED
        | {"train.steps": 6, "train.batch": 8, "train.warmup": 2, "train.log_every": 1, "train.checkpoint_every": 3, "data.clips": 64},
        stages={0: _BACKBONE, 2: _STAGE_2},
        test_clips=12,
        seeds=(0,),
        flip_test=False,
        minutes={"backbone": 0.2, "stage1": 0.2, "stage2": 0.2, "evaluation": 0.2, "study": 0.2},
    ),
    "book": Scale(
        "tiny",
        _CACHED | {"train.steps": 200, "train.batch": 32, "train.warmup": 20, "train.checkpoint_every": 100, "data.clips": 3072},
        stages={0: _BACKBONE | {"data.clips": 65_536, "train.steps": 8000, "train.warmup": 300}, 2: _STAGE_2},
        studies={
            # As often round the clips as the other studies of stage 1, in four times the steps.
            "paper_tasks": {"data.clips": 12_288, "train.steps": 800, "train.warmup": 80},
            # Trained end to end for as many steps as the minutes allow, so few clips would be learned by heart.
            "whole_method": {"data.clips": 65_536},
        },
        backbones=("tiny-backbone", "tiny-backbone-b"),
        test_clips=300,
        flip_test=False,
        minutes={"backbone": 60, "stage1": 2, "stage2": 1.2, "evaluation": 0.4, "study": 0.5},
    ),
    # The preset's own steps, batch and rate. Real data is named by the parameter `data`; the clips below are for scenes.
    "paper": Scale(
        "base",
        {"data.clips": 65_536, "train.checkpoint_every": 1000, "train.log_every": 50},
        minutes={"backbone": 600, "stage1": 900, "stage2": 900, "evaluation": 30, "study": 1},
    ),
}


def scale(name: str) -> Scale:
    """Look a scale up by name."""
    try:
        return SCALES[name]
    except (KeyError, TypeError):
        raise CausalPoseError(f"scale = {name!r} is not one of: {', '.join(SCALES)}") from None
