"""`causalpose data preview`: look at scenes before training on them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from causalpose.errors import CausalPoseError

REPEATS = 4  # times that the few frames of a clip are shown in the video


def register(app: typer.Typer) -> None:
    """Add the command to the `data` group."""
    from causalpose.cli.data import group

    group.command("preview", no_args_is_help=True)(preview)


def settings(assignments: list[str]) -> dict[str, object]:
    """`do` settings from `cause=value` texts: none, a name, a whole number (that clip's draw), or a JSON table of numbers."""
    out: dict[str, object] = {}
    for text in assignments:
        name, separator, value = (part.strip() for part in text.partition("="))
        if not separator or not name or not value:
            raise CausalPoseError(f"--do {text!r} must have the form cause=value, e.g. background=none or lens=defocus")
        if name in out:
            raise CausalPoseError(f"--do names {name} twice; put all its numbers into one table")
        if value.lower() in ("none", "null"):
            out[name] = None
            continue
        try:
            out[name] = json.loads(value)
        except json.JSONDecodeError:
            if value.startswith("{"):
                raise CausalPoseError(f"--do {text!r}: the table is not JSON; write it as {name}='{{\"parameter\": 1.0}}'") from None
            out[name] = value
    return out


def size(text: str) -> tuple[int, int]:
    """(height, width) from `HxW`."""
    height, _, width = text.lower().partition("x")
    if not (height.strip().isdecimal() and width.strip().isdecimal()):
        raise CausalPoseError(f"--size {text!r} must be height x width in pixels, e.g. 96x72")
    return int(height), int(width)


def preview(
    out: Annotated[Path, typer.Option("--out", help="Folder for scenes.png and scenes.mp4.", show_default=False)],
    clips: Annotated[int, typer.Option(min=1, max=400, help="How many clips.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the world: another seed, other clips.")] = 0,
    level: Annotated[str, typer.Option(help="Difficulty: easy, default or hard.")] = "default",
    shape: Annotated[str, typer.Option("--size", metavar="HxW", help="Height and width of a frame in pixels.")] = "96x72",
    frames: Annotated[int, typer.Option(help="Frames of a clip (odd, up to 15).")] = 9,
    do: Annotated[
        list[str] | None,
        typer.Option("--do", metavar="CAUSE=VALUE", help="Set a cause: none, a name, a clip's number or a JSON table. Repeat for more."),
    ] = None,
    bias: Annotated[
        str,
        typer.Option(metavar="CHILD<-PARENT:P", help="Let a cause depend on another, e.g. background<-motion:0.9; several with commas."),
    ] = "",
    skeleton: Annotated[bool, typer.Option("--skeleton/--no-skeleton", help="Draw the keypoints, hidden ones fainter.")] = False,
) -> None:
    """Render some scenes as a contact sheet and a video; with --do each clip stands beside its counterfactual.

    Example: causalpose data preview --out runs/preview --do background=none --do 'lens={"gain": 0.2}'

    A biased world beside its twin without the shortcut: --bias 'background<-motion:0.9' --do background=12
    """
    import cv2

    from causalpose.data.files import replacing
    from causalpose.data.video import write_video
    from causalpose.plotting.scenes import setting_text, sheet
    from causalpose.scenes.motion import FRAME_SECONDS
    from causalpose.scenes.world import World

    height, width = size(shape)
    world = World(height, width, frames, level, seed).biased(bias)
    changes = settings(do or [])
    other = world.do(**changes) if changes else None  # refuses a wrong setting before anything is rendered
    factual = world.render(range(clips))
    beside = other.render(range(clips)) if other else None

    tiles = 2 if other else 1
    enlarge = max(1, round(144 / height))
    columns = max(1, round((clips * height / (width * tiles) * 1.6) ** 0.5))  # a sheet of about 16:10

    def page(frame: int):
        return sheet(factual, columns, beside=beside, frame=frame, enlarge=enlarge, skeleton=skeleton)

    with replacing(out / "scenes.png") as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(page(factual.target), cv2.COLOR_RGB2BGR))
    typer.echo(f"wrote {out / 'scenes.png'}")
    if frames > 1:
        pages = [page(frame) for frame in range(frames)]
        write_video(out / "scenes.mp4", pages * REPEATS, fps=1 / FRAME_SECONDS)
        typer.echo(f"wrote {out / 'scenes.mp4'}")
    for edge in world.edges:
        cut = ", cut by do()" if other and edge not in other.edges else ""
        typer.echo(f"biased: {edge.child} depends on {edge.parent} in {edge.probability:.0%} of the clips{cut}")
    if other:
        typer.echo(f"left of each pair: as it is; right: do({setting_text(changes)})")
