"""`causalpose bench`: how fast everything is, as ratios to references measured in the same run."""

import json
from pathlib import Path
from typing import Annotated

import typer

from causalpose.errors import CausalPoseError

RECORD = Path("ablations/results/benchmark")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(bench)


def bench(
    sections: Annotated[str, typer.Option(help="Sections by name, separated by commas; empty: all. `list` names them.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes, under a minute: does it run? Its numbers mean nothing.")] = False,
    threads: Annotated[int, typer.Option(min=0, help="Threads of PyTorch; 0: its own choice.")] = 0,
    out: Annotated[Path | None, typer.Option("--json", help="Also write everything to this JSON file.", show_default=False)] = None,
    keep: Annotated[bool, typer.Option("--record", help=f"Also keep it in {RECORD}, which the book reads.")] = False,
    into: Annotated[Path, typer.Option("--into", help="Folder of the record.")] = RECORD,
) -> None:
    """Measure speed, in turns with a reference for each, and print one table with ratios and the machine.

    A ratio says how many times as fast as its reference something is, or what part of the reference it reaches; in the sections mcl and
    scenes it is value over reference.
    """
    import torch

    from causalpose.benchmark import run
    from causalpose.data.files import replacing
    from causalpose.experiments.provenance import here

    if sections == "list":
        for name in run.NAMES:
            about = "parameters, operations and memory on paper" if name == run.PAPER else run.SECTIONS[name].about
            typer.echo(f"{name:12} {about}")
        return
    if keep and quick:
        raise CausalPoseError("--quick and --record exclude each other: the short form's numbers mean nothing")
    if threads:
        torch.set_num_threads(threads)
    wanted = [name.strip() for name in sections.split(",") if name.strip()] or run.NAMES
    found = run.run(wanted, quick=quick, progress=True)
    # The short form has no aims: its sizes are none that anything was aimed at.
    typer.echo(table(found.results.assign(aim="", met=None) if quick else run.with_aims(found.results)))
    if found.cost is not None:
        typer.echo(f"\ncost on paper (stage 2, metered on meta tensors; times are an H100's lower bounds)\n{paper(found.cost)}")
    for name, reason in found.missing.items():
        typer.echo(f"{name}: not measured ({reason})")
    machine = here()
    versions, processor = machine["versions"], machine["machine"]["processor"]
    seconds = sum(found.seconds.values())
    typer.echo(f"\n{processor}, {torch.get_num_threads()} threads, torch {versions['torch']}, python {machine['python']}; {seconds:.0f} s")
    if out is not None:
        with replacing(out) as temporary:
            temporary.write_text(json.dumps(run.document(found), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        typer.echo(f"written: {out}")
    if keep:
        typer.echo(f"record: {run.record(found, into)}")


def table(rows) -> str:
    """The rows as text, with dashes where there is nothing."""
    if rows.empty:
        return "no rows"

    def number(value: float) -> str:
        return "-" if value != value else f"{value:.4g}"

    shown = rows.assign(
        **{name: rows[name].map(number) for name in ("value", "reference", "ratio")},
        aim=[f"{aim} {'met' if met else 'missed'}" if aim else "" for aim, met in zip(rows["aim"], rows["met"], strict=True)],
    )
    return shown.drop(columns="met").to_string(index=False)


def paper(cost) -> str:
    """The costs at T = 5 (or the only T) and keep rate 0.3 (or the only one), one line a preset and size."""
    few = cost[(cost["frames"] == (5 if 5 in set(cost["frames"]) else cost["frames"].iloc[0]))]
    few = few[few["keep_rate"] == (0.3 if 0.3 in set(few["keep_rate"]) else few["keep_rate"].iloc[0])]
    shown = {
        "preset": few["preset"], "size": [f"{h}x{w}" for h, w in zip(few["height"], few["width"], strict=True)], "T": few["frames"],
        "keep rate": few["keep_rate"], "parameters (M)": few["parameters"] / 1e6, "forward (GFLOP)": few["forward_flops"] / 1e9,
        "step (GFLOP)": few["step_flops"] / 1e9, "activations (MB)": few["activation_mb"], "forward (ms)": few["forward_ms"],
        "step (ms)": few["step_ms"],
    }  # fmt: skip
    return type(cost)(shown).to_string(index=False, float_format=lambda value: f"{value:.4g}")
