"""Arms: each builds, trains a step, and differs from the baseline in exactly what it names."""

import pytest

from causalpose.config import differing_keys
from causalpose.errors import CausalPoseError
from causalpose.experiments.arms import AUXILIARY_TASKS
from causalpose.experiments.parameters import AuxiliaryTasksParameters, check
from causalpose.training import log, loop
from causalpose.training.sources import training_source


def test_an_arm_changes_what_it_names_and_nothing_else(asked):
    baseline = check(AuxiliaryTasksParameters, asked).plan().config
    assert not baseline.model.mcl.mask and not baseline.model.mcl.noise
    for arm in AUXILIARY_TASKS.arms:
        changed = {key: value for key, (_, value) in differing_keys(baseline, arm.config(baseline)).items()}
        assert changed == arm.changes


def test_arms_are_distinct():
    changes = [tuple(sorted(arm.changes.items())) for arm in AUXILIARY_TASKS.arms]
    assert len(set(changes)) == len(changes)
    assert AUXILIARY_TASKS.arm(AUXILIARY_TASKS.against).changes == {}


def test_an_unknown_arm_lists_the_known():
    with pytest.raises(CausalPoseError, match="none, mask, noise, both, single-frame"):
        AUXILIARY_TASKS.arm("maks")


def test_first_step_of_every_trained_arm(asked, tmp_path):
    """All arms share the first pose loss, for they start from the same weights on the same clips; their totals all differ.

    A switch that does nothing would show here as two equal totals.
    """
    parameters = check(AuxiliaryTasksParameters, asked | {"steps": 1})
    plan = parameters.plan()
    source = training_source(plan.config)
    pose, total = {}, {}
    for arm in AUXILIARY_TASKS.arms:
        if arm.trained:
            run = loop.train(arm.config(plan.config), source, tmp_path / arm.name, init=plan.init, progress=False)
            row = log.read(run / "log.csv")[0]
            pose[arm.name], total[arm.name] = row["pose"], row["loss"]
            assert {"mask", "noise"} & row.keys() == {key.rpartition(".")[2] for key in arm.changes}
    assert max(pose.values()) - min(pose.values()) < 1e-2 * pose["none"]  # bf16 rounds larger batches differently
    assert len({round(value, 3) for value in total.values()}) == len(total)
    assert total["none"] == pose["none"] and total["both"] > max(total["mask"], total["noise"])
