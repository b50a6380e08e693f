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


class _Look(nn.Module):
    """Attention with given weights whose value is the token itself."""

    def __init__(self, weights: Tensor):
        super().__init__()
        self.weights = weights

    def forward(self, x: Tensor, with_weights: bool = False, bias=None, gate=None) -> tuple[Tensor, Tensor | None]:
        weights = self.weights.expand(len(x), 1, -1, -1).clone().requires_grad_(x.requires_grad)
        return (weights[:, 0] @ x), weights if with_weights else None


class Linear(nn.Module):
    """A linear model: the logit of cell 0 is `scale · Σ attention_i weight_i brightness_i`, all other logits are zero.

    The attention row is that of the joint's token (cell 0 lies in the target frame's first); with a small scale the log-probability of cell
    0 is the logit but for a constant, so every token's share of the target is `scale · attention_i weight_i brightness_i`.
    """

    def __init__(self, stage: int = 1, scale: float = 0.01):
        super().__init__()
        self.config = small(f"model.stage={stage}").model
        generator = torch.Generator().manual_seed(2)
        S, N = 48, 16
        self.weight = torch.randn(S, generator=generator) + 1.5
        attention = torch.rand(S, S, generator=generator)
        self.attention = attention / attention.sum(1, keepdim=True)
        self.scale, self.row = scale * S, N
        self.encoder = nn.Module()
        self.encoder.blocks = nn.ModuleList([nn.Module()])
        self.encoder.blocks[0].attention = _Look(self.attention)
        self.importance = torch.rand(15, 3, 4, 4, generator=generator)

    def embed(self, frames: Tensor) -> Tensor:
        """Mean of each token's pixels, `[B, T, N, 1]`."""
        rows, columns = self.config.grid
        return frames.mean(2).unflatten(-1, (columns, -1)).unflatten(-3, (rows, -1)).mean((3, 5)).flatten(2)[..., None]

    def forward_tokens(self, tokens: Tensor, *, truth: Tensor | None = None, return_maps: bool = False) -> SimpleNamespace:
        """Heatmaps of the weighted brightness, the same for every joint."""
        seen, _ = self.encoder.blocks[0].attention(tokens.flatten(1, 2) * self.weight[:, None])
        first = (self.scale * seen[:, self.row, 0])[:, None].expand(-1, 15)
        heatmaps = torch.cat([first[..., None], first.new_zeros(len(seen), 15, 255)], -1).unflatten(-1, (16, 16))
        return SimpleNamespace(heatmaps=heatmaps, maps={"importance_per_keypoint": self.importance.expand(len(seen), -1, -1, -1, -1)})

    def forward(self, frames: Tensor, *, truth: Tensor | None = None, return_maps: bool = False) -> SimpleNamespace:
        """As the real model."""
        return self.forward_tokens(self.embed(frames), return_maps=return_maps)
