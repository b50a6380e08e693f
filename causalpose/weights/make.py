"""`make weights`: train the shipped weights from nothing, one stage after the other.

Everything that decides them is in `RECIPES`. Each stage is a resumable run in `runs/weights/NAME`: stopped at any moment, the same
command goes on. A finished stage is stored here in float16 with its configuration, seed and versions in the `.json` beside it.

    python -m causalpose.weights.make [--only NAME …] [--control] [--runs FOLDER] [--into FOLDER]
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from causalpose import weights
from causalpose.config import Config, preset
from causalpose.errors import CausalPoseError


@dataclass(frozen=True)
class Recipe:
    """One stage: the weights it makes, those it starts from, and what it changes in the `tiny` preset."""

    name: str
    init: str | None
    overrides: tuple[str, ...]

    def config(self) -> Config:
        """The full configuration of the stage."""
        return preset("tiny", self.overrides)


_COMMON = (
    "train.precision=bf16",
    "train.seed=0",
    "data.seed=0",
    "train.sigma=1.0",
    "train.checkpoint_every=250",
    "train.log_every=25",
    "train.ema=0.999",
    "train.augment=false",
)  # scenes are new in every clip; rotated and cropped ones learn slower at this size

# The single-frame stage is what takes time from nothing; it sees one frame a clip, so many clips are cheap. The later stages keep its
# backbone as it is (its tokens are computed once and cached): trained on along with them on these few clips it fits the clips, and
# validation falls behind. Their rate and steps were chosen on val.
_BACKBONE = ("model.stage=0", "data.clips=65536", "train.steps=8000", "train.batch=32", "train.lr=0.001", "train.warmup=300")
_LATER = (*_COMMON, "data.clips=12288", "train.freeze=true", "train.batch=32", "train.warmup=20", "train.ema=0.98")
_STAGE_1 = (*_LATER, "train.steps=800", "train.lr=0.002")
RECIPES = (
    Recipe("tiny-backbone", None, (*_COMMON, *_BACKBONE)),
    # The same recipe with other seeds (start, order and clips): what the studies vary the pretraining with.
    Recipe("tiny-backbone-b", None, (*_COMMON, *_BACKBONE, "train.seed=1", "data.seed=1")),
    Recipe("tiny-stage1", "tiny-backbone", ("model.stage=1", *_STAGE_1)),
    Recipe("tiny-stage2", "tiny-stage1", ("model.stage=2", *_LATER, "train.steps=500", "train.lr=0.001")),
)

# Stage 1 has also been trained for longer than the model that it starts from. This control has had the same steps on the same clips and
# nothing else (its head learns, as stage 1's does): what stage 1 is better by is due to its frames, encoder and tasks. The control is
# not shipped; it stays among the runs.
CONTROL = Recipe("single-frame-continued", "tiny-backbone", ("model.stage=0", *_STAGE_1))

VAL_CLIPS = 512


def make(recipe: Recipe, runs: Path, into: Path, progress: bool = True, *, init_folder: Path | None = None) -> Path:
    """Train one recipe (or go on, or find it finished) and store it in float16; returns the stored file.

    The weights that it starts from are read from `init_folder`, else from `into`.
    """
    from causalpose.training import checkpoint
    from causalpose.training.loop import train
    from causalpose.training.sources import training_source

    config = recipe.config()
    init = (
        None if recipe.init is None else (init_folder or into) / f"{recipe.init}.safetensors"
    )  # the stored file, so that anyone starts from the same
    if init is not None:
        checkpoint.locate(init)  # before the scenes are rendered, not after
    source = training_source(config, progress=progress)
    val = training_source(config, split="val", clips=VAL_CLIPS, progress=progress)
    run = train(config, source, runs / recipe.name, init=init, resume=True, val=val, progress=progress)
    model, config, provenance = checkpoint.load(run)
    if recipe.init is not None:
        provenance = provenance | {"init": recipe.init}  # the shipped name, not a path of this machine
    return checkpoint.save(into / f"{recipe.name}.safetensors", model, config, provenance, half=True)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m causalpose.weights.make", description="Train the shipped weights from nothing.")
    parser.add_argument("--only", nargs="*", choices=weights.NAMES, default=list(weights.NAMES), help="weights to make (all, in order)")
    parser.add_argument("--control", action="store_true", help=f"train the control {CONTROL.name} too (for the record of the weights)")
    parser.add_argument("--runs", type=Path, default=Path("runs/weights"), help="folder of the resumable runs")
    parser.add_argument("--into", type=Path, default=weights.FOLDER, help="folder to store the weights in")
    given = parser.parse_args(arguments)
    try:
        for recipe in RECIPES:
            if recipe.name in given.only:
                print(f"wrote {make(recipe, given.runs, given.into)}")
        if given.control:
            print(f"wrote {make(CONTROL, given.runs, given.runs, init_folder=given.into)}")
    except CausalPoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
