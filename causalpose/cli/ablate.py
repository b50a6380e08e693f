"""`causalpose ablate`: run the ablation grid."""

import os
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ablate")(ablate)


def ablate(
    scale: Annotated[str, typer.Option(help="smoke (does it run), book (the book's records, hours on a CPU) or paper (GPUs).")] = "smoke",
    study: Annotated[str, typer.Option(help="Studies by name, separated by commas; empty: all.")] = "",
    jobs: Annotated[int, typer.Option(min=0, help="Cells at once; 0: one a core.")] = 0,
    seeds: Annotated[str, typer.Option(help="Training seeds, such as 0,1,2; empty: the scale's.")] = "",
    arms: Annotated[str, typer.Option(help="Arms of the study by name; empty: all.")] = "",
    main: Annotated[bool, typer.Option("--main", help="Only the arms of each study's short form.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cells and the expected minutes; run nothing.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say what is finished; run nothing.")] = False,
) -> None:
    """Run the ablation grid through Snakemake: backbone, stage 1, stage 2, evaluation, study.

    Finished cells are never run again; stopped at any moment, the same command goes on.
    """
    from causalpose.experiments import engine

    cores = os.cpu_count() or 1
    jobs = jobs or cores
    config = {"scale": scale, "studies": study, "seeds": seeds, "arms": arms, "main": main or ""}
    if dry_run or status:
        typer.echo(engine.listing(config, jobs, status=status))
        return
    config["threads"] = max(1, cores // jobs)
    raise typer.Exit(engine.run(config, jobs=jobs))
