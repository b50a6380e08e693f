"""Training curves from the `log.csv` of runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from causalpose.errors import CausalPoseError
from causalpose.plotting.palette import CYCLE, unit
from causalpose.plotting.style import panels
from causalpose.training import log

LABELS = {
    "loss": "loss",
    "pose": "pose loss",
    "mask": "masked-token loss",
    "noise": "denoising loss",
    "pck": "PCK@0.2, training batch (%)",
    "val_pck": "PCK@0.2, held out (%)",
    "grad_norm": "gradient norm",
    "lr": "learning rate",
    "target_variance": "variance of the targets",
    "clips_per_second": "clips per second",
}


def training_curves(
    runs: Mapping[str, str | Path | list[dict]] | str | Path,
    columns: Sequence[str] = ("pose", "pck"),
    *,
    smooth: int = 1,
    title: str | None = None,
    height: float = 2.6,
) -> Figure:
    """One panel a column of the log, one line a run.

    runs      name -> run folder, `log.csv` or its rows; or a single folder or file
    columns   of the log; values written now and then only (`val_pck`) are joined dots
    smooth    rows of the running mean; the unsmoothed values stay behind it, faint
    """
    if not isinstance(runs, Mapping):
        runs = {"": runs}
    if not runs or not columns:
        raise CausalPoseError("training_curves: give at least one run and one column of its log")
    across = len(columns) if len(columns) <= 3 else 2  # more in a row, and a page would shrink them until nobody can read them
    figure, axes = panels(-(-len(columns) // across), across, height=height, width=3.6, title=title, pictures=False)
    shown = list(axes.flat[: len(columns)])
    for spare in axes.flat[len(columns) :]:
        spare.remove()
    for number, (name, source) in enumerate(runs.items()):
        rows = source if isinstance(source, list) else _read(Path(source))
        colour = unit(CYCLE[number % len(CYCLE)])
        for axis, column in zip(shown, columns, strict=True):
            _draw(axis, rows, column, colour, name, smooth)
    for axis, column in zip(shown, columns, strict=True):
        axis.set(xlabel="step", ylabel=LABELS.get(column, column))
    if any(runs):
        shown[-1].legend(loc="best")
    return figure


def _draw(axis, rows: list[dict], column: str, colour, name: str, smooth: int) -> None:
    if rows and column not in rows[0]:
        raise CausalPoseError(f"training_curves: the log has no column {column!r}; it has: {', '.join(rows[0])}")
    points = np.array([(row["step"], row[column]) for row in rows if row[column] is not None], dtype=float).reshape(-1, 2)
    sparse = len(points) < len(rows)
    if smooth > 1 and not sparse and len(points) > smooth:
        axis.plot(*points.T, color=colour, alpha=0.25, linewidth=0.8)
        means = np.convolve(points[:, 1], np.full(smooth, 1 / smooth), mode="valid")
        points = np.stack([points[smooth - 1 :, 0], means], -1)
    axis.plot(*points.T, color=colour, label=name or None, marker="o" if sparse or len(points) < 3 else None, markersize=4)


def _read(path: Path) -> list[dict]:
    file = path / "log.csv" if path.is_dir() else path
    if not file.is_file():
        raise CausalPoseError(f"training_curves: no log at {file}; give the folder of a run, or its log.csv")
    return log.read(file)
