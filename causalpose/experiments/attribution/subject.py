"""Whom the study asks, what it asks, and how it writes the answers down.

An answer is a long row: part, arm, seed, clip, joint, method, score, value. `method` is empty where the number is the model's, not a map's.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from causalpose.clip import Clip, Visibility
from causalpose.config import Config
from causalpose.errors import CausalPoseError
from causalpose.explain import intervention, methods
from causalpose.explain.attributions import LIGHT, Effort
from causalpose.explain.maps import Map, as_batch
from causalpose.model.cmpose import CMPose
from causalpose.scenes.world import World
from causalpose.skeletons import keypoint_set

COLUMNS = ("part", "arm", "seed", "clip", "joint", "method", "score", "value")
# The study's clips are of the test split, which no choice was made on (see `scenes.dataset`: seed * 3 + position of the split).
TEST_SEED = 2


@dataclass(frozen=True)
class Subject:
    """A model to put questions to: its arm and seed, the model, its configuration."""

    arm: str
    seed: int
    model: CMPose
    config: Config

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its keypoints."""
        return keypoint_set(self.config.model.keypoints).keypoints

    def world(self) -> World:
        """The world of the test clips."""
        m = self.config.model
        return World(m.height, m.width, m.frames, seed=TEST_SEED)


@dataclass(frozen=True)
class Question:
    """How maps are made and measured.

    resamples   draws of the effects of surroundings; content: of the effects of all content (0 leaves them out)
    samples     token subsets of infidelity
    """

    methods: tuple[str, ...]
    effort: Effort = LIGHT
    resamples: int = 2
    content: int = 1
    samples: int = 32

    def of(self, model: CMPose) -> list[str]:
        """The methods that this model can be asked for, in the library's order."""
        return [name for name in methods.possible(model.config.stage) if name in self.methods]


class Rows:
    """Collects long rows."""

    def __init__(self, part: str, subject: Subject):
        self.part, self.subject, self.rows = part, subject, []

    def add(self, clip: int, joint: str, method: str, score: str, value: float) -> None:
        """One number."""
        self.rows.append((self.part, self.subject.arm, self.subject.seed, clip, joint, method, score, float(value)))

    def frame(self) -> pd.DataFrame:
        """All numbers."""
        return pd.DataFrame(self.rows, columns=COLUMNS)


def pick_joint(clip: Clip, number: int, wanted: tuple[Visibility, ...]) -> int | None:
    """The joint that a clip is explained for: one in a wanted state at the target frame, drawn by the clip's number; None where none is."""
    states = as_batch(clip).visibility[0, clip.frames.shape[-4] // 2]
    fit = [k for k in range(len(states)) if int(states[k]) in wanted]
    return fit[int(np.random.default_rng(number).integers(len(fit)))] if fit else None


INSIDE = (Visibility.VISIBLE, Visibility.SELF_OCCLUDED, Visibility.OCCLUDED)


def find(world: World, wanted: tuple[Visibility, ...], count: int, first: int = 0, limit: int = 4096) -> list[int]:
    """The first `count` clips in which some joint is in a wanted state at the target frame."""
    found: list[int] = []
    for start in range(first, first + limit, 64):
        clips = world.render(range(start, start + 64))
        states = clips.visibility[:, clips.target]
        fits = torch.isin(states, torch.tensor([int(v) for v in wanted], dtype=states.dtype)).any(1)
        found += [start + int(i) for i in fits.nonzero()[:, 0]]
        if len(found) >= count:
            return found[:count]
    raise CausalPoseError(f"only {len(found)} of {limit} clips have a joint that is {' or '.join(v.name.lower() for v in wanted)}")


def explain_all(model: CMPose, clip: Clip, joint: str, question: Question, seed: int) -> list[Map]:
    """The maps of every method that the model can be asked for."""
    return [methods.explain(model, clip, joint, name, seed=seed, effort=question.effort) for name in question.of(model)]


def measured_effect(
    model: CMPose, world: World, clip: int, joint: int, label: str, resamples: int
) -> tuple[torch.Tensor, dict[str, float]]:
    """The size of each token's effect on one joint `[1, T, rows, columns]`, and what is known of its quality.

    Draw by draw, so that one can be held against another: `ceiling` is the rank correlation of a draw with the next, stepped up to all
    draws (Spearman and Brown). That is a reliability; the tables take its root, up to which a map of the true effects would agree.
    """
    draws = [intervention.effect_map(model, world, [clip], causes=label, resamples=1, seed=1 + draw) for draw in range(resamples)]
    sizes = torch.stack([draw.size[:, joint] for draw in draws])  # [R, 1, T, rows, columns]
    shift = torch.stack([draw.shift[:, joint] for draw in draws])
    size = sizes.mean(0)
    quality = {"effect_nats": float(size.mean()), "effect_pixels": float(shift.mean()), "effect_pixels_largest": float(shift.mean(0).max())}
    if resamples > 1:
        pairs = [float(intervention.agreement(a, b)) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        r = float(np.nanmean(pairs)) if np.isfinite(pairs).any() else float("nan")
        quality["ceiling"] = resamples * r / (1 + (resamples - 1) * r)
        quality["relative_error"] = float((sizes.std(0) / resamples**0.5).mean() / size.mean().clamp_min(1e-12))
    quality["seconds"] = sum(draw.seconds for draw in draws)
    quality["forward_passes"] = sum(draw.forward_passes for draw in draws)
    return size, quality
