"""Random numbers for the model: from the caller's generator in training, from a fixed seed in evaluation."""

from functools import lru_cache

import torch
from torch import Tensor

_EVALUATION_SEED = 2501


def uniform(shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Numbers in [0, 1), drawn where the generator lives (a CPU generator gives the same numbers whatever the device)."""
    return torch.rand(shape, generator=generator, device=_home(device, generator)).to(device)


def normal(shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal numbers, as `uniform`."""
    return torch.randn(shape, generator=generator, device=_home(device, generator)).to(device)


def per_clip(batch: int, count: int, device: torch.device, generator: torch.Generator | None, training: bool) -> Tensor:
    """Uniform numbers `[B, count]`. In evaluation every clip gets the same ones, from a fixed seed: its result depends neither on its
    place in the batch nor on what ran before."""
    if training:
        return uniform((batch, count), device, generator)
    return torch.tensor(_evaluation_numbers(count), device=device).expand(batch, count)


@lru_cache(maxsize=32)
def _evaluation_numbers(count: int) -> tuple[float, ...]:
    """As plain numbers, so that they are a constant to a compiler or an exporter, which cannot follow a generator."""
    return tuple(torch.rand(count, generator=torch.Generator().manual_seed(_EVALUATION_SEED), device="cpu").tolist())


def _home(device: torch.device, generator: torch.Generator | None) -> torch.device:
    return device if generator is None else generator.device
