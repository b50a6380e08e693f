"""Arms: each builds, trains a step, and differs from its reference in exactly what it names."""

from pathlib import Path

import pytest

from causalpose.config import differing_keys, override, preset
from causalpose.errors import CausalPoseError
from causalpose.evaluation.evaluate import predict_source
from causalpose.experiments import grid
from causalpose.experiments.arms import AUXILIARY_TASKS, STUDIES, study
from causalpose.model.cmpose import CMPose
from causalpose.training import checkpoint, log, loop
from causalpose.training.sources import training_source

# A model of one narrow block each, as in conftest.py, on the preset's full grid.
NARROW = (
    "model.backbone.width=32",
    "model.backbone.depth=1",
    "model.backbone.heads=2",
    "model.encoder.depth=1",
    "model.encoder.heads=2",
    "model.head.channels=16",
    "model.fte.depth=1",
    "model.fte.heads=2",
)

ARMS = [(name, arm.name) for name, of in STUDIES.items() for arm in of.arms if arm.trained]


def model_of(name: str, arm: str, **asked) -> grid.Model:
    of = study(name)
    wanted = grid.Asked(backbones=("tiny-backbone",), **asked)
    return grid.model(of, of.arm(arm), wanted, 0, wanted.backbones)


@pytest.mark.parametrize("name, arm", ARMS)
def test_an_arm_changes_what_it_names_and_nothing_else(name, arm):
    """Against the baseline: the named keys. Against its reference: one factor. What it starts from is the very same cell, unless the
    factor is one that both stages share."""
    of = study(name)
    own, reference = of.arm(arm), of.arm(of.reference(of.arm(arm)))
    base = model_of(name, of.against).config
    changed = {key: value for key, (_, value) in differing_keys(base, model_of(name, arm).config).items()}
    assert changed == own.changes
    factor = {key for key in own.changes.keys() | reference.changes.keys() if own.changes.get(key) != reference.changes.get(key)}
    assert len(factor) <= own.settings, f"differs from {reference.name} in {factor}"
    if not any(key.startswith(grid._SHARED) or key == "model.stage" for key in factor):
        assert model_of(name, arm).init == model_of(name, reference.name).init


@pytest.mark.parametrize("of", STUDIES.values(), ids=STUDIES)
def test_arms_are_distinct(of):
    changes = [(tuple(sorted(arm.changes.items())), arm.trained) for arm in of.arms]
    assert len(set(changes)) == len(changes) and len({arm.name for arm in of.arms}) == len(of.arms)
    assert of.arm(of.against).trained and set(of.smoke) <= {arm.name for arm in of.arms} and of.against in of.smoke
    assert all(" " not in arm.name and of.reference(arm) in {other.name for other in of.arms} for arm in of.arms)


def test_an_unknown_arm_or_study_lists_the_known():
    with pytest.raises(CausalPoseError, match="none, mask, noise, both, single-frame"):
        AUXILIARY_TASKS.arm("maks")
    with pytest.raises(CausalPoseError, match="auxiliary_tasks, tcis"):
        study("tsic")


@pytest.fixture(scope="module")
def full_size_weights(tmp_path_factory) -> dict[int, Path]:
    """Untrained narrow models of stages 0 and 1 on the full grid of tokens, for 48 clusters need more than 48 tokens."""
    folder = tmp_path_factory.mktemp("weights")
    configs = {stage: override(override(preset("tiny"), NARROW), {"model.stage": stage}) for stage in (0, 1)}
    return {stage: checkpoint.save(folder / f"{stage}.safetensors", CMPose(config.model), config, {}) for stage, config in configs.items()}


@pytest.mark.parametrize("name", STUDIES)
def test_first_steps_of_every_trained_arm(name, tmp_path, full_size_weights):
    """Every arm of a study trains from the same weights on the same clips, and after three steps no two are where another is.

    A switch that does nothing would show here as two equal rows. What the trained model predicts counts too, for an arm may differ in
    what it does after training alone. Three steps, because the blocks of stage 2 start as the identity: what an
    arm changes there shows in the second step or, behind the gate, in the third.
    """
    of = study(name)
    wanted = grid.Asked(backbones=(str(full_size_weights[0]),), steps=3, batch=4, clips=8, overrides=NARROW)
    found = {}
    for arm in of.arms:
        if not arm.trained:
            continue
        model = grid.model(of, arm, wanted, 0, wanted.backbones)
        run = loop.train(
            model.config,
            training_source(model.config),
            tmp_path / arm.name,
            init=full_size_weights[model.config.model.stage - 1],
            progress=False,
        )
        losses = [row["loss"] for row in log.read(run / "log.csv")]
        found[arm.name] = (*losses, predict_source(checkpoint.load(run)[0], training_source(model.config), flip_test=False).scores.sum())
    assert len(set(found.values())) == len(found), found
