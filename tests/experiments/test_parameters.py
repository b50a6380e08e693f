"""Parameters of the notebooks: every way of getting them wrong is one line, before anything is trained."""

import dataclasses

import pytest

from causalpose.errors import CausalPoseError
from causalpose.experiments.parameters import (
    STUDIES,
    BackboneParameters,
    EvaluateParameters,
    Stage1Parameters,
    Stage2Parameters,
    check,
)

TRAINING = (BackboneParameters, Stage1Parameters, Stage2Parameters)
OTHERS = (EvaluateParameters, *STUDIES.values())


def refused(cls, namespace: dict) -> str:
    with pytest.raises(CausalPoseError) as error:
        check(cls, namespace)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("cls", TRAINING)
def test_defaults_stand_where_nothing_is_given(cls):
    assert check(cls, {"init": "none"}) == dataclasses.replace(cls(), init="none")


@pytest.mark.parametrize("cls", OTHERS)
def test_defaults_of_tests_and_studies(cls):
    assert check(cls, {}) == cls()


def test_a_misspelt_name_is_an_error_that_knows_better():
    assert refused(Stage1Parameters, {"mask_ratoi": 0.3}) == "unknown parameter 'mask_ratoi'; did you mean 'mask_ratio'?"
    assert "parameters: scale, preset, init" in refused(Stage1Parameters, {"xyz": 1})


def test_a_parameter_of_another_template_is_unknown():
    assert "'selector'" in refused(Stage1Parameters, {"init": "none", "selector": "random"})


def test_what_is_no_plain_value_is_no_parameter():
    """Imports, functions, private names and IPython's own are not what papermill injects."""
    check(Stage1Parameters, {"init": "none", "np": pytest, "f": len, "_i": "x", "In": ["a"], "Out": {}})


def test_run_again_only_near_names_count():
    """Later cells of a session define values of their own; a name close to a parameter's is still a misspelling."""
    namespace = {"init": "none"}
    check(Stage1Parameters, namespace)
    namespace["total"] = 5
    check(Stage1Parameters, namespace)
    namespace["stepz"] = 5
    assert "did you mean 'steps'" in refused(Stage1Parameters, namespace)


@pytest.mark.parametrize("given", ["0 1 2", "0,1,2", "0, 1, 2", [0, 1, 2], (0, 1, 2)])
def test_sequences_come_as_text_or_list(given):
    assert check(STUDIES["auxiliary_tasks"], {"seeds": given}).seeds == (0, 1, 2)


def test_one_number_is_a_sequence_of_one():
    assert check(STUDIES["auxiliary_tasks"], {"seeds": 3}).seeds == (3,)


@pytest.mark.parametrize(
    "name, value, part",
    [
        ("seed", 1.5, "seed = 1.5 must be a whole number"),
        ("seed", True, "whole number"),
        ("seed", -1, "seed"),
        ("mask", "maybe", "True or False"),
        ("noise_std", "much", "a number"),
        ("noise_std", float("nan"), "finite"),
        ("scale", 3, "text"),
        ("scale", "large", "smoke, book, paper"),
        ("preset", "tyni", "unknown preset 'tyni'"),
        ("mask_ratio", 1.5, "mask_ratio = 1.5 must be a share"),
        ("mask_pattern", "stripes", "random, tube, block"),
        ("steps", 0, "at least 1"),
        ("severity", 6, "1 to 5"),
        ("overrides", "train.lrr=1", "did you mean 'lr'"),
        ("data", "nowhere", "nowhere"),
        ("test_split", "train", "test_split"),
        ("init", "nowhere/model", "checkpoint nowhere/model not found"),
    ],
)
def test_wrong_values(name, value, part):
    assert part in refused(Stage1Parameters, {"init": "none", name: value})


def test_nothing_is_tested_on_what_it_was_trained_on():
    for cls in (EvaluateParameters, STUDIES["tcis"]):
        assert "test_split = 'train'" in refused(cls, {"test_split": "train"})
    for cls in (Stage1Parameters, STUDIES["tcis"]):
        assert "'test' is both trained and tested on" in refused(cls, {"overrides": "data.split=test"})


@pytest.mark.parametrize("name, value", [("seeds", "0 one"), ("seeds", "0.5"), ("seeds", ""), ("arms", "none maks"), ("steps", 0)])
def test_wrong_lists(name, value):
    assert name in refused(STUDIES["auxiliary_tasks"], {name: value})


def test_a_backbone_that_is_not_there():
    assert "weights nowhere not found" in refused(STUDIES["auxiliary_tasks"], {"backbones": "nowhere"})


def test_a_truncated_checkpoint(tmp_path, small_weights):
    broken = tmp_path / "model.safetensors"
    broken.write_bytes(small_weights[0].read_bytes()[:1000])
    assert "truncated or damaged" in refused(Stage1Parameters, {"init": str(broken)})


def test_a_checkpoint_of_another_size(small_weights):
    assert "its backbone does not fit" in refused(Stage1Parameters, {"init": str(small_weights[0])})


def test_without_weights_the_backbone_is_trained():
    """A frozen random backbone could learn nothing; the reason says what was done."""
    plan = check(Stage1Parameters, {"init": "none"}).plan()
    assert plan.init is None and not plan.config.train.freeze and "nothing is kept frozen" in plan.reason


def test_parameters_arrive(asked):
    plan = check(Stage1Parameters, asked | {"seed": 7, "mask_ratio": 0.75, "noise": False}).plan()
    assert plan.config.train.seed == 7 and plan.config.model.mcl.mask_ratio == 0.75 and not plan.config.model.mcl.noise
    assert plan.config.train.steps == 2 and plan.config.model.height == 32 and plan.config.train.freeze


def test_the_data_set_is_looked_for_in_all_splits(shared_data):
    root = str(shared_data / "pose2sim_video")
    assert check(Stage1Parameters, {"init": "none", "data": root}).split == "val"
    assert "val_nowhere" in refused(Stage1Parameters, {"init": "none", "data": root, "test_split": "val_nowhere"})
