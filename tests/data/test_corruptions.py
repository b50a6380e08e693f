"""Corruptions: they grow with severity, depend on (seed, clip) alone, and keep the labels true."""

import numpy as np
import pytest
import torch

from causalpose.clip import Visibility
from causalpose.config import preset
from causalpose.data.corruptions import CORRUPTIONS, SEVERITIES, CorruptedSource, corrupt
from causalpose.data.source import PersonSource
from causalpose.errors import CausalPoseError
from tests.evaluation.fakes import FakeSource


@pytest.fixture
def source():
    """Fakes with smooth pictures: sums of a few waves, so that blur and compression have something to do."""
    fake = FakeSource(size=5)
    shape = fake.clips.frames.shape
    y, x = torch.meshgrid(torch.arange(shape[-2]), torch.arange(shape[-1]), indexing="ij")
    for b in range(shape[0]):
        fake.clips.frames[b] = (127 + 60 * torch.sin(x / (2 + b)) + 60 * torch.cos(y / 3.0)).to(torch.uint8)
    return fake


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_higher_severities_change_more(source, kind):
    clean = source.batch(range(5)).frames.float()
    changes = [(CorruptedSource(source, kind, s).batch(range(5)).frames.float() - clean).abs().mean().item() for s in SEVERITIES]
    assert changes[0] > 0.5 and all(a < b for a, b in zip(changes, changes[1:], strict=False)), changes


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_each_clip_has_its_own_stream(source, kind):
    """The same whatever the batch, order or instance; another with another seed; the source itself is not touched."""
    before = source.clips.frames.clone()
    whole = CorruptedSource(source, kind, 3).batch([0, 1, 2, 3, 4])
    again = CorruptedSource(source, kind, 3).batch([3, 1])
    assert torch.equal(whole.frames[[3, 1]], again.frames) and torch.equal(whole.visibility[[3, 1]], again.visibility)
    assert torch.equal(source.clips.frames, before)
    other = CorruptedSource(source, kind, 3, seed=1).batch([0, 1, 2, 3, 4])
    assert torch.equal(other.frames, whole.frames) == (kind in ("defocus", "jpeg")), "these two draw nothing"
    assert torch.equal(whole.keypoints, source.clips.keypoints)


def test_what_an_occluder_covers_is_occluded(source):
    clean, covered = source.batch(range(5)), CorruptedSource(source, "occluders", 5).batch(range(5))
    changed = (covered.frames != clean.frames).any(2)  # [B, T, H, W]
    place = clean.keypoints.round().long()
    hidden = (covered.visibility == Visibility.OCCLUDED).nonzero().tolist()
    assert 0 < len(hidden) < covered.visibility.numel()
    near = [changed[b, t, max(place[b, t, k, 1] - 2, 0) :, max(place[b, t, k, 0] - 2, 0) :][:5, :5].any() for b, t, k in hidden]
    assert np.mean(near) > 0.95
    share = changed.float().mean().item()
    assert 0.2 < share < 0.4, "level 5 covers about 0.35 of the crop, less where patches overlap or leave it"


def test_a_motion_blur_keeps_the_light_and_the_direction(source):
    """The kernel sums to one, and every frame of the clip is blurred the same way."""
    clip = source.batch([2])[0]
    blurred = corrupt(clip, "motion_blur", 4)
    assert abs(blurred.frames.float().mean() - clip.frames.float().mean()) < 1.5
    assert torch.equal(blurred.frames[0], blurred.frames[-1])


def test_protocol_and_passing_through(source):
    corrupted = CorruptedSource(source, "jpeg", 2)
    assert corrupted.describe() == source.describe() | {
        "corruption": "jpeg", "severity": 2, "corruption_seed": 0, "level": "18 (quality)",
    }  # fmt: skip
    assert len(corrupted) == 5 and corrupted.clips is source.clips
    with pytest.raises(AttributeError):
        corrupted.nothing  # noqa: B018


def test_wrong_names_and_levels(source):
    with pytest.raises(CausalPoseError, match="unknown corruption 'fog'; known: defocus"):
        CorruptedSource(source, "fog", 1)
    with pytest.raises(CausalPoseError, match="severity = 6"):
        CorruptedSource(source, "noise", 6)
    with pytest.raises(CausalPoseError, match="severity = 0"):
        corrupt(source.batch([0])[0], "noise", 0)


def test_real_frames(shared_data):
    config = preset("tiny")
    real = PersonSource(shared_data / "jhmdb_sample" / "test_jhmdb_sub1.json", "val", config.model, config.data)
    clean = real.batch([0, 1])
    for kind in CORRUPTIONS:
        frames = CorruptedSource(real, kind, 5).batch([0, 1]).frames
        assert frames.shape == clean.frames.shape and not torch.equal(frames, clean.frames)
