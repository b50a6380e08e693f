"""Cells and studies, with a model so small that a cell takes about a second."""

import pytest

from causalpose.clip import CONDITION_CODES
from causalpose.errors import CausalPoseError
from causalpose.experiments import cells, pictures, records, show, studies
from causalpose.experiments.parameters import (
    STUDIES,
    EvaluateParameters,
    Stage1Parameters,
    Stage2Parameters,
    check,
)


def test_training_notebook_stage_one(asked, tmp_path):
    parameters = check(Stage1Parameters, asked)
    training = studies.train_one(parameters, progress=False)
    results = training.measured.results
    assert list(results["variant"].unique()) == ["mean-pose", "start", "stage1"]
    assert set(results["condition"]) == set(CONDITION_CODES)
    assert len(training.measured.clips) == 3 * len(CONDITION_CODES) * 4
    folder = studies.record(parameters, training)
    assert folder == tmp_path / "results" / "train_stage1" / "smoke"
    (facts,) = records.read(folder).provenance
    assert facts["parameters"]["steps"] == 2 and facts["cells"][0]["config"]["model"]["height"] == 32
    assert str(tmp_path) not in (folder / records.PROVENANCE).read_text(), "the record names a folder of this machine"
    shown = repr(show.pck_table(training.measured, studies.protocol(parameters)))
    assert "4 clips per condition, severity 3" in shown and "flip test off" in shown
    assert "data.clips" in repr(show.resolved(parameters, parameters.plan()))
    assert len(pictures.prediction_strip(training, "occluded", 1).axes) == 4


def test_training_notebook_stage_two(asked, small_weights):
    parameters = check(Stage2Parameters, asked | {"init": str(small_weights[1])})
    training = studies.train_one(parameters, progress=False)
    assert training.finished.provenance["config"]["model"]["stage"] == 2
    assert len(pictures.token_figures(training, "defocus", 0)) == 3


def test_auxiliary_tasks(asked_study, tmp_path, monkeypatch):
    """Every arm and seed once; a second call trains nothing; an added seed trains only itself."""
    given = asked_study | {"arms": "single-frame none mask both"}
    parameters = check(STUDIES["auxiliary_tasks"], given | {"seeds": "0 1"})
    run = studies.run_study(parameters, progress=False)
    rows = run.measured.results[["variant", "seed"]].drop_duplicates().itertuples(index=False)
    assert [tuple(row) for row in rows] == [(arm, seed) for arm, seed in (("single-frame", 0), ("single-frame", 1))] + [
        (arm, seed) for seed in (0, 1) for arm in ("none", "mask", "both")
    ]
    assert set(run.compared["variant"]) == {"single-frame", "mask", "both"} and set(run.compared["against"]) == {"none"}
    assert (run.compared["seeds"] == 2).all() and (run.compared["clips"] <= 4).all()
    assert len(pictures.differences(run.compared).axes) == 1 + len(CONDITION_CODES)
    folder = studies.record_study(parameters, run)
    (facts,) = records.read(folder).provenance
    assert folder == tmp_path / "results" / "auxiliary_tasks" / "smoke" and len(facts["entries"]) == 8
    assert str(tmp_path) not in (folder / records.PROVENANCE).read_text(), "the record names a folder of this machine"
    assert set(run.runs()) == {"none", "mask", "both"}

    trained = []
    monkeypatch.setattr(cells.loop, "train", lambda config, *_, **__: trained.append(config.train.seed) or pytest.fail("trained again"))
    assert len(studies.run_study(parameters, progress=False).entries) == 8 and not trained
    with pytest.raises(pytest.fail.Exception):
        studies.run_study(check(STUDIES["auxiliary_tasks"], given | {"seeds": "0 1 2"}), progress=False)
    assert trained == [2]


def test_a_stage_2_study_shares_stage_1(asked_study, tmp_path):
    """The arms of a seed start from one stage 1, which is trained once; a checkpoint is tested where the grid would test it."""
    parameters = check(STUDIES["tcis"], asked_study | {"seeds": "0", "arms": "attention random"})
    run = studies.run_study(parameters, progress=False)
    models = sorted(path.name.partition("-")[0] for path in (tmp_path / "runs" / "smoke" / "models").iterdir())
    assert models == ["stage1", "stage2", "stage2"]
    (attention, *_) = run.entries
    one = {"scale": "smoke", "checkpoint": run.runs()["attention"], "test_clips": 4, "out": str(tmp_path / "runs")}
    alone = studies.evaluate_one(check(EvaluateParameters, one | {"checkpoint": str(one["checkpoint"])}), progress=False)
    assert alone.folder == attention.evaluation.folder(parameters.root)


def test_a_changed_plan_is_refused(asked_study):
    """The grid says what it expects; code or weights that changed since are named instead of being mixed in."""
    with pytest.raises(CausalPoseError, match="changed while it ran"):
        studies.run_study(check(STUDIES["tcis"], asked_study | {"cell": "0123456789ab"}), progress=False)
