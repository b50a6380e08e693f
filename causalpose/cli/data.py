"""`causalpose data`: commands about data sets."""

from pathlib import Path
from typing import Annotated

import typer

group = typer.Typer(help="Look at and check data sets.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="data")


@group.command("check", no_args_is_help=True)
def check(
    root: Annotated[
        str, typer.Argument(metavar="ROOT", help="A data set's folder (its format is recognised), one annotation file, or FORMAT:PATH.")
    ],
    images: Annotated[bool, typer.Option("--images/--no-images", help="Decode every image to its end.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress line.")] = False,
) -> None:
    """Is this data set complete and sound? Lists every fault by file and field; exit code 1 when there is one."""
    from rich.console import Console

    from causalpose.data.check import check as check_folder

    console = Console(stderr=True)
    with console.status("checking …") as status:
        report = check_folder(root, images=images, progress=None if quiet else lambda name: status.update(f"checking {name}"))
    typer.echo(str(report))
    if not report.sound:
        raise typer.Exit(1)


@group.command("show", no_args_is_help=True)
def show(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="A data set's folder, one annotation file, or FORMAT:PATH.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the pictures.")],
    split: Annotated[str | None, typer.Option(help="Split to show (default: the first).")] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of frames, spread evenly over the split.")] = 6,
) -> None:
    """Draw labelled frames: skeletons (hidden joints faint), boxes, head boxes, ignore regions."""
    from causalpose.data.formats import open_data
    from causalpose.plotting.labelled import save_labelled

    data = open_data(root)
    for file in save_labelled(data, split or next(iter(data.splits()), ""), out, count):
        typer.echo(f"wrote {file}")


@group.command("convert", no_args_is_help=True)
def convert(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="A PoseTrack data set's folder or one of its annotation files.")],
    to: Annotated[str, typer.Option("--to", help="posetrack17 or posetrack18.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the converted data set.")],
    link: Annotated[bool, typer.Option("--link/--no-link", help="Link the image folders into it.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress line.")] = False,
) -> None:
    """Convert PoseTrack annotations between the forms of 2017 and 2018 (which 21 shares).

    Example: causalpose data convert posetrack17 --to posetrack18 --out posetrack17-converted
    """
    from rich.console import Console

    from causalpose.data.convert import convert as convert_folder

    with Console(stderr=True).status("converting …") as status:
        counts = convert_folder(root, to, out, link=link, progress=None if quiet else lambda name: status.update(f"converting {name}"))
    typer.echo(f"wrote {out}: " + ", ".join(f"{count} sequences of {split}" for split, count in counts.items()))
