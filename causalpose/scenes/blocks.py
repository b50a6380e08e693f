"""Clips in portions whose pixels stay in the processor's cache (ours).

A pass over a whole batch's pixels streams megabytes from memory, and renderers make dozens of passes. A few clips at a time give the same
numbers, as each clip's arithmetic is its own, two to four times as fast.
"""

from collections.abc import Iterator

import torch

ELEMENTS = 1 << 16  # 256 kB of float32: a handful of such tensors fit a core's second-level cache


def blocks(clips: int, elements: int, device: torch.device | str = "cpu") -> Iterator[slice]:
    """Slices that cut `clips`, of `elements` numbers each, into portions; a GPU takes them all at once."""
    size = max(1, ELEMENTS // max(1, elements)) if torch.device(device).type == "cpu" else clips
    for first in range(0, clips, max(1, size)):
        yield slice(first, min(first + size, clips))
