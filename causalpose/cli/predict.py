"""`causalpose predict`."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict", no_args_is_help=True)(predict)


def predict(
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="A run folder, a checkpoint or shipped weights such as tiny-stage1.")],
    video: Annotated[Path, typer.Argument(metavar="VIDEO_OR_FOLDER", help="A video file, or a folder of images in order.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for NAME.json (PoseTrack18) and NAME.mp4 (overlay).")],
    boxes: Annotated[
        Path | None, typer.Option("--boxes", help="Person boxes: PoseTrack18 JSON, or a list of detections. Without it: the whole frame.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Frames without boxes in the file, or all without a file: from the pose of the frame before.")
    ] = False,
    dilation: Annotated[int | None, typer.Option(min=1, help="Frames between two frames of a clip (default: as in training).")] = None,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Average with the mirrored clip.")] = True,
    overlay: Annotated[bool, typer.Option("--overlay/--no-overlay", help="Write the overlay video.")] = True,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Find the pose of every person in every frame of a video.

    Example: causalpose predict tiny-stage2 walk.mp4 --boxes walk_boxes.json --out runs/walk
    """
    from causalpose.cli.devices import device as by_name
    from causalpose.evaluation.predict import predict_video
    from causalpose.plotting.overlay import FrameDrawer
    from causalpose.skeletons import keypoint_set
    from causalpose.training import checkpoint as checkpoints
    from causalpose.training.memory import keep_large_blocks

    keep_large_blocks()
    place = by_name(device)
    model, config, _ = checkpoints.load(checkpoint, device=place)
    out.mkdir(parents=True, exist_ok=True)
    result = predict_video(
        model,
        video,
        out,
        boxes=boxes,
        follow=follow,
        draw=FrameDrawer(keypoint_set("posetrack18")) if overlay else None,
        dilation=dilation or config.data.dilation,
        flip_test=flip,
        kind=config.train.loss,
        device=place,
        progress=not quiet,
    )
    typer.echo(f"{result['persons']} poses in {result['frames']} frames")
    for key in ("json", "video"):
        if key in result:
            typer.echo(f"wrote {result[key]}")
