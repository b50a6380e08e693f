"""Stateless randomness: every draw of a run is a pure function of `(seed, purpose, position)`.

No generator lives from one step to the next, so a resumed run needs no generator state to repeat exactly what an unbroken
run would have drawn (*ours*).
"""

import hashlib
from functools import lru_cache

import torch
from torch import Tensor


def derive_seed(seed: int, *keys: int | str) -> int:
    """A 63-bit seed for one purpose at one place, e.g. `derive_seed(0, "augment", step, shard)`.

    Hashing keeps neighbouring steps and seeds unrelated, which `seed + step` would not: seed 1 at step 0 would repeat seed 0 at
    step 1.
    """
    text = "/".join([str(int(seed)), *map(str, keys)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *keys: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator seeded by `derive_seed`."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, *keys))


@lru_cache(maxsize=4)
def _epoch(seed: int, epoch: int, count: int) -> Tensor:
    return torch.randperm(count, generator=generator(seed, "order", epoch))


def step_indices(seed: int, step: int, count: int, size: int) -> Tensor:
    """The `size` clip numbers of one optimiser step, int64 `[size]`.

    The clips are walked in a new permutation each epoch; step `s` takes the positions `s·size … (s+1)·size - 1` of that endless
    walk, so every clip is seen once before any is seen twice, whatever the batch size.
    """
    first = step * size
    parts = []
    while size > 0:
        epoch, start = divmod(first, count)
        taken = min(size, count - start)
        parts.append(_epoch(seed, epoch, count)[start : start + taken])
        first, size = first + taken, size - taken
    return torch.cat(parts)
