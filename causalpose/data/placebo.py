"""A placebo to train on: clips whose labels belong to other clips."""

from dataclasses import replace

import torch

from causalpose.clip import Clip


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
