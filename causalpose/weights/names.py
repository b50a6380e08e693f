"""Published key names to ours: one ViT, many spellings.

Known are timm's names (which MAE, DINO, DINOv2 and the official ViTPose repository share but for details), those of mmpose 1.x, and those
of Hugging Face's ViT, ViTMAE, DINOv2 and VitPose. Ours are timm's, behind `backbone.vit.`, and `head.layers.` for the heatmap head.
"""

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from causalpose.errors import CausalPoseError

BACKBONE, HEAD = "backbone.vit.", "head.layers."

# The patch embedding's kernel is in every ViT; what stands before its name is the prefix of the whole backbone.
_PATCH = re.compile(r"^(?P<prefix>.*?)(patch_embed\.proj|patch_embed\.projection|embeddings\.patch_embeddings\.projection)\.weight$")

_BACKBONE_RULES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^patch_embed\.projection\.", "patch_embed.proj."),
        (r"^embeddings\.position_embeddings$", "pos_embed"),
        (r"^embeddings\.(cls_token|mask_token)$", r"\1"),
        (r"^(embeddings\.)?register_tokens$", "reg_token"),
        (r"^(last_norm|layernorm|ln1)\.", "norm."),
        (r"^(encoder\.layer|layers)\.(\d+)\.", r"blocks.\2."),
        (r"^(blocks\.\d+\.)(ln1|layernorm_before)\.", r"\1norm1."),
        (r"^(blocks\.\d+\.)(ln2|layernorm_after)\.", r"\1norm2."),
        (r"^(blocks\.\d+\.)attention\.attention\.", r"\1attn."),
        (r"^(blocks\.\d+\.)attention\.output\.dense\.", r"\1attn.proj."),
        (r"^(blocks\.\d+\.)(intermediate\.dense|ffn\.layers\.0\.0)\.", r"\1mlp.fc1."),
        (r"^(blocks\.\d+\.)(output\.dense|ffn\.layers\.1)\.", r"\1mlp.fc2."),
        (r"^(blocks\.\d+\.)mlp\.experts\.experts\.", r"\1mlp.experts."),
        (r"^(blocks\.\d+\.)layer_scale(\d)\.lambda1$", r"\1ls\2.gamma"),
    )
]
_HEAD_RULES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^(keypoint_head|head)\.deconv_layers\.", "up."),
        (r"^(keypoint_head|head)\.final_layer\.", "out."),
        (r"^head\.deconv1\.", "up.0."),
        (r"^head\.batchnorm1\.", "up.1."),
        (r"^head\.deconv2\.", "up.3."),
        (r"^head\.batchnorm2\.", "up.4."),
        (r"^head\.conv\.", "out."),
    )
]
_SPLIT = (("query", "key", "value"), ("q", "k", "v"), ("q_proj", "k_proj", "v_proj"))


def translate(tensors: dict[str, Tensor], own: Iterable[str]) -> tuple[dict[str, Tensor], dict[str, str], list[str]]:
    """Tensors under our names, the published name of each (the first, where several were joined), and notes on what was joined.

    own   the names that the model has: a backbone whose names are the file's already (timm's Eva models keep q, k and v apart) stays as
          it is

    Split queries, keys and values are joined. A mixture-of-experts layer (ViTPose+) becomes the plain layer that its first expert, COCO's,
    makes of it: that is exact. What has no place in a pose model (decoder, classifier) keeps its published name.
    """
    prefix = _prefix(tensors)
    inside = {name.removeprefix(prefix): name for name in tensors if name.startswith(prefix)}
    wanted = {name.removeprefix(BACKBONE) for name in own if name.startswith(BACKBONE)} - {"pos_embed"}
    direct = wanted <= inside.keys()
    out: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, tensor in tensors.items():
        ours = _head_name(name.removeprefix("module."))
        if ours is None and name.startswith(prefix):
            inner = name.removeprefix(prefix)
            ours = BACKBONE + (inner if direct else _apply(_BACKBONE_RULES, inner))
        ours = ours or name
        out[ours], origin[ours] = tensor, name
    notes = []
    if not direct:
        notes += [*_join_qkv(out, origin), *_first_expert(out, origin)]
        for kind in ("weight", "bias"):  # timm's models with averaged tokens keep their last norm under this name
            if BACKBONE + f"fc_norm.{kind}" in out and BACKBONE + f"norm.{kind}" not in out:
                _rename(out, origin, BACKBONE + f"fc_norm.{kind}", BACKBONE + f"norm.{kind}")
    return out, origin, notes


def _prefix(tensors: dict[str, Tensor]) -> str:
    for name in tensors:
        match = _PATCH.match(name)
        if match:
            return match["prefix"]
    first = ", ".join(list(tensors)[:3])
    raise CausalPoseError(f"no ViT: none of its {len(tensors)} tensors ({first}, …) is a patch embedding")


def _head_name(name: str) -> str | None:
    ours = _apply(_HEAD_RULES, name)
    return None if ours == name else HEAD + ours


def _apply(rules: list[tuple[re.Pattern, str]], name: str) -> str:
    for pattern, replacement in rules:
        name = pattern.sub(replacement, name)
    return name


def _rename(out: dict[str, Tensor], origin: dict[str, str], old: str, new: str) -> None:
    out[new], origin[new] = out.pop(old), origin.pop(old)


def _join_qkv(out: dict[str, Tensor], origin: dict[str, str]) -> list[str]:
    joined = 0
    for names in _SPLIT:
        for kind in ("weight", "bias"):
            for first in [name for name in out if name.endswith(f".attn.{names[0]}.{kind}")]:
                stem = first.removesuffix(f"{names[0]}.{kind}")
                parts = [f"{stem}{name}.{kind}" for name in names]
                if all(part in out for part in parts):
                    together = f"{stem}qkv.{kind}"
                    origin[together] = origin[first]
                    out[together] = torch.cat([out.pop(part) for part in parts])
                    for part in parts:
                        del origin[part]
                    joined += kind == "weight"
    return [f"query, key and value joined in {joined} blocks"] if joined else []


def _first_expert(out: dict[str, Tensor], origin: dict[str, str]) -> list[str]:
    firsts = [name for name in out if ".mlp.experts.0." in name]
    for name in firsts:
        layer = name.replace("experts.0.", "fc2.")
        out[layer] = torch.cat((out[layer], out.pop(name)))
        del origin[name]
    return ["of the experts the first (COCO's) is taken"] if firsts else []
