"""The three scales of every study, in one table.

`smoke` proves that a notebook runs (its numbers mean nothing), `book` is what the book's records were made with on a CPU, `paper` is
meant for GPUs. A scale decides sizes only; what a study compares is the same at every scale.
"""

from dataclasses import dataclass, field

from causalpose.clip import CONDITIONS
from causalpose.errors import CausalPoseError


@dataclass(frozen=True)
class Scale:
    """Sizes of one scale.

    preset       the model
    training     dotted configuration keys of a training cell (steps, batch, clips, …); what is absent is the preset's
    test_clips   held-out clips per condition
    seeds        training seeds of a study
    conditions   under which it is tested
    flip_test    average with the mirrored clip when testing: costs twice, so only where the time is there
    """

    preset: str
    training: dict = field(default_factory=dict)
    test_clips: int = 2000
    seeds: tuple[int, ...] = (0, 1, 2)
    conditions: tuple[str, ...] = CONDITIONS
    flip_test: bool = True


# With a frozen backbone and no augmentation its tokens are computed once and kept, which makes a cell a matter of minutes on one thread.
# The price: no cell can improve the backbone. All arms of a study pay it alike.
_CACHED = {"train.freeze": True, "train.augment": False, "train.precision": "bf16", "train.lr": 2e-3}

SCALES: dict[str, Scale] = {
    "smoke": Scale(
        "tiny",
        _CACHED
        | {"train.steps": 6, "train.batch": 8, "train.warmup": 2, "train.log_every": 1, "train.checkpoint_every": 3, "data.clips": 64},
        test_clips=12,
        seeds=(0, 1),
        flip_test=False,
    ),
    # One to three minutes a cell on one thread, by the number of auxiliary tasks; twelve cells and the reference take about twenty.
    "book": Scale(
        "tiny",
        _CACHED | {"train.steps": 200, "train.batch": 32, "train.warmup": 20, "train.checkpoint_every": 100, "data.clips": 3072},
        test_clips=300,
        flip_test=False,
    ),
    # The preset's own steps, batch and rate. Real data is named by the notebook parameter `data`; the clips below are for scenes.
    "paper": Scale("base", {"data.clips": 65_536, "train.checkpoint_every": 1000, "train.log_every": 50}),
}


def scale(name: str) -> Scale:
    """Look a scale up by name."""
    try:
        return SCALES[name]
    except (KeyError, TypeError):
        raise CausalPoseError(f"scale = {name!r} is not one of: {', '.join(SCALES)}") from None
