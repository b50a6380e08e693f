"""Small models to explain."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from causalpose.config import Config
from causalpose.model.cmpose import CMPose
from tests.training.dots import config as small

LOOKED_AT = (2, 1, 3)  # frame, row, column


class OneToken(nn.Module):
    """Looks at the mean brightness of one token only: joint k's logit at cell 0 is (k + 1) times it, all other logits are zero."""

    def __init__(self):
        super().__init__()
        self.config = small("model.stage=1").model

    def embed(self, frames: Tensor) -> Tensor:
        """Mean of each token's pixels, `[B, T, N, 1]`."""
        rows, columns = self.config.grid
        return frames.mean(2).unflatten(-1, (columns, -1)).unflatten(-3, (rows, -1)).mean((3, 5)).flatten(2)[..., None]

    def forward_tokens(self, tokens: Tensor, *, truth: Tensor | None = None) -> SimpleNamespace:
        """Heatmaps of the brightness."""
        t, row, column = LOOKED_AT
        seen = tokens[:, t, row * self.config.grid[1] + column, 0]
        first = 3 * seen[:, None] * torch.arange(1, 16)
        heatmaps = torch.cat([first[..., None], first.new_zeros(len(seen), 15, 255)], -1).unflatten(-1, (16, 16))
        return SimpleNamespace(heatmaps=heatmaps, maps={})

    def forward(self, frames: Tensor, *, truth: Tensor | None = None, return_maps: bool = False) -> SimpleNamespace:
        """As the real model."""
        return self.forward_tokens(self.embed(frames))


def random_model(stage: int, *overrides: str) -> tuple[CMPose, Config]:
    """A random model that is sure of something: its head is scaled up, and its frames are mixed."""
    config = small(f"model.stage={stage}", *overrides)
    torch.manual_seed(1)
    model = CMPose(config.model).eval()
    with torch.no_grad():
        model.head.layers.out.weight.mul_(100)
        for name, parameter in model.named_parameters():
            if name.startswith("encoder") and parameter.ndim > 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model, config
