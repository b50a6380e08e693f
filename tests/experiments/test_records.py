"""Records: whole or refused."""

import gzip
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from causalpose.errors import CausalPoseError
from causalpose.evaluation import tables
from causalpose.evaluation.predictions import Predictions
from causalpose.experiments import records
from causalpose.experiments.arms import STUDIES
from causalpose.experiments.measure import Measured, clip_counts


def measured(variant: str = "a", seed: int = 0) -> Measured:
    labels = {"study": "s", "variant": variant, "seed": seed, "dataset": "d", "condition": "clean"}
    results = tables.tidy([{**labels, "joint": "mean", "metric": "PCK@0.2", "value": 12.5}])
    return Measured(
        results, pd.DataFrame([{**labels, "clip": 0, "counted": 15, "visible": 9, "right@0.2": 7}]).astype({"counted": "uint8"})
    )


def test_a_record_reads_as_written(tmp_path):
    compared = pd.DataFrame([{"variant": "a", "mean": 1.5, "distinguishable": True}])
    record = records.read(records.write(tmp_path / "r", measured(), {"study": "s"}, compared))
    pd.testing.assert_frame_equal(record.results, measured().results)
    assert record.clips["right@0.2"].tolist() == [7] and record.comparisons["mean"].tolist() == [1.5]
    (facts,) = record.provenance
    assert {"study", "commit", "source_hash", "versions", "machine", "peak_memory_mb", "date", "files"} <= facts.keys()


def test_the_same_content_is_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        records.write(tmp_path / name, measured(), {})
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in (records.RESULTS, records.CLIPS))


def test_an_edited_or_missing_file_is_noticed(tmp_path):
    folder = records.write(tmp_path, measured(), {})
    assert records.finished(folder)
    whole = (folder / records.RESULTS).read_bytes()
    (folder / records.RESULTS).write_bytes(gzip.compress(gzip.decompress(whole).replace(b"12.5", b"99.5"), mtime=0))
    assert not records.finished(folder)
    with pytest.raises(CausalPoseError, match="is changed"):
        records.read(folder)
    (folder / records.CLIPS).unlink()
    (folder / records.RESULTS).write_bytes(whole)
    with pytest.raises(CausalPoseError, match="is missing"):
        records.read(folder)


def test_a_record_cut_short_is_not_finished(tmp_path):
    folder = records.write(tmp_path / "r", measured(), {})
    (folder / records.PROVENANCE).write_text((folder / records.PROVENANCE).read_text()[:50])
    assert not records.finished(folder)
    with pytest.raises(CausalPoseError, match="not valid JSON"):
        records.read(folder)


def test_several_records_are_one_table(tmp_path):
    for seed in (0, 1):
        records.write(tmp_path / str(seed), measured(seed=seed), {})
    assert records.read(tmp_path).results["seed"].tolist() == [0, 1]


def test_records_of_different_code_are_not_mixed(tmp_path):
    for seed in (0, 1):
        records.write(tmp_path / str(seed), measured(seed=seed), {})
    path = tmp_path / "1" / records.PROVENANCE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"source_hash": "0123456789ab"}))
    with pytest.raises(CausalPoseError, match="different versions of the code .*0123456789ab"):
        records.read(tmp_path)


def cell(kind: str, key: str, source: str, **code: str) -> dict:
    return {"cell": kind, "key": key, "source_hash": source} | code


@pytest.mark.parametrize(
    "cells, refused",
    [
        ([cell("stage1", "a", "old", code="t"), cell("stage1", "b", "new", code="t"), cell("evaluation", "c", "new", code="m")], ""),
        ([cell("stage1", "a", "old", code="t"), cell("stage1", "b", "new", code="u")], "trained by different versions .*a by t, b by u"),
        ([cell("evaluation", "a", "x", code="m"), cell("evaluation", "b", "x", code="n")], "tested by different versions"),
        ([cell("stage2", "a", "x"), cell("evaluation", "b", "y")], ""),
        ([cell("stage2", "a", "x"), cell("stage1", "b", "y")], "trained by different versions"),
    ],
)
def test_one_table_is_of_one_code(tmp_path, cells, refused):
    """Models may be older than their tests, as long as the code that trains is the same; older records name the whole source."""
    folder = records.write(tmp_path, measured(), {"cells": cells})
    if refused:
        with pytest.raises(CausalPoseError, match=refused):
            records.read(folder)
    else:
        assert len(records.read(folder).results) == 1


@pytest.mark.parametrize("name", [*STUDIES, "real_video", "selection_search", "weights"])
def test_the_project_s_own_records_can_be_read(name, repository):
    """Whole, unchanged and of one code each."""
    folder = repository / "ablations" / "results" / name / ("book" if name in STUDIES else "")
    if name in STUDIES and not folder.is_dir():
        pytest.skip(f"study {name} has not been recorded")
    assert len(records.read(folder).results)


def test_the_same_cell_twice_is_refused(tmp_path):
    folder = records.write(tmp_path / "a", measured(), {})
    shutil.copytree(folder, tmp_path / "b")
    with pytest.raises(CausalPoseError, match="twice"):
        records.read(tmp_path)


def test_no_record(tmp_path):
    with pytest.raises(CausalPoseError, match="holds no record"):
        records.read(tmp_path / "nowhere")


def test_clip_counts_by_hand():
    """Scale 10 px, so right within 2 px (@0.2) and 1 px (@0.1). Joints off by 0.5 (visible), 1.5 (visible), 1.5 (hidden), 9 (unlabelled).

    Counted 3, visible 2; right@0.2 all 3, of them visible 2; right@0.1 one, visible one.
    """
    truth = np.zeros((1, 4, 2), np.float32)
    found = truth.copy()
    found[0, :, 0] = [0.5, 1.5, 1.5, 9]
    predictions = Predictions(
        found,
        np.ones((1, 4), np.float32),
        truth,
        np.array([[1, 1, 3, 0]], np.uint8),
        np.array([10.0], np.float32),
        np.array([1], np.uint8),
        np.array([42]),
    )
    row = clip_counts(predictions).iloc[0]
    assert row["condition"] == "occluded" and row["clip"] == 42
    assert (row["counted"], row["visible"]) == (3, 2)
    assert (row["right@0.2"], row["right@0.2 visible"], row["right@0.1"], row["right@0.1 visible"]) == (3, 2, 1, 1)
