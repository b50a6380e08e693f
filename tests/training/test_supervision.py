"""What importance is taught: the joints' places by hand, effects of a model whose answer is known."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from causalpose.clip import Visibility
from causalpose.config import override
from causalpose.errors import CausalPoseError
from causalpose.model.cmpose import CMPose
from causalpose.training.objective import Objective
from causalpose.training.supervision import Measured, effects_loss, joint_places, joints_loss, measure_effects
from tests.training.dots import Dots, config

MODEL = config().model  # 32 x 32 pixels, patch 8: 4 x 4 tokens a frame, three frames


@pytest.fixture
def clip():
    return Dots(MODEL).batch(torch.arange(2))


def placed(clip, pixel, states=Visibility.VISIBLE):
    """Every joint of every frame at one pixel, in one state."""
    return replace(
        clip,
        keypoints=torch.tensor(pixel).expand_as(clip.keypoints).clone(),
        visibility=torch.full_like(clip.visibility, int(states)),
    )


def test_joint_places_by_hand(clip):
    """Token centres lie at pixels 3.5, 11.5, … A joint at x = 5.5, y = 3.5 is a quarter of the way to the second column: 3/4 and 1/4 of
    the first row; three frames share alike."""
    target, weight = joint_places(placed(clip, (5.5, 3.5)), MODEL)
    assert weight.min() == 1 and target.shape == (2, clip.keypoints.shape[2], 48)
    expected = torch.zeros(3, 16)
    expected[:, 0], expected[:, 1] = 0.25, 0.25 / 3
    torch.testing.assert_close(target[1, 0], expected.flatten())


def test_a_joint_at_the_border_stays_on_the_grid(clip):
    target, _ = joint_places(placed(clip, (0.0, 31.0)), MODEL)
    torch.testing.assert_close(target[0, 0].view(3, 16)[:, 12], torch.full((3,), 1 / 3))


@pytest.mark.parametrize("state", [Visibility.UNLABELLED, Visibility.OUTSIDE])
def test_frames_that_do_not_label_a_joint_are_left_out(clip, state):
    moved = placed(clip, (3.5, 3.5))
    moved.visibility[:, 0] = state
    moved.keypoints[:, 0] = float("nan")
    moved.visibility[0, :, 1] = state
    target, weight = joint_places(moved, MODEL)
    assert target[1, 0].view(3, 16)[:, 0].tolist() == [0, 0.5, 0.5]
    assert weight[0, 1] == 0 and weight.sum() == weight.numel() - 1 and target[0, 1].sum() == 0
    assert target.isfinite().all()


def test_the_joints_loss_is_least_at_the_joints_places(clip):
    target, _ = joint_places(clip, MODEL)
    uniform = torch.full_like(target, 1 / 48)
    assert joints_loss(target, clip, MODEL) < joints_loss(0.5 * target + 0.5 * uniform, clip, MODEL) < joints_loss(uniform, clip, MODEL)
    unlabelled = replace(clip, visibility=torch.zeros_like(clip.visibility))
    assert joints_loss(uniform, unlabelled, MODEL) == 0


class OneToken:
    """A stand-in for the model that looks at token 7 of the middle frame and nowhere else: cell 0's logit is its first channel."""

    def forward_tokens(self, tokens, keep_rate):
        assert keep_rate == 1.0  # measured with every token kept
        logits = torch.zeros(len(tokens), 3, 2, 2)
        logits[..., 0, 0] = tokens[:, 1, 7, :1]
        return SimpleNamespace(heatmaps=logits)


