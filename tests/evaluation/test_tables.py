"""Tidy results keep their eight columns through a file."""

import pandas as pd
import pytest

from causalpose.errors import CausalPoseError
from causalpose.evaluation import tables

ROW = {"study": "s", "variant": "v", "seed": 3, "dataset": "d", "condition": "clean", "joint": "mean", "metric": "PCK@0.2", "value": 61.5}


def test_round_trip(tmp_path):
    frame = tables.tidy([ROW, ROW | {"joint": "nose", "value": float("nan")}])
    tables.write(tmp_path / "a.csv", frame)
    pd.testing.assert_frame_equal(tables.read(tmp_path / "a.csv"), frame)
    assert tuple(frame.columns) == tables.COLUMNS


def test_a_variant_called_none_stays_text(tmp_path):
    tables.write(tmp_path / "a.csv", tables.tidy([ROW | {"variant": "None"}]))
    assert tables.read(tmp_path / "a.csv").variant.item() == "None"


def test_constants_fill_columns():
    row = {key: value for key, value in ROW.items() if key not in ("study", "seed")}
    assert tables.tidy([row], study="x", seed=1).loc[0, "seed"] == 1


def test_missing_and_unknown_columns():
    with pytest.raises(CausalPoseError, match="missing columns: value; unknown columns: score"):
        tables.tidy([{key: value for key, value in ROW.items() if key != "value"} | {"score": 1}])


def test_files_that_are_not_results(tmp_path):
    with pytest.raises(CausalPoseError, match="no such results file"):
        tables.read(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_text(",".join(tables.COLUMNS) + "\na,b,1,c,d,e,f,many\n")
    with pytest.raises(CausalPoseError, match="a.csv: not a tidy results file"):
        tables.read(tmp_path / "a.csv")
