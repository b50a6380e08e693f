"""`causalpose data`: commands about data sets."""

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
