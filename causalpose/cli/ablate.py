"""`causalpose ablate`: run the ablation grid."""

import os
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ablate")(ablate)


def ablate(
    scale: Annotated[str, typer.Option(help="smoke (does it run), book (the book's records, hours on a CPU) or paper (GPUs).")] = "smoke",
    study: Annotated[str, typer.Option(help="Studies by name, separated by commas; empty: all.")] = "",
    jobs: Annotated[int, typer.Option(min=0, help="Cells at once; 0: one a core. The cores are shared between them.")] = 0,
    seeds: Annotated[str, typer.Option(help="Training seeds, such as 0,1,2; empty: the scale's.")] = "",
    arms: Annotated[str, typer.Option(help="Arms of the study by name, separated by commas; empty: all.")] = "",
    main: Annotated[bool, typer.Option("--main", help="Only the arms of each study's short form.")] = False,
    backbones: Annotated[str, typer.Option(help="Shipped names or paths that the seeds take in turn, or train; empty: the scale's.")] = "",
    data: Annotated[str, typer.Option(help="`scenes`, or a folder in PoseTrack18 form.")] = "scenes",
    steps: Annotated[int, typer.Option(min=0, help="Training steps of the studied stage; 0: the scale's.")] = 0,
    test_clips: Annotated[int, typer.Option(min=0, help="Test clips per condition; 0: the scale's.")] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change every arm alike (repeatable).")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Folder to run in (runs/ablations below it); empty: the repository.")] = None,
    profile: Annotated[Path | None, typer.Option(help="Snakemake profile, such as ablations/profiles/slurm.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cells and the expected minutes; run nothing.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say what is finished; run nothing.")] = False,
) -> None:
    """Run the ablation grid through Snakemake: backbone, stage 1, stage 2, evaluation, study.

    Finished cells are never run again, also when another study asks for them; stopped at any moment, the same command goes on. Records of
    finished studies go to ablations/results/STUDY/SCALE; those of scale smoke, and of runs that hold less
    than the record that is there, to runs/ablations/results/STUDY/SCALE.
    """
    from causalpose.errors import CausalPoseError
    from causalpose.experiments import engine

    if not engine.SNAKEFILE.is_file():
        raise CausalPoseError(f"{engine.SNAKEFILE} is missing: the grid runs from a clone of the repository, not from an installed package")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parallel = jobs or cores
    config = {
        "scale": scale, "studies": study, "seeds": seeds, "arms": arms, "main": main, "backbones": backbones, "data": data,
        "steps": steps or None, "test_clips": test_clips or None, "overrides": set_ or [], "threads": max(1, cores // parallel),
    }  # fmt: skip
    config = {name: value for name, value in config.items() if value not in (None, "", [], False)}
    where = folder or engine.ROOT
    if dry_run or status:
        typer.echo(engine.listing(config, parallel, brief=status, folder=where))
        return
    arguments = ["--profile", str(profile.resolve())] if profile else []
    raise typer.Exit(engine.run(config, parallel=parallel, folder=where, arguments=arguments))
