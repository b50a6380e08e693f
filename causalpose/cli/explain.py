"""`causalpose explain`."""

from pathlib import Path
from typing import Annotated

import typer

WHAT, DATA, RUN = "What is explained", "The clip", "The run"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain", no_args_is_help=True)(explain)


def explain(
    *,
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="A run folder, a checkpoint or shipped weights such as tiny-stage2.")],
    clip: Annotated[int, typer.Option("--clip", min=0, help="Number of the clip.", rich_help_panel=DATA)],
    out: Annotated[Path, typer.Option("--out", help="Folder for the picture (PNG), the scores (JSON) and the maps (safetensors).")],
    joint: Annotated[str, typer.Option(help="A joint by name, or [bold]all[/bold].", rich_help_panel=WHAT)] = "left_wrist",
    methods: Annotated[
        str | None,
        typer.Option(
            help="Names, separated by commas, or [bold]every[/bold]. Token maps: tcis, heatmap_mass, encoder_attention, attention_rollout, "
            "gradient_attention; attributions: saliency, input_x_gradient, integrated_gradients, smooth_grad, gradient_shap, occlusion, "
            "feature_ablation, shapley_sampling, grad_cam, grad_x_token, layer_integrated_gradients; controls: random, uniform, centre, "
            "edges. "
            "Default: a choice that fits the stage.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    resamples: Annotated[
        int,
        typer.Option(
            min=0,
            help="Scenes: draws of the measured effect of every token, which the maps are compared with; 0 leaves it out.",
            rich_help_panel=WHAT,
        ),
    ] = 2,
    causes: Annotated[
        str,
        typer.Option(
            help="Scenes: what the effect draws anew in a token's region. [bold]content[/bold]: everything there, the person included; "
            "[bold]surroundings[/bold]: background, clothing, distractors, occluders; or names of causes, separated by commas.",
            rich_help_panel=WHAT,
        ),
    ] = "content",
    effort: Annotated[
        str,
        typer.Option(
            help="[bold]full[/bold], or [bold]light[/bold]: fewer steps and samples, coarser windows; three times as quick.",
            rich_help_panel=WHAT,
        ),
    ] = "full",
    data: Annotated[
        str, typer.Option(help="[bold]scenes[/bold], or a data set's folder (PoseTrack, Sub-JHMDB, COCO).", rich_help_panel=DATA)
    ] = "scenes",
    split: Annotated[str, typer.Option(help="Split of the data.", rich_help_panel=DATA)] = "val",
    condition: Annotated[
        str, typer.Option(help="Scenes: mixed, clean, occluded, defocus, motion_blur or low_light.", rich_help_panel=DATA)
    ] = "mixed",
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything drawn.", rich_help_panel=RUN)] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …", rich_help_panel=RUN)] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.", rich_help_panel=RUN)] = False,
) -> None:
    """Show what a prediction rests on: the causal-token map beside attributions, with scores.

    Every map is scored where there is a truth: on scenes against the body and against the measured
    effect of re-rendering each token's region, on labelled video against the joint's surroundings.

    Example: causalpose explain tiny-stage2 --clip 7 --joint right_wrist --out runs/why
    """
    from causalpose.cli.devices import device as by_name
    from causalpose.errors import CausalPoseError
    from causalpose.explain import report
    from causalpose.explain.attributions import EFFORTS
    from causalpose.plotting.explanation import save_explanation
    from causalpose.training import checkpoint as checkpoints

    if effort not in EFFORTS:
        raise CausalPoseError(f"--effort {effort} is not one of: {', '.join(EFFORTS)}")
    model, config, provenance = checkpoints.load(checkpoint, device=by_name(device))
    subject = report.pick_clip(config, data, split, clip, condition)
    names = None if methods is None else _names(methods)
    found = report.explain_clip(
        model, subject, joint, names, resamples=resamples, causes=_causes(causes), effort=EFFORTS[effort], seed=seed,
        kind=config.train.loss, progress=not quiet,
    )  # fmt: skip
    document = {"checkpoint": checkpoint, "stage": config.model.stage, "provenance": provenance} | found.document()
    written = save_explanation(found, out, document)
    typer.echo(_table(found))
    for path in written:
        typer.echo(f"wrote {path}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _causes(text: str) -> str | list[str]:
    names = _names(text)
    return names[0] if len(names) == 1 else names


def _table(found) -> str:
    """The scores as aligned text."""
    columns = list(found.scores[0])
    rows = [["method", *columns, "seconds", "passes"]]
    for map_, scores in zip(found.maps, found.scores, strict=True):
        rows.append(
            [
                map_.method,
                *("-" if scores[c] is None else f"{scores[c]:.2f}" for c in columns),
                f"{map_.seconds:.1f}",
                f"{map_.forward_passes:g}",
            ]
        )
    rows.append(["chance", *("-" if found.chance.get(c) is None else f"{found.chance[c]:.2f}" for c in columns), "", ""])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))) for row in rows
    )
