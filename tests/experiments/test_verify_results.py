"""Verification of the records: the same cell again is identical, a tampered record is noticed, small differences are weighed."""

import pytest

from causalpose.errors import CausalPoseError
from causalpose.experiments import records, studies
from causalpose.experiments.measure import Measured
from causalpose.experiments.parameters import STUDIES, check
from tools import verify_results


@pytest.fixture
def results(asked_study, tmp_path):
    """A small recorded study of two arms, with weights at a path as a backbone."""
    parameters = check(STUDIES["auxiliary_tasks"], asked_study | {"seeds": "0", "arms": "none mask"})
    studies.record_study(parameters, studies.run_study(parameters, progress=False))
    return tmp_path / "results"


def test_the_same_cell_again_is_identical(results, tmp_path, small_weights, monkeypatch, capsys):
    monkeypatch.chdir(small_weights[0].parent)  # the record names weights by their last part, as the shipped ones are named
    code = verify_results.main(["--scale", "smoke", "--results", str(results), "--folder", str(tmp_path / "again"), "--draw", "1"])
    assert code == 0, capsys.readouterr()
    assert "identical: the counts of all 24 clips agree" in capsys.readouterr().out

    record = records.read(results / "auxiliary_tasks" / "smoke")
    # The little model gets next to nothing right, so a record that claims everything is far off.
    wrong = record.clips.assign(**{"right@0.2": record.clips["counted"], "right@0.2 visible": record.clips["visible"]})
    facts = {key: value for key, value in record.provenance[0].items() if key != "files"}
    records.write(results / "auxiliary_tasks" / "smoke", Measured(record.results, wrong), facts)
    code = verify_results.main(["--scale", "smoke", "--results", str(results), "--folder", str(tmp_path / "again"), "--draw", "1"])
    assert code == 1 and "DISAGREES" in capsys.readouterr().out


def test_a_record_is_tested_as_it_was(results, tmp_path, small_weights, monkeypatch, capsys):
    """A record of fewer conditions than the scale has today is verified on its own."""
    monkeypatch.chdir(small_weights[0].parent)
    folder = results / "auxiliary_tasks" / "smoke"
    record = records.read(folder)
    facts = {key: value for key, value in record.provenance[0].items() if key != "files"}
    assert facts["command"].startswith("papermill ablations/auxiliary_tasks.ipynb out.ipynb -p ") and "-p seeds 0" in facts["command"]
    few = facts["protocol"] | {"conditions": facts["protocol"]["conditions"][:2]}
    kept = [frame[frame["condition"].isin(few["conditions"])] for frame in (record.results, record.clips)]
    records.write(folder, Measured(*kept), facts | {"protocol": few})
    code = verify_results.main(["--scale", "smoke", "--results", str(results), "--folder", str(tmp_path / "again"), "--draw", "1"])
    assert code == 0 and "identical: the counts of all 8 clips agree" in capsys.readouterr().out


def test_no_record_is_an_error(tmp_path, capsys):
    assert verify_results.main(["--results", str(tmp_path)]) == 2
    assert "holds no record" in capsys.readouterr().err


def test_an_unknown_setting_of_a_record_is_left_out():
    asked_for = verify_results.asked_again({"parameters": {"scale": "book", "seeds": [0, 1], "out": "runs", "cell": "x"}})
    assert asked_for.scale == "book" and asked_for.seeds == (0, 1)
    with pytest.raises(CausalPoseError):
        _ = verify_results.asked_again({"parameters": {"scale": "large"}}).sizes
