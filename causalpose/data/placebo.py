"""Labels changed on purpose: a placebo, and labels of one joint alone."""

from dataclasses import replace

import torch

from causalpose.clip import Clip, Visibility


class ShuffledLabels:
    """A source in which every clip carries the keypoints of another clip: the pictures tell nothing of the labels.

    The labels keep their own distribution, so what can be learned is where joints are on average, and no more.
    """

    def __init__(self, source, seed: int = 0):
        count = len(source)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        self.source, self.donor = source, torch.empty(count, dtype=torch.long)
        self.donor[order] = order.roll(1)  # one cycle through all clips, so that none keeps its own

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, indices) -> Clip:
        """The clips at the given positions, each with its donor's keypoints, visibility and scale."""
        indices = torch.as_tensor(indices, dtype=torch.long)
        clip, labels = self.source.batch(indices), self.source.batch(self.donor[indices])
        return replace(clip, keypoints=labels.keypoints, visibility=labels.visibility, scale=labels.scale)

    def __getitem__(self, index: int) -> Clip:
        return self.batch([int(index)])[0]

    def describe(self) -> dict:
        """The source's protocol, and that its labels are shuffled."""
        return self.source.describe() | {"labels": "shuffled among the clips"}


class OneJoint:
    """A source in which one joint alone is labelled, so that a short training is about that joint and nothing else."""

    def __init__(self, source, joint: int):
        self.source, self.joint = source, joint

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, indices) -> Clip:
        """The clips at the given positions; every other joint is unlabelled."""
        clip = self.source.batch(indices)
        states = torch.full_like(clip.visibility, int(Visibility.UNLABELLED))
        states[..., self.joint] = clip.visibility[..., self.joint]
        return replace(clip, visibility=states)

    def __getitem__(self, index: int) -> Clip:
        return self.batch([int(index)])[0]

    def describe(self) -> dict:
        """The source's protocol, and which joint is labelled."""
        return self.source.describe() | {"labels": f"of joint {self.joint} alone"}
