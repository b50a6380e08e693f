"""`causalpose evaluate`."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate", no_args_is_help=True)(evaluate)


def evaluate(
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="A run folder, a checkpoint or shipped weights such as tiny-stage1.")],
    data: Annotated[
        str, typer.Option(help="[bold]scenes[/bold] (every condition in turn), or a data set's folder (PoseTrack, Sub-JHMDB, COCO).")
    ] = "scenes",
    split: Annotated[str, typer.Option(help="Split to measure on.")] = "val",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write figures and protocol to this file.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips per condition (scenes).")] = 512,
    severity: Annotated[int, typer.Option(min=1, max=5, help="Severity of the conditions (scenes).")] = 3,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Average with the mirrored clip.")] = True,
    batch: Annotated[int, typer.Option(min=1, help="Clips at once.")] = 64,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Measure a model: PCK@0.2 and PCK@0.1 by condition, visible and occluded joints apart.

    Example: causalpose evaluate runs/s1 --data scenes --json runs/s1/val.json
    """
    from rich.console import Console

    from causalpose.cli.devices import device as by_name
    from causalpose.evaluation.evaluate import measure, predict_source
    from causalpose.training import checkpoint as checkpoints
    from causalpose.training.files import write_json
    from causalpose.training.sources import evaluation_sources

    place = by_name(device)
    model, config, provenance = checkpoints.load(checkpoint, device=place)
    rows, protocols = [], []
    for source in evaluation_sources(config, data, split, clips=clips, severity=severity, progress=not quiet):
        found = predict_source(model, source, batch, flip_test=flip, kind=config.train.loss, device=place, progress=not quiet)
        facts = source.describe()
        dataset = f"{facts.get('dataset') or facts.get('root')}/{split}"
        frame = measure(found, config.model.keypoints, study="evaluate", variant=checkpoint, seed=config.train.seed, dataset=dataset)
        rows += frame.to_dict("records")
        protocols.append(facts | {"clips": len(source)})
    shown = {
        "checkpoint": checkpoint,
        "stage": config.model.stage,
        "frames": config.model.frames if config.model.stage else 1,
        "size": [config.model.height, config.model.width],
        "flip_test": flip,
        "metric": "PCK in per cent: mean over joints of the share within the threshold times the clip's scale",
    }
    Console().print(_table(rows, protocols, shown))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_json(json_file, {"protocol": shown | {"sources": protocols}, "provenance": provenance, "rows": rows})
        typer.echo(f"wrote {json_file}")


def _table(rows: list[dict], protocols: list[dict], shown: dict):
    """The mean over joints by condition, with the protocol as caption."""
    from rich import box
    from rich.table import Table

    means: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["joint"] == "mean":
            means.setdefault(row["condition"], {})[row["metric"]] = row["value"]
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    first = protocols[0]
    name = f"{first.get('dataset') or first.get('root')}/{first['split']}"
    severity = next((p["severity"] for p in protocols if p.get("severity")), None)
    clips = f"{first['clips']} clips" + (" per condition" if len(protocols) > 1 else "") + (f", severity {severity}" if severity else "")
    size = f"{shown['frames']} frames of {shown['size'][0]}x{shown['size'][1]}"
    caption = [
        clips,
        f"stage {shown['stage']}, {size}, flip test {'on' if shown['flip_test'] else 'off'}",
        f"boxes: {first['boxes']}",
        f"scale: {first['scale']}",
    ]
    table = Table(
        title=f"{shown['checkpoint']} on {name}, per cent", caption="\n".join(caption), box=box.SIMPLE_HEAD, caption_justify="left"
    )
    table.add_column("condition")
    for metric in metrics:
        table.add_column(metric.replace(" ", "\n"), justify="right")
    for condition, values in means.items():
        table.add_row(condition, *(f"{values[metric]:.1f}" if metric in values else "-" for metric in metrics))
    return table
