"""`causalpose train`."""

from pathlib import Path
from typing import Annotated

import typer

OPTIMISATION, RUN = "What is trained", "The run"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", no_args_is_help=True)(train)


def train(
    *,
    preset: Annotated[
        str, typer.Option(help="tiny (minutes on two CPU cores), small, base, large or huge.", rich_help_panel=OPTIMISATION)
    ] = "tiny",
    stage: Annotated[
        int,
        typer.Option(
            min=0, max=2, help="0 single frame, 1 multitask coarse learning, 2 fine token enhancement.", rich_help_panel=OPTIMISATION
        ),
    ] = 1,
    data: Annotated[
        str, typer.Option(help="[bold]scenes[/bold], or a data set's folder (PoseTrack, Sub-JHMDB, COCO).", rich_help_panel=OPTIMISATION)
    ] = "scenes",
    split: Annotated[str, typer.Option(help="Split to train on.", rich_help_panel=OPTIMISATION)] = "train",
    init: Annotated[
        str,
        typer.Option(
            help="Weights to start from: a run folder, a checkpoint, shipped weights (tiny-backbone, tiny-stage1, tiny-stage2), published "
            "ones (timm, MAE, DINO, ViTPose, Hugging Face; .safetensors or .pth), or [bold]hf-hub:OWNER/NAME[/bold] from the network; "
            "[bold]none[/bold] starts from nothing; [bold]auto[/bold] takes the shipped weights of the stage below where they fit.",
            rich_help_panel=OPTIMISATION,
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of everything random in training.", rich_help_panel=OPTIMISATION)] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps (default: the preset's).", rich_help_panel=OPTIMISATION)] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Change any value of the configuration, e.g. model.mcl.mask_ratio=0.75. Repeatable.",
            rich_help_panel=OPTIMISATION,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the run: config, log, resumable state, and in the end the model.", rich_help_panel=RUN)
    ],
    val: Annotated[str | None, typer.Option(help="Split to measure PCK@0.2 on at every checkpoint, e.g. val.", rich_help_panel=RUN)] = None,
    val_clips: Annotated[int, typer.Option(min=1, help="Clips of --val for scenes.", rich_help_panel=RUN)] = 256,
    on_the_fly: Annotated[
        bool,
        typer.Option(
            "--on-the-fly",
            help="Render scenes batch by batch, not ahead into the cache: for more clips than memory or disk hold. The same pixels; "
            "--set train.workers=1 renders the next batches during a step.",
            rich_help_panel=RUN,
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; it ends as if never interrupted.", rich_help_panel=RUN)
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.", rich_help_panel=RUN)] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard events.", rich_help_panel=RUN)] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.", rich_help_panel=RUN)] = False,
) -> None:
    """Train one stage.

    Stage 1 starts from a single-frame model, stage 2 from stage 1. Stopped at any moment, the same command with
    [bold]--resume[/bold] goes on. Several processes: [bold]accelerate launch --num_processes 2 -m causalpose train …[/bold]

    Example: causalpose train --preset tiny --stage 1 --data scenes --seed 0 --out runs/s1
    """
    from causalpose.config import preset as build
    from causalpose.errors import CausalPoseError
    from causalpose.training import loop
    from causalpose.training.folder import recorded
    from causalpose.training.sources import training_source
    from causalpose.training.starting import starting_weights

    if resume and overwrite:
        raise CausalPoseError("--resume goes on with a run and --overwrite replaces it; give one of them")
    chosen = [f"model.stage={stage}", f"data.source={_json(data)}", f"data.split={_json(split)}", f"train.seed={seed}"]
    config = build(preset, [*chosen, *([f"train.steps={steps}"] if steps else []), *(overrides or [])])
    if resume and init == "auto" and recorded(out) is not None:
        start, reason = recorded(out)["facts"]["init"], "as the run began"
    else:
        start, reason = starting_weights(init, config)
    if not quiet:
        typer.echo(f"starting from {start or 'nothing'}: {reason}")
    source = training_source(config, ahead=not on_the_fly, progress=not quiet)
    held_out = training_source(config, split=val, clips=val_clips, progress=not quiet) if val else None
    try:
        folder = loop.train(
            config, source, out, init=start, resume=resume, overwrite=overwrite, val=held_out, progress=not quiet, tensorboard=tensorboard
        )
    except KeyboardInterrupt:
        typer.echo(f"interrupted; go on with the same command and --resume (run folder {out})", err=True)
        raise typer.Exit(130) from None
    if not quiet:
        typer.echo(f"the model is in {folder / 'model.safetensors'}, the log in {folder / 'log.csv'}")


def _json(text: str) -> str:
    """Text as an override's value, safe from being read as a number or a word of JSON."""
    import json

    return json.dumps(text)
