"""The per-frame ViT: frames to tokens.

The transformer is timm's `VisionTransformer`, so weights published for it load by their own key names. There is no class token, as in
ViTPose: dense prediction has no use for one.
"""

import math
import re

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from causalpose.config import ModelConfig
from causalpose.errors import CausalPoseError
from causalpose.model.attention import fused_pays

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, which published ViT weights expect


class ConvStem(nn.Module):
    """A small convolutional stem in place of ViT's one strided convolution.

    3x3 convolutions of stride two, doubling the channels, then a 1x1 to the token width (Xiao et al., *Early convolutions help
    transformers see better*, NeurIPS 2021). Learns far faster from nothing at small size. Three convolutions for a patch of 8; a larger
    patch takes one more for every doubling, a patch of 4 leaves the last at stride one. GroupNorm of one group, not BatchNorm: no batch
    statistics, so training and evaluation compute the same and a clip's result does not depend on its neighbours in the batch.

    The constructor's arguments are those that timm hands to an `embed_layer`.
    """

    def __init__(self, img_size: tuple[int, int], patch_size: int, in_chans: int, embed_dim: int, **_):
        super().__init__()
        halvings = int(math.log2(patch_size))
        depth = max(3, halvings)
        self.num_patches = (img_size[0] // patch_size) * (img_size[1] // patch_size)
        layers, channels = [], in_chans
        for i in range(depth):
            out = max(8, embed_dim // 2 ** (depth - 1 - i))
            stride = 2 if i < halvings else 1
            layers += [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.GroupNorm(1, out), nn.GELU()]
            channels = out
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, embed_dim, 1))

    def forward(self, images: Tensor) -> Tensor:
        """images `[B, 3, H, W]` -> tokens `[B, N, C]`, row by row."""
        return self.layers(images).flatten(2).transpose(1, 2)


class InRows(nn.Module):
    """Tokens laid out one after the other in memory.

    A convolution leaves them channel by channel, a sum takes the layout of its first term, and so every block's residual stream would
    keep it, and every norm would copy.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens `[B, N, C]` -> the same, contiguous."""
        return tokens.contiguous()


class Backbone(nn.Module):
    """`frames [B, T, 3, H, W]` (uint8, or float in [0, 1]) to `tokens [B, T, N, C]`; the frames share the weights."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.vit = _from_numbers(config) if config.backbone.name == "vit" else _named(config)
        if config.backbone.padding:
            _pad(self.vit, config)
        if isinstance(getattr(self.vit, "norm_pre", None), nn.Identity):
            self.vit.norm_pre = InRows()
        self.vit.set_grad_checkpointing(config.backbone.checkpointing)
        self._attentions = [block.attn for block in self.vit.blocks if hasattr(block.attn, "fused_attn")]
        # Not persistent: constants, not weights. The 255 of uint8 input is folded in, which saves a pass over the images.
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("inverse_std", 1 / (torch.tensor(_STD).view(3, 1, 1) * 255), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """frames `[B, T, 3, H, W]`, RGB, uint8 or float in [0, 1] -> tokens `[B, T, N, C]`."""
        tokens = self.vit.forward_features(self.prepare(frames))
        return self._patches(tokens, frames)

    def with_layer(self, frames: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """The tokens, and those after block `layer` (0 the first; before the final norm), both `[B, T, N, C]`, in one pass."""
        images = self.prepare(frames)
        tokens, (hidden,) = self.vit.forward_intermediates(images, indices=[layer], output_fmt="NLC")
        return self._patches(tokens, frames), hidden.unflatten(0, frames.shape[:2])

    def _patches(self, tokens: Tensor, frames: Tensor) -> Tensor:
        """The patches' tokens `[B, T, N, C]`: some models have register tokens before them."""
        return tokens[:, self.vit.num_prefix_tokens :].unflatten(0, frames.shape[:2])

    def prepare(self, frames: Tensor) -> Tensor:
        """Normalised images `[BT, 3, H, W]`."""
        images = self._normalise(frames.flatten(0, 1))
        fused = fused_pays(images.device, self._dtype(images.device))
        for attention in self._attentions:
            attention.fused_attn = fused
        return images

    def _dtype(self, device: torch.device) -> torch.dtype:
        """What the blocks compute in."""
        if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
            return torch.get_autocast_dtype(device.type)
        return next(self.vit.parameters()).dtype

    def _normalise(self, images: Tensor) -> Tensor:
        if images.is_floating_point():
            images = images * 255
        return (images - self.mean) * self.inverse_std


def _from_numbers(config: ModelConfig) -> VisionTransformer:
    b = config.backbone
    stem = {"embed_layer": ConvStem} if b.stem == "conv" else {}
    return VisionTransformer(
        img_size=(config.height, config.width), patch_size=b.patch, embed_dim=b.width, depth=b.depth, num_heads=b.heads,
        mlp_ratio=b.mlp_ratio, drop_path_rate=b.drop_path, class_token=False, global_pool="", num_classes=0, **stem,
    )  # fmt: skip


# In timm's hybrids (`vit_small_r26_s32_224`) a ResNet cuts the image down before the patches do, so the patch is not theirs to set.
_HYBRID = re.compile(r"_r(n?\d+)?_s\d+")


def _named(config: ModelConfig) -> nn.Module:
    b = config.backbone
    if not timm.is_model(b.name):
        raise CausalPoseError(
            f"backbone.name = {b.name!r} is neither 'vit' nor a model of timm {timm.__version__}; see timm.list_models('vit_*')"
        )
    patch = {} if _HYBRID.search(b.name) else {"patch_size": b.patch}
    try:
        vit = timm.create_model(
            b.name, pretrained=False, img_size=(config.height, config.width), drop_path_rate=b.drop_path, class_token=False,
            global_pool="", num_classes=0, **patch,
        )  # fmt: skip
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        raise CausalPoseError(f"backbone.name = {b.name!r} cannot be built as a plain ViT without class token: {error}") from None
    if not all(hasattr(vit, name) for name in ("blocks", "patch_embed", "num_prefix_tokens", "forward_features")):
        raise CausalPoseError(f"backbone.name = {b.name!r} is a {type(vit).__name__}, not a plain ViT; choose a vit_*, deit* or eva* model")
    grid = tuple(vit.patch_embed.grid_size)
    built = {"width": vit.embed_dim, "depth": len(vit.blocks), "heads": vit.blocks[0].attn.num_heads, "patch": config.height // grid[0]}
    wrong = {key: value for key, value in built.items() if getattr(b, key) != value}
    if wrong:
        listed = ", ".join(f"backbone.{key} = {getattr(b, key)}, but {b.name} has {value}" for key, value in wrong.items())
        raise CausalPoseError(f"{listed}; set {' '.join(f'model.backbone.{key}={value}' for key, value in wrong.items())}")
    return vit


def _pad(vit: nn.Module, config: ModelConfig) -> None:
    """Pad the image for the strided convolution, as ViTPose does: its patches lie `padding` pixels further up and left than ViT's."""
    b, projection = config.backbone, getattr(vit.patch_embed, "proj", None)
    if not isinstance(projection, nn.Conv2d) or projection.stride != (b.patch, b.patch):
        raise CausalPoseError(f"backbone.padding = {b.padding} needs a backbone whose stem is one strided convolution; set it to 0")
    projection.padding = (b.padding, b.padding)
