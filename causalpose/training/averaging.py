"""The exponential moving average of the weights, whose model is the one that is saved and evaluated (ours: EMA with a short ramp)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Moving average of a model's floating-point state; `decay` 0 means none, and every method then does the least.

    The effective decay is `min(decay, (1 + s) / (10 + s))` at step s, so that a short run is not held back by its first weights.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model, self.decay = model, decay
        self.values = {k: v.detach().clone() for k, v in self._live().items()} if decay else {}

    def _live(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self.model.state_dict().items() if tensor.is_floating_point()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step` (0-based)."""
        if not self.decay:
            return
        live = self._live()
        keep = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), [live[name] for name in self.values], 1 - keep)

    def state(self) -> dict[str, Tensor]:
        """The state dict to save: the averaged weights, or the model's own."""
        return self.model.state_dict() | self.values

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the model carries the averaged weights and is in eval mode; outside it is as before, to the bit."""
        training = self.model.training
        own = {name: tensor.detach().clone() for name, tensor in self._live().items()} if self.decay else {}
        self.model.load_state_dict(self.values, strict=False)
        self.model.eval()
        try:
            yield
        finally:
            self.model.load_state_dict(own, strict=False)
            self.model.train(training)
