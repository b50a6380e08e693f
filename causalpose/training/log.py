"""The run's log: `log.csv`, one row every `train.log_every` steps, and TensorBoard beside it when asked for."""

import csv
import io
from pathlib import Path

from causalpose.errors import CausalPoseError
from causalpose.training import files

# Columns that every row has; the auxiliary losses come after them.
_FIRST = ("step", "lr", "loss", "pose", "pck", "grad_norm", "clips_per_second", "mfu", "seconds", "val_pck")


def read(path: str | Path) -> list[dict[str, float | None]]:
    """Rows of a `log.csv` as numbers (None where a column is empty)."""
    with open(path, newline="", encoding="utf-8") as file:
        return [{key: float(value) if value else None for key, value in row.items()} for row in csv.DictReader(file)]


class Log:
    """Appends rows to `folder/log.csv`; a resumed run first drops the rows after the step it goes on from."""

    def __init__(self, folder: Path, step: int, tensorboard: bool = False):
        self.path = folder / "log.csv"
        self.columns: list[str] = []
        if self.path.exists():
            with open(self.path, newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self.columns = list(reader.fieldnames or [])
                # A run killed while writing leaves at most one short last line, and that lies after the saved step.
                rows = [row for row in reader if None not in row.values() and int(row["step"]) <= step] if self.columns else []
            text = io.StringIO()
            writer = csv.DictWriter(text, self.columns, lineterminator="\n")
            if self.columns:
                writer.writeheader()
                writer.writerows(rows)
            files.write_text(self.path, text.getvalue())
        self.board = _tensorboard(folder, step) if tensorboard else None

    def write(self, row: dict[str, float]) -> None:
        """Append one row; the columns are fixed by the first."""
        if not self.columns:
            self.columns = [*_FIRST, *(key for key in row if key not in _FIRST)]
            with open(self.path, "w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerow(self.columns)
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow([_text(row.get(column)) for column in self.columns])
        if self.board is not None:
            for key, value in row.items():
                if key != "step":
                    self.board.add_scalar(key, value, int(row["step"]))

    def close(self) -> None:
        """Flush TensorBoard's events."""
        if self.board is not None:
            self.board.close()


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _tensorboard(folder: Path, step: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise CausalPoseError("TensorBoard logging needs the package tensorboard; install it or leave --tensorboard out") from None
    # TensorBoard hides everything from `purge_step` on; the row at the saved step itself is kept, as in the CSV.
    return SummaryWriter(folder / "tensorboard", purge_step=step + 1)
