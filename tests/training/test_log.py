"""The CSV log."""

import csv
import sys
from types import SimpleNamespace

import pytest

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


def test_tensorboard_shows_what_was_written(tmp_path):
    """Read back by TensorBoard itself: every number of both rows under its column's name and step, and of a resumed run none twice."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = log.Log(tmp_path, 0, tensorboard=True)
    for step in (10, 20):
        board.write({"step": step, "lr": 0.5 / step, "loss": 1.0, "mask": 0.25 * step})
    board.close()

    def shown():
        found = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
        return {name: [(event.step, event.value) for event in found.Scalars(name)] for name in found.Tags()["scalars"]}

    rates = [(10, pytest.approx(0.05)), (20, pytest.approx(0.025))]  # kept in single precision
    assert shown() == {"lr": rates, "loss": [(10, 1.0), (20, 1.0)], "mask": [(10, 2.5), (20, 5.0)]}
    again = log.Log(tmp_path, 10, tensorboard=True)
    again.write({"step": 20, "lr": 0.1, "loss": 3.0, "mask": 0.5})
    again.close()
    assert shown()["loss"] == [(10, 1.0), (20, 3.0)]


def test_a_log_cut_off_in_its_header_is_begun_anew(tmp_path):
    (tmp_path / "log.csv").write_text("")
    log.Log(tmp_path, 0).write({"step": 1, "loss": 1.0})
    with open(tmp_path / "log.csv") as file:
        assert [row["loss"] for row in csv.DictReader(file)] == ["1"]
