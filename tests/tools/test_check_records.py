"""Stale records are found."""

import json

import pytest

from causalpose.experiments.provenance import file_hash
from tools.check_records import faults

HERE = {"": "picture", "tiny-backbone": "aaa", "tiny-stage1": "bbb"}


@pytest.fixture
def record(tmp_path):
    """A record of two cells with all that can go stale."""
    folder = tmp_path / "study" / "book"
    folder.mkdir(parents=True)
    (folder / "results.csv").write_text("value\n1\n")
    document = {
        "files": {"results.csv": file_hash(folder / "results.csv")},
        "weights": {"tiny-backbone": {"sha256": "aaa"}, "a-control": {"sha256": "zzz"}},
        "cells": [{"source": {"renderer": "picture"}, "init": {"name": "tiny-stage1", "key": "bbb"}}],
    }
    (folder / "provenance.json").write_text(json.dumps(document))
    return folder


def test_a_fresh_record_has_no_fault(record, tmp_path) -> None:
    """Weights that are not shipped cannot go stale here: nobody can tell."""
    assert list(faults(tmp_path, HERE)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"": "other picture"}, "the renderer"),
        ({"tiny-backbone": "ccc"}, "weights tiny-backbone"),
        ({"tiny-stage1": "ccc"}, "weights tiny-stage1"),
    ],
)
def test_what_changed_is_named(record, tmp_path, change, message) -> None:
    (fault,) = faults(tmp_path, HERE | change)
    assert message in fault and "study/book" in fault


def test_an_edited_file_is_noticed(record, tmp_path) -> None:
    (record / "results.csv").write_text("value\n2\n")
    assert "results.csv is changed" in next(faults(tmp_path, HERE))
    (record / "results.csv").unlink()
    assert "results.csv is missing" in next(faults(tmp_path, HERE))
    (record / "provenance.json").write_text("{")
    assert "no JSON" in next(faults(tmp_path, HERE))


def test_the_projects_own_records_are_fresh() -> None:
    assert list(faults()) == []
