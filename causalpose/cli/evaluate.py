"""`causalpose evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

DATA, RUN = "What to measure on", "How"
_ORDER = ("AP (PoseTrack)", "AP (OKS)", "AR (OKS)")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate", no_args_is_help=True)(evaluate)


def evaluate(
    checkpoint: Annotated[
        str | None,
        typer.Argument(metavar="CKPT", help="A run folder, a checkpoint or shipped weights such as tiny-stage1. Not with --predictions."),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", help="Score this PoseTrack18 JSON file, or folder of one file a sequence, instead of a model."),
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            help="[bold]scenes[/bold] (every condition in turn), or a data set's folder (PoseTrack, Sub-JHMDB, COCO).",
            rich_help_panel=DATA,
        ),
    ] = "scenes",
    split: Annotated[str, typer.Option(help="Split to measure on.", rich_help_panel=DATA)] = "val",
    boxes: Annotated[
        Path | None,
        typer.Option("--boxes", help="Person boxes from this detection file (COCO's form), not the labels'.", rich_help_panel=DATA),
    ] = None,
    box_score: Annotated[float, typer.Option(help="Detections below this score are left out.", rich_help_panel=DATA)] = 0.3,
    nms: Annotated[float, typer.Option(help="OKS above which a worse pose of a detected box is dropped.", rich_help_panel=DATA)] = 0.9,
    clips: Annotated[int, typer.Option(min=1, help="Clips per condition (scenes).", rich_help_panel=DATA)] = 512,
    severity: Annotated[int, typer.Option(min=1, max=5, help="Severity of the conditions (scenes).", rich_help_panel=DATA)] = 3,
    corruptions: Annotated[
        bool,
        typer.Option(
            "--corruptions", help="Also measure under six corruptions at severities 1 to 5 (31 times the work).", rich_help_panel=DATA
        ),
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write figures and protocol to this file.", rich_help_panel=RUN)
    ] = None,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Average with the mirrored clip.", rich_help_panel=RUN)] = True,
    decoder: Annotated[str, typer.Option(help="From heatmap to pose: dark, quarter or argmax.", rich_help_panel=RUN)] = "dark",
    batch: Annotated[int, typer.Option(min=1, help="Clips at once.", rich_help_panel=RUN)] = 64,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …", rich_help_panel=RUN)] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.", rich_help_panel=RUN)] = False,
) -> None:
    """Measure a model, or anybody's predictions, with the protocol beside every score.

    PCK by condition on scenes; on real data also PoseTrack AP (as poseval defines it), OKS AP and AR, PCK of box and torso, and PCKh,
    visible and occluded joints apart.

    Examples: causalpose evaluate runs/s1 --json val.json; causalpose evaluate --predictions preds/ --data posetrack18
    """
    from causalpose.errors import CausalPoseError

    if (checkpoint is None) == (predictions is None):
        raise CausalPoseError("give either a checkpoint or --predictions FILE_OR_FOLDER")
    if predictions is not None:
        if data == "scenes":
            raise CausalPoseError("--predictions needs --data ROOT, the folder of the labels")
        _score(predictions, data, split, json_file)
        return
    _measure(checkpoint, data, split, boxes, box_score, nms, clips, severity, corruptions, json_file, flip, decoder, batch, device, quiet)


def _score(predictions: Path, data: str, split: str, json_file: Path | None) -> None:
    from rich.console import Console

    from causalpose.evaluation.scoring import score

    scored = score(predictions, data, split)
    title = f"{scored.predictions} on {scored.dataset}, per cent"
    protocol = {"predictions": scored.predictions, "dataset": scored.dataset, "coverage": scored.coverage}
    for part in _image_tables(scored.figures, title, [scored.coverage]):
        Console().print(part)
    _write(
        json_file, protocol | {"metrics": scored.figures.protocol, "left_out": scored.figures.left_out}, None, _records(scored.figures.rows)
    )


def _measure(
    checkpoint, data, split, boxes, box_score, nms, clips, severity, corruptions, json_file, flip, decoder, batch, device, quiet
) -> None:  # fmt: skip
    from dataclasses import replace

    from rich.console import Console

    from causalpose.cli.devices import device as by_name
    from causalpose.errors import CausalPoseError
    from causalpose.evaluation.evaluate import measure, predict_source
    from causalpose.evaluation.images import figures, locate
    from causalpose.evaluation.robustness import robustness
    from causalpose.model.heatmaps import DECODERS
    from causalpose.training import checkpoint as checkpoints
    from causalpose.training.sources import SCENES, evaluation_sources

    if boxes is not None and data == SCENES:
        raise CausalPoseError("--boxes are for real video; scenes bring their own")
    if decoder not in DECODERS:
        raise CausalPoseError(f"--decoder {decoder} is not one of: {', '.join(DECODERS)}")
    place = by_name(device)
    model, config, provenance = checkpoints.load(checkpoint, device=place)
    config = replace(config, data=replace(config.data, boxes="" if boxes is None else str(boxes), box_score=box_score))
    shown = {
        "checkpoint": checkpoint,
        "stage": config.model.stage,
        "frames": config.model.frames if config.model.stage else 1,
        "size": [config.model.height, config.model.width],
        "flip_test": flip,
        "decoding": DECODERS[decoder],
        "metric": "PCK in per cent: mean over joints of the share within the threshold times the clip's scale",
    }
    console, rows, protocols, losses = Console(), [], [], []

    def predict(source):
        return predict_source(
            model, source, batch, flip_test=flip, kind=config.train.loss, decoder=decoder, device=place, progress=not quiet
        )

    found = None
    for source in evaluation_sources(config, data, split, clips=clips, severity=severity, progress=not quiet):
        found = predict(source)
        facts = source.describe()
        dataset = f"{facts.get('dataset') or facts.get('root')}/{split}"
        labels = {"study": "evaluate", "variant": checkpoint, "seed": config.train.seed, "dataset": dataset}
        rows += measure(found, config.model.keypoints, **labels).to_dict("records")
        protocols.append(facts | {"clips": len(source)})
        if corruptions and facts.get("condition", "clean") == "clean":
            table = robustness(predict, source)
            losses += table.astype(object).where(table.notna(), None).to_dict("records")
    console.print(_table(rows, protocols, shown))
    if data != SCENES:
        real = figures(locate(source, found, config.model.keypoints, nms), source.data_set.format.name)
        for part in _image_tables(real, f"{checkpoint} on {dataset}, per cent", _caption(protocols, shown)):
            console.print(part)
        rows += [labels | {"condition": "clean"} | row for row in _records(real.rows)]
        shown |= {"metrics": real.protocol, "left_out": real.left_out}
    if losses:
        console.print(_losses(losses, _caption(protocols, shown)))
    _write(json_file, shown | {"sources": protocols}, provenance, rows, {"corruptions": losses} if losses else {})


def _records(rows) -> list[dict]:
    return rows[["joint", "metric", "value"]].to_dict("records")


def _write(path: Path | None, protocol: dict, provenance, rows: list[dict], more: dict | None = None) -> None:
    from causalpose.training.files import write_json

    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"protocol": protocol, "provenance": provenance, "rows": rows} | (more or {}))
        typer.echo(f"wrote {path}")


def _caption(protocols: list[dict], shown: dict) -> list[str]:
    """The protocol in lines."""
    first = protocols[0]
    severity = next((p["severity"] for p in protocols if p.get("severity")), None)
    size = f"{shown['frames']} frames of {shown['size'][0]}x{shown['size'][1]}"
    more = [f"not labelled by the data set: {', '.join(first['unlabelled'])}"] if first.get("unlabelled") else []
    more += [f"{name.replace('_', ' ')}: {first[name]}" for name in ("missing_frames", "faults_left_out") if first.get(name)]
    return [
        f"{first['clips']} clips" + (" per condition" if len(protocols) > 1 else "") + (f", severity {severity}" if severity else ""),
        f"stage {shown['stage']}, {size}, flip test {'on' if shown['flip_test'] else 'off'}",
        f"decoding: {shown['decoding']}",
        f"boxes: {first['boxes']}",
        *more,
    ]


def _grid(title: str, caption: list[str], columns: list[str], rows: list[list[str]]):
    from rich import box
    from rich.table import Table

    table = Table(title=title, caption="\n".join(caption), box=box.SIMPLE_HEAD, caption_justify="left")
    for position, name in enumerate(columns):
        table.add_column(name, justify="right" if position else "left")
    for row in rows:
        table.add_row(*row)
    return table


def _table(rows: list[dict], protocols: list[dict], shown: dict):
    """The mean over joints by condition, with the protocol as caption."""
    means: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["joint"] == "mean":
            means.setdefault(row["condition"], {})[row["metric"]] = row["value"]
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    first = protocols[0]
    name = f"{first.get('dataset') or first.get('root')}/{first['split']}"
    cells = [[condition, *(_number(values.get(metric)) for metric in metrics)] for condition, values in means.items()]
    title = f"{shown['checkpoint']} on {name}, per cent"
    caption = [*_caption(protocols, shown), f"scale: {first['scale']}"]
    return _grid(title, caption, ["condition", *(metric.replace(" ", "\n") for metric in metrics)], cells)


def _image_tables(figures, title: str, caption: list[str]) -> list:
    """PoseTrack AP by the field's joint groups, then the means of every metric, each with its protocol."""
    from causalpose.evaluation import pck, poseval

    values = {(row.metric, row.joint): row.value for row in figures.rows.itertuples()}
    tables = []
    subsets = [subset for subset in pck.SUBSETS if (pck.subset_name("AP (PoseTrack)", subset), "mean") in values]
    if subsets:
        rows = []
        for subset in subsets:
            metric = pck.subset_name("AP (PoseTrack)", subset)
            groups = [[values[metric, j] for j in joints if (metric, j) in values] for joints in poseval.GROUPS.values()]
            means = [sum(group) / len(group) if group else None for group in groups]
            rows.append([subset, *(_number(value) for value in [*means, values[metric, "mean"]])])
        lines = [*caption, figures.protocol["PoseTrack AP"]]
        tables.append(_grid(f"PoseTrack AP of {title}", lines, ["joints", *poseval.GROUPS, "Mean"], rows))
    names = list(dict.fromkeys(pck.base_name(metric) for metric, joint in values if joint == "mean" and "(PoseTrack)" not in metric))
    cells = [[name, *(_number(values.get((pck.subset_name(name, s), "mean"))) for s in pck.SUBSETS)] for name in names]
    notes = [f"{name}: {text}" for name, text in figures.protocol.items() if name != "PoseTrack AP"]
    notes += [f"{name}: not computed: {text}" for name, text in figures.left_out.items()]
    if cells or notes:
        tables.append(_grid(title, [*caption, *notes], ["metric", *pck.SUBSETS], cells))
    return tables


def _losses(rows: list[dict], caption: list[str]):
    """Corrupted over clean PCK@0.2."""
    cells = [[row["corruption"], str(row["severity"] or "all"), _number(row["score"]), row["text"]] for row in rows]
    lines = [*caption, f"clean: {_number(rows[0]['clean'])}; PCK@0.2 of clips, corrupted / clean with its 95 % interval over clips"]
    return _grid("Corruptions", lines, ["corruption", "severity", "PCK@0.2", "ratio to clean"], cells)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
