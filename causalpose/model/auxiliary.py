"""Stage 1's auxiliary tasks: masked-token reconstruction and token denoising (Multitask Coarse Learning).

*Paper*: random tokens are masked and restored from the others (an occlusion in feature space); Gaussian noise is put on some tokens and
taken off again (a defocus in feature space); both train the model beside the pose. *Ours*, where the public text is silent: the
target is the clean backbone token without gradient, normalised per token (MAE); corruption happens before the temporal embedding;
each task has its own light decoder above the shared encoder; a loss counts the corrupted tokens only. *Beyond*: other contents of the
masked places and other targets (`MCLConfig.content`, `MCLConfig.target`), and a placebo.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalpose.config import ModelConfig
from causalpose.errors import CausalPoseError
from causalpose.model.attention import Block, initialise_linear, pick
from causalpose.model.masking import masked_tokens, noise_mask, noised_tokens, token_mask
from causalpose.model.randomness import normal, uniform


@dataclass(frozen=True)
class Branch:
    """A corrupted copy of the clip's tokens: tokens `[B, T, N, C]`, and which of them were corrupted, bool `[B, T, N]`, `count` in
    every clip."""

    name: str
    tokens: Tensor
    chosen: Tensor
    count: int

    @property
    def places(self) -> Tensor:
        """The corrupted places in order, int64 `[B, count]`, counted over all `TN`."""
        # Sorted, not looked for: the shape is known beforehand, so nothing waits for a GPU, and meta tensors have one as well.
        return self.chosen.flatten(1).byte().argsort(dim=1, descending=True, stable=True)[:, : self.count]


@dataclass(frozen=True)
class Views:
    """What the branches need from the backbone beside the clean tokens; each may be None.

    erased   tokens `[B, T, N, C]` of the clip with the patches `chosen` (bool `[B, T, N]`) painted over
    target   tokens `[B, T, N, C]` of the block `mcl.target_layer`
    """

    erased: Tensor | None = None
    chosen: Tensor | None = None
    target: Tensor | None = None


class Decoder(nn.Module):
    """A few blocks over the encoder's output, then a norm and a linear layer: light, so that the encoder has to do the work."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, e = config.backbone.width, config.encoder
        self.blocks = nn.ModuleList(Block(width, e.heads, e.mlp_ratio) for _ in range(config.mcl.decoder_depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.out.apply(initialise_linear)

    def forward(self, mixed: Tensor, at: Tensor) -> Tensor:
        """mixed `[B, T, N, C]` -> restored tokens `[B, Q, C]` of the places int64 `[B, Q]` among all `TN`.

        Nobody looks at the others, so the last block computes those alone.
        """
        x = mixed.flatten(1, 2)
        for i, block in enumerate(self.blocks):
            x, _ = block(x, at=at if i == len(self.blocks) - 1 else None)
        return self.out(self.norm(x if len(self.blocks) else pick(x, at)))


class Auxiliary(nn.Module):
    """Corrupts tokens before the encoder and scores their restoration after it. Used in training only."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config, self.grid = config.mcl, config.grid
        width, (rows, columns) = config.backbone.width, config.grid
        # A task of weight zero is not run at all, so it needs no parameters either.
        self.weights = {}
        if self.config.mask and self.config.weight_mask > 0:
            self.weights["mask"] = self.config.weight_mask
            if self.config.content == "mask":
                # A masked token has lost its place with its content, so the mask token brings a learned position of its own.
                self.mask_token = nn.Parameter(torch.zeros(1, 1, 1, width))
                self.mask_position = nn.Parameter(torch.zeros(1, 1, rows * columns, width))
                nn.init.trunc_normal_(self.mask_token, std=0.02)
                nn.init.trunc_normal_(self.mask_position, std=0.02)
        if self.config.noise and self.config.weight_noise > 0:
            self.weights["noise"] = self.config.weight_noise
        self.restores = self.config.target == "tokens"
        self.decoders = nn.ModuleDict({name: Decoder(config) for name in self.weights} if self.restores else {})

    @property
    def erases(self) -> bool:
        """Whether a branch needs the picture with patches painted over."""
        return "mask" in self.weights and self.config.content == "erased"

    @property
    def looks_below(self) -> bool:
        """Whether the target is an earlier block of the backbone."""
        return bool(self.weights) and self.restores and self.config.target_layer >= 0

    def erase(self, frames: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """frames `[B, T, 3, H, W]` with the drawn patches painted over, and which, bool `[B, T, N]`.

        One colour a clip, drawn evenly: a thing in front of the person rather than a code word for "nothing here" (Random Erasing,
        Zhong et al., AAAI 2020, paints noise).
        """
        chosen = self._places(frames.shape[0], frames.shape[1], frames.device, generator)
        rows, columns = self.grid
        patch = (frames.shape[-2] // rows, frames.shape[-1] // columns)
        where = chosen.unflatten(2, (rows, columns)).repeat_interleave(patch[0], 2).repeat_interleave(patch[1], 3)
        colour = uniform((frames.shape[0], 1, 3, 1, 1), frames.device, generator)
        colour = (colour if frames.is_floating_point() else (colour * 255).round()).to(frames.dtype)
        return torch.where(where[:, :, None], colour, frames), chosen

    def corrupt(self, tokens: Tensor, generator: torch.Generator | None = None, views: Views | None = None) -> list[Branch]:
        """tokens `[B, T, N, C]`, clean -> one corrupted copy per task; `views` holds the erased copy where that is asked for."""
        branches, frames = [], tokens.shape[1]
        if "mask" in self.weights:
            count = masked_tokens(self.config, frames, self.grid)
            if self.erases:
                if views is None or views.erased is None:
                    raise CausalPoseError("mcl.content = 'erased' needs the pictures: call the model on frames, not on tokens alone")
                branches.append(Branch("mask", views.erased.to(tokens.dtype), views.chosen, count))
            else:
                chosen = self._places(tokens.shape[0], tokens.shape[1], tokens.device, generator)
                branches.append(Branch("mask", self._replaced(tokens, chosen, generator), chosen, count))
        if "noise" in self.weights:
            chosen = noise_mask(self.config, tokens.shape[0], tokens.shape[1], self.grid, tokens.device, generator)
            branches.append(Branch("noise", self._noisy(tokens, chosen, generator), chosen, noised_tokens(self.config, frames, self.grid)))
        return branches

    def losses(self, tokens: Tensor, branches: list[Branch], mixed: list[Tensor], views: Views | None = None) -> dict[str, Tensor]:
        """Weighted losses by task, from the clean tokens `[B, T, N, C]`, the branches and the encoder's output for each.

        With another target than tokens there is nothing to score here (the objective does it), only to watch:
        `target_variance` is the variance of the target tokens over clips, frames and places (mean over channels). The target is itself
        learned, and a collapse would show there as a fall towards zero.
        """
        if not branches:
            return {}
        target = tokens if views is None or views.target is None else views.target
        target = (target if self.config.target_gradient else target.detach()).float()
        out = {"target_variance": target.detach().flatten(0, 2).var(0).mean()}
        if not self.restores:
            return out
        for branch, encoded in zip(branches, mixed, strict=True):
            at = branch.places  # [B, Q]
            restored = self.decoders[branch.name](encoded, at).float()
            wanted = pick(target.flatten(1, 2), at)
            wanted = F.layer_norm(wanted, wanted.shape[-1:]) if self.config.normalise else wanted
            out[branch.name] = self.weights[branch.name] * self._difference(restored, wanted).mean()
        return out

    def _difference(self, restored: Tensor, target: Tensor) -> Tensor:
        """Difference of every token from its target: `[B, Q, C]` twice -> `[B, Q]`."""
        if self.config.loss == "cosine":
            return 1 - F.cosine_similarity(restored, target, dim=-1)
        loss = F.mse_loss if self.config.loss == "mse" else F.smooth_l1_loss
        return loss(restored, target, reduction="none").mean(-1)

    def _places(self, batch: int, frames: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
        return token_mask(self.config, batch, frames, self.grid, device, generator)

    def _replaced(self, tokens: Tensor, chosen: Tensor, generator: torch.Generator | None) -> Tensor:
        """The tokens with other content at the chosen places."""
        content = self.config.content
        if content == "noise":
            return self._noisy(tokens, chosen, generator)
        if content == "clean":
            return tokens
        if content == "foreign":
            if len(tokens) < 2:
                raise CausalPoseError("mcl.content = 'foreign' takes tokens from another clip of the batch, and there is one clip only")
            # A batch's clips are in random order, so the next one is any other.
            return torch.where(chosen[..., None], tokens.detach().roll(1, 0), tokens)
        return torch.where(chosen[..., None], (self.mask_token + self.mask_position).to(tokens.dtype), tokens)

    def _noisy(self, tokens: Tensor, chosen: Tensor, generator: torch.Generator | None) -> Tensor:
        """The tokens with Gaussian noise on the chosen ones."""
        # One standard deviation a clip: a clip's task does not depend on the rest of its batch.
        spread = tokens.detach().flatten(1).float().std(1).view(-1, 1, 1, 1)
        noise = normal(tuple(tokens.shape), tokens.device, generator) * (self.config.noise_std * spread)
        return tokens + (noise * chosen[..., None]).to(tokens.dtype)