def test_measured_effects_of_a_model_that_looks_at_one_token():
    """Clip 0 holds 4 there and clip 1 holds 2. log p = v - log(e^v + 3): 4 -> -.0535, 2 -> -.3407. Taking the other's token costs clip 0
    .2872 and gains clip 1 as much; every other token is worth nothing."""
    tokens = torch.randn(2, 3, 16, 5)
    tokens[:, 1, 7, 0] = torch.tensor([4.0, 2.0])
    measured = measure_effects(OneToken(), tokens, torch.Generator().manual_seed(0), pairs=8)
    assert measured.replaced.shape == (16, 2, 48) and measured.change.shape == (16, 2, 3)
    seen = measured.replaced[..., 16 + 7]
    assert seen.any() and not seen.all()
    expected = torch.where(seen, torch.tensor([-0.2872, 0.2872]), 0.0)
    torch.testing.assert_close(measured.change, expected[..., None].expand(-1, -1, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(measured.total, torch.tensor([[-0.2872], [0.2872]]).expand(2, 3), atol=1e-4, rtol=0)
    right = torch.zeros(2, 3, 48)
    right[..., 16 + 7] = 1
    assert effects_loss(right, measured) < 1e-6 < effects_loss(torch.full((2, 3, 48), 1 / 48), measured)


def test_subsets_come_with_their_complements():
    tokens = torch.randn(3, 3, 16, 5)
    replaced = measure_effects(OneToken(), tokens, torch.Generator().manual_seed(0), pairs=2).replaced
    assert torch.equal(replaced[0], ~replaced[2]) and torch.equal(replaced[1], ~replaced[3])
    assert (replaced.any(-1) & ~replaced.all(-1)).all()


def test_regression_on_effects_finds_the_one_token():
    """Gradient steps on importance alone, from uniform, with a fresh pair each time."""
    tokens = torch.randn(4, 3, 16, 5)
    tokens[:, 1, 7, 0] = torch.tensor([4.0, 2.0, 0.0, 6.0])
    logits = torch.zeros(4, 3, 48, requires_grad=True)
    optimiser, generator = torch.optim.Adam([logits], lr=0.1), torch.Generator().manual_seed(0)
    for _ in range(60):
        loss = effects_loss(logits.softmax(-1), measure_effects(OneToken(), tokens, generator))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert (logits.argmax(-1) == 16 + 7).all()


def test_effects_need_another_clip():
    with pytest.raises(CausalPoseError, match="set train.batch to 2 or more"):
        measure_effects(OneToken(), torch.randn(1, 3, 16, 5))


@pytest.mark.parametrize("kind", ["joints", "effects"])
def test_supervision_is_a_part_of_the_objective_in_training_only(clip, kind):
    settings = config("model.stage=2", f"model.fte.supervision={kind}")
    objective = Objective(CMPose(settings.model), settings).train()
    loss, parts, _ = objective(clip, generator=torch.Generator().manual_seed(0))
    assert set(parts) == {"loss", "pose", "supervision"}
    assert loss.item() == pytest.approx(parts["pose"].item() + parts["supervision"].item(), rel=1e-5)
    twice = override(settings, {"model.fte.supervision_weight": 2.0})
    doubled = Objective(objective.model, twice).train()(clip, generator=torch.Generator().manual_seed(0))[1]
    factor = 2.0 / settings.model.fte.supervision_weight
    assert factor > 1 and doubled["supervision"].item() == pytest.approx(factor * parts["supervision"].item(), rel=1e-5)
    assert set(objective.eval()(clip)[1]) == {"loss", "pose"}


def _shaken(settings):
    """A model away from its start, where the encoder is the identity; the same one every time."""
    torch.manual_seed(0)
    model = CMPose(settings.model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    return model


def test_effects_are_those_of_mixed_tokens_cached_or_not(clip):
    settings = config("model.stage=2", "model.fte.supervision=effects")
    objective = Objective(_shaken(settings), settings).train()
    model = objective.model
    plain = objective(clip, generator=torch.Generator().manual_seed(0))[1]
    with torch.no_grad():
        mixed = model.encoder(model.embed(clip.frames))[0]
    with model.encoder.passing():
        cached = objective(clip, tokens=mixed, generator=torch.Generator().manual_seed(0))[1]
    assert cached["supervision"].item() == pytest.approx(plain["supervision"].item(), rel=1e-4)
    assert cached["pose"].item() == pytest.approx(plain["pose"].item(), rel=1e-5)


def test_measured_clips_do_not_enter_the_running_statistics(clip):
    """BatchNorm counts one pass of the head, the pose's, with and without the measurement."""
    buffers = []
    for kind in ("none", "effects"):
        settings = config("model.stage=2", "model.head.norm=batch", f"model.fte.supervision={kind}")
        objective = Objective(_shaken(settings), settings).train()
        objective(clip, generator=torch.Generator().manual_seed(0))[0].backward()
        buffers.append(dict(objective.model.head.named_buffers()))
    assert buffers[0] and all(torch.equal(tensor, buffers[1][name]) for name, tensor in buffers[0].items())
    assert {tensor.item() for name, tensor in buffers[1].items() if name.endswith("num_batches_tracked")} == {1}


@pytest.mark.parametrize("kind", ["joints", "effects"])
def test_supervision_reaches_what_ranks_the_tokens(clip, kind):
    settings = config("model.stage=2", f"model.fte.supervision={kind}")
    objective = Objective(CMPose(settings.model), settings).train()
    output = objective.model.forward_tokens(objective.model.embed(clip.frames))
    if kind == "joints":
        joints_loss(output.importance, clip, settings.model).backward()
    else:
        half = torch.arange(48).expand(1, 2, -1) < 24
        effects_loss(output.importance, Measured(half, torch.zeros(1, 2, 1), torch.ones(2, 1))).backward()
    assert objective.model.importance.query.weight.grad.abs().max() > 0
    assert objective.model.importance.keypoint_tokens.grad.abs().max() > 0
    assert all(p.grad is None for p in objective.model.head.parameters())


def test_training_progress_anneals_the_keep_rate(clip):
    settings = config("model.stage=2", "model.fte.keep_anneal=0.5")
    objective = Objective(CMPose(settings.model), settings).train()
    kept = []
    forward = objective.model.forward_tokens
    objective.model.forward_tokens = lambda *a, **k: kept.append(k["keep_rate"]) or forward(*a, **k)
    for progress in (0.0, 0.25, 0.5, 1.0):
        objective(clip, generator=torch.Generator().manual_seed(0), progress=progress)
    objective.eval()(clip)
    assert kept == [1.0, pytest.approx(0.65), 0.3, 0.3, None]
