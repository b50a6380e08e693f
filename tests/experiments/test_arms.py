"""Arms: each builds, trains, and differs from its reference in exactly what it names. Every table is covered as it stands."""

import zlib

import pytest
import torch

from causalpose.config import differing_keys, override, preset
from causalpose.errors import CausalPoseError
from causalpose.evaluation.evaluate import predict_source
from causalpose.experiments import grid
from causalpose.experiments.arms import AUXILIARY_TASKS, STUDIES, Arm, study
from causalpose.model.cmpose import CMPose
from causalpose.training import checkpoint, log, loop
from causalpose.training.sources import training_source

# A model of one narrow block each, as in conftest.py, on a grid that is a little larger than the preset's: there the 14 non-causal tokens
# that a keep rate of 0.9 leaves fit into the 16 clusters, nothing is merged, and the arm is the arm `all`. Half precision would blur small
# differences.
NARROW = (
    "model.height=80",
    "model.width=64",
    "model.backbone.width=32",
    "model.backbone.depth=1",
    "model.backbone.heads=2",
    "model.encoder.depth=1",
    "model.encoder.heads=2",
    "model.head.channels=16",
    "model.fte.depth=1",
    "model.fte.heads=2",
    "train.precision=no",
)

ARMS = [(name, arm.name) for name, of in STUDIES.items() for arm in of.arms if arm.trained]


def model_of(name: str, arm: str, **asked) -> grid.Model:
    of = study(name)
    wanted = grid.Asked(backbones=("tiny-backbone",), **asked)
    return grid.model(of, of.arm(arm), wanted, 0, wanted.backbones)


@pytest.mark.parametrize("name, arm", ARMS)
def test_an_arm_changes_what_it_names_and_nothing_else(name, arm):
    """Against the baseline: the named keys, and steps at its own pace. Against its reference: one factor. What it starts from is the very
    same cell, unless the factor is one that both stages share."""
    of = study(name)
    own, reference = of.arm(arm), of.arm(of.reference(of.arm(arm)))
    base, config = model_of(name, of.against).config, model_of(name, arm).config
    changed = {key: value for key, (_, value) in differing_keys(base, config).items()}
    steps = changed.pop("train.steps", base.train.steps)
    assert steps == pytest.approx(base.train.steps * own.pace / of.arm(of.against).pace, abs=1)
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
    with pytest.raises(CausalPoseError, match="arms: none, mask, noise-tokens"):
        AUXILIARY_TASKS.arm("maks")
    with pytest.raises(CausalPoseError, match="auxiliary_tasks, paper_tasks, tcis"):
        study("tsic")


def start(config, path):
    """Weights that depend on their names alone, no layer starting at zero: what an untrained residual branch would hide shows at once."""
    model = CMPose(config.model)
    for name, parameter in model.named_parameters():
        drawn = 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
        parameter.data = drawn + (1.0 if parameter.ndim == 1 and bool((parameter == 1).all()) else 0.0)
    return checkpoint.save(path, model, config, {})


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """(study, arm) -> the rows of its log, and last what the trained model predicts: an arm may differ in what it does after training
    alone. Trained once, for two steps."""
    folder, done = tmp_path_factory.mktemp("arms"), {}

    def train(name: str, arm: str) -> list[dict]:
        if (name, arm) not in done:
            config = override(model_of(name, arm, batch=4, clips=8, overrides=NARROW).config, {"train.steps": 2, "train.log_every": 1})
            if config.data.labels is not None:
                config = override(config, {"data.labels": 4})
            source = training_source(config)
            init = start(config, folder / name / f"{arm}.safetensors")
            run = loop.train(config, source, folder / name / arm, init=init, progress=False)
            read, timing = log.read(run / "log.csv"), ("clips_per_second", "seconds")
            found = predict_source(checkpoint.load(run)[0], source, flip_test=False).scores.sum()
            done[name, arm] = [{k: v for k, v in row.items() if k not in timing and v is not None} for row in read] + [{"scores": found}]
        return done[name, arm]

    return train


@pytest.mark.parametrize("name, arm", ARMS)
def test_an_arm_trains_differently(name, arm, rows):
    """A switch that does nothing would show here as two equal logs."""
    of = study(name)
    reference = of.reference(of.arm(arm))
    own, other = rows(name, arm), rows(name, reference)
    assert len(own) == 3 and all(abs(row["loss"]) < 1e4 for row in own[:2])
    if arm == reference:
        return
    assert own != other
    named = differing_keys(model_of(name, reference).config, model_of(name, arm).config)
    if all(key.startswith("model.mcl.") for key in named):
        # The auxiliary tasks touch the clean branch only through what they teach: the first pose loss is the same.
        assert own[0]["pose"] == pytest.approx(other[0]["pose"], rel=1e-4)


def test_no_two_arms_train_alike(rows):
    seen = {}
    for name, arm in ARMS:
        key = (name, str(rows(name, arm)))
        assert key not in seen, f"{name}: {arm} and {seen[key]} train alike"
        seen[key] = arm


def test_the_placebo_teaches_the_pose_nothing(rows):
    """Both branches are scored, and the clean branch learns as without tasks: even the norm that its gradients are cut to is the same."""
    placebo, none, both = (rows("auxiliary_tasks", name) for name in ("placebo", "none", "both"))
    assert {"mask", "noise"} <= placebo[0].keys() and placebo[0]["loss"] == pytest.approx(both[0]["loss"], rel=1e-4)
    assert placebo[0]["grad_norm"] != pytest.approx(both[0]["grad_norm"], rel=1e-3)
    assert placebo[0]["grad_norm"] == pytest.approx(none[0]["grad_norm"], rel=1e-4)
    assert placebo[1]["pose"] == pytest.approx(none[1]["pose"], rel=1e-4)


def test_an_arm_of_one_s_own_changes_what_it_says_and_keeps_the_pace():
    """As the chapter on extending builds one: its changes, over the baseline's; the steps by its pace, one at least."""
    usual = override(preset("tiny"), {"train.steps": 200})
    arm = Arm("mine", {"model.mcl.mask": False}, pace=1.5)
    assert set(differing_keys(arm.config(usual), usual)) == {"model.mcl.mask", "train.steps"} and arm.config(usual).train.steps == 300
    assert Arm("same").config(usual) == usual and Arm("slow", pace=1e-6).config(usual).train.steps == 1
    with pytest.raises(CausalPoseError, match="unknown key 'nonsense' in config.model.mcl"):
        Arm("mine", {"model.mcl.nonsense": 1}).config(usual)
