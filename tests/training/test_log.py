"""The CSV log."""

import csv
import sys
from types import SimpleNamespace

from causalpose.training import log


def test_rows_after_the_resumed_step_are_dropped(tmp_path):
    first = log.Log(tmp_path, 0)
    for step in (10, 20, 30):
        first.write({"step": step, "lr": 0.1, "loss": 1.0, "pose": 1.0, "mask": 0.5})
    with open(tmp_path / "log.csv", "a") as file:
        file.write("40,0.1,1.")  # killed while writing
    again = log.Log(tmp_path, 20)
    again.write({"step": 30, "lr": 0.2, "loss": 2.0, "pose": 1.0, "mask": 0.5})
    rows = log.read(tmp_path / "log.csv")
    assert [row["step"] for row in rows] == [10, 20, 30]
    assert rows[-1]["lr"] == 0.2 and rows[-1]["mask"] == 0.5 and rows[-1]["val_pck"] is None


def test_tensorboard_keeps_the_row_of_the_saved_step(tmp_path, monkeypatch):
    """TensorBoard hides events from `purge_step` on; the state's own row comes before it."""
    asked = {}
    board = SimpleNamespace(SummaryWriter=lambda folder, **named: asked.update(named))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    log.Log(tmp_path, 20, tensorboard=True)
    assert asked == {"purge_step": 21}


def test_a_log_cut_off_in_its_header_is_begun_anew(tmp_path):
    (tmp_path / "log.csv").write_text("")
    log.Log(tmp_path, 0).write({"step": 1, "loss": 1.0})
    with open(tmp_path / "log.csv") as file:
        assert [row["loss"] for row in csv.DictReader(file)] == ["1"]
