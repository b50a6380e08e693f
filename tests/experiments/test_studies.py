"""Cells and studies, with a model so small that a cell takes about a second."""

from dataclasses import replace

import pytest

from causalpose.clip import CONDITIONS
from causalpose.errors import CausalPoseError
from causalpose.experiments import cells, pictures, records, show, studies
from causalpose.experiments.parameters import AuxiliaryTasksParameters, Stage1Parameters, Stage2Parameters, check
from causalpose.model.cmpose import CMPose
from causalpose.training import checkpoint


def test_training_notebook_stage_one(asked, tmp_path):
    parameters = check(Stage1Parameters, asked)
    training = studies.train_one(parameters, progress=False)
    results = training.measured.results
    assert list(results["variant"].unique()) == ["mean-pose", "start", "stage1"]
    assert set(results["condition"]) == set(CONDITIONS)
    assert len(training.measured.clips) == 3 * 5 * 4
    folder = studies.record(parameters, training.measured, [training.finished])
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


def test_auxiliary_tasks(asked, tmp_path, monkeypatch):
    """Every arm and seed once; a second call trains nothing; an added seed trains only itself."""
    parameters = check(AuxiliaryTasksParameters, asked | {"seeds": "0 1"})
    done = studies.run_study(parameters, progress=False)
    names = [(cell.provenance["variant"], cell.provenance["seed"]) for cell in done]
    assert names == [("single-frame", 0), *((arm, seed) for seed in (0, 1) for arm in ("none", "mask", "noise", "both"))]
    compared = studies.compare_arms(done)
    assert set(compared["variant"]) == {"single-frame", "mask", "noise", "both"} and set(compared["against"]) == {"none"}
    assert (compared["seeds"] == 2).all() and (compared["clips"] == 4).all()
    assert len(pictures.differences(compared, studies.Measured.join([cell.measured for cell in done]).results).axes) == 1

    trained = []
    monkeypatch.setattr(cells.loop, "train", lambda config, *_, **__: trained.append(config.train.seed) or pytest.fail("trained again"))
    assert len(studies.run_study(parameters, progress=False)) == 9 and not trained
    with pytest.raises(pytest.fail.Exception):
        studies.run_study(check(AuxiliaryTasksParameters, asked | {"seeds": "0 1 2"}), progress=False)
    assert trained == [2]


def test_a_cell_is_another_cell_when_anything_that_counts_changes(asked):
    def folder(changes: dict) -> str:
        parameters = check(AuxiliaryTasksParameters, asked | {"seeds": 0, "arms": "mask"} | changes)
        (cell,) = studies.study_cells(parameters)
        return cell.folder(parameters.run_folder).name

    base = folder({})
    assert folder({}) == base
    assert len({base, folder({"mask_ratio": 0.6}), folder({"test_clips": 5}), folder({"severity": 4}), folder({"steps": 3})}) == 5


def test_other_weights_under_the_same_name_are_another_cell(asked, tmp_path, small_weights):
    copy = tmp_path / "weights.safetensors"
    parameters = check(AuxiliaryTasksParameters, asked | {"init": str(small_weights[0]), "arms": "none", "seeds": 0})
    (cell,) = studies.study_cells(parameters)
    _, config, _ = checkpoint.read(small_weights[0])
    names = []
    for _ in range(2):
        checkpoint.save(copy, CMPose(config.model), config, {})
        names.append(replace(cell, init=str(copy)).folder(tmp_path).name)
    assert names[0] != names[1]


def test_only_the_untrained_reference_without_weights(asked):
    with pytest.raises(CausalPoseError, match="need trained weights"):
        studies.study_cells(check(AuxiliaryTasksParameters, asked | {"init": "none", "arms": "single-frame"}))
