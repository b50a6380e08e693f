"""Where a whole model's time goes, and what dropping and reusing tokens saves.

Two sections. `stage-2`: refining causal and merged tokens against refining all, and every part of the model in turn. `reuse`: neighbouring
clips of a video share frames, so the backbone needs one pass a frame instead of `T`; exact wherever the frames are cropped alike.
"""

import pandas as pd
import torch

from causalpose.benchmark.timing import COLUMNS, alternate, faster, row
from causalpose.config import preset
from causalpose.model.cmpose import CMPose


def _model(name: str, frames: int | None, overrides: tuple[str, ...] = ()) -> CMPose:
    torch.manual_seed(0)
    length = () if frames is None else (f"model.frames={frames}",)
    return CMPose(preset(name, ["model.stage=2", *length, *overrides]).model).eval()


def _case(model: CMPose, name: str) -> str:
    config = model.config
    return f"{name} {config.height}x{config.width}, T={config.frames}"


@torch.no_grad()
def stage2_benchmark(*, name: str = "base", frames: int | None = 5, batch: int = 4, turns: int = 15, progress=None) -> pd.DataFrame:
    """Stage 2 at its keep rate against the same with all tokens, and the parts of the whole model, as a frame of `COLUMNS`.

    name     preset; frames: T, the preset's own where None; turns: alternations
    batch    the blocks are also measured with so many clips at once: a block's weights are read and packed as often for one clip as for
             many, and for few tokens as for all, which alone costs the smaller case a share of its advantage

    Milliseconds are for all clips of the case, which is one where its name does not say. A ratio says how many times as fast as with all
    tokens.
    """
    model, every = _model(name, frames), _model(name, frames, ("model.fte.selector=all",))
    every.load_state_dict(model.state_dict())
    config = model.config
    clip = torch.rand(1, config.frames, 3, config.height, config.width)
    tokens = model.embed(clip)
    mixed = model.encoder(tokens)[0]
    keypoints, looked = model.importance(mixed.flatten(1, 2))
    chosen = model._select(mixed, looked.mean(1), None, None, None)
    merged = model._merge(mixed, chosen, None)
    grid = model.enhancement(mixed, keypoints, chosen, merged).grid
    chosen_all = every._select(mixed, looked.mean(1), None, None, None)
    merged_all = every._merge(mixed, chosen_all, None)
    # The blocks as they run within the model: with the log size of a merged token on its logits and the gate on the values, if any.
    K, width = keypoints.shape[1], mixed.shape[-1]
    keys, keys_all = model.enhancement.keys(chosen, merged, K), every.enhancement.keys(chosen_all, merged_all, K)
    few = torch.randn(1, K + chosen.causal.shape[1] + merged.tokens.shape[1], width)
    all_ = torch.randn(1, K + mixed.shape[1] * mixed.shape[2], width)

    def blocks(x, bias, gate):
        for block in model.enhancement.blocks:
            x, _ = block(x, bias=bias, gate=gate)
        return x

    def several(x, keys):
        x, keys = torch.randn(batch, *x.shape[1:]), [None if key is None else key.repeat(batch, 1) for key in keys]
        return lambda: blocks(x, *keys)

    seconds = alternate(
        {
            "blocks": lambda: blocks(few, *keys),
            "blocks, all tokens": lambda: blocks(all_, *keys_all),
            "several": several(few, keys),
            "several, all tokens": several(all_, keys_all),
            "stage 2": lambda: _above(model, mixed),
            "stage 2, all tokens": lambda: _above(every, mixed),
            "whole model": lambda: model(clip),
            "whole model, all tokens": lambda: every(clip),
            "backbone": lambda: model.embed(clip),
            "encoder": lambda: model.encoder(tokens),
            "importance": lambda: model.importance(mixed.flatten(1, 2)),
            "selection": lambda: model._select(mixed, looked.mean(1), None, None, None),
            "clustering": lambda: model._merge(mixed, chosen, None),
            "blocks and restoring": lambda: model.enhancement(mixed, keypoints, chosen, merged),
            "blocks and restoring, all tokens": lambda: every.enhancement(mixed, keypoints, chosen_all, merged_all),
            "head": lambda: model.head(grid),
        },
        turns,
        progress,
    )
    case = f"{_case(model, name)}, ρ={config.fte.keep_rate:g}, M={config.fte.clusters}"
    rows = [row("stage-2", case, "tokens refined", few.shape[1], "", all_.shape[1], all_.shape[1] / few.shape[1])]
    rows.append(faster("stage-2", f"{case}, batch {batch}", "blocks", seconds["several"], seconds["several, all tokens"]))
    for what in ("blocks", "blocks and restoring", "stage 2", "whole model"):
        rows.append(faster("stage-2", case, what, seconds[what], seconds[f"{what}, all tokens"]))
    parts = ("backbone", "encoder", "importance", "selection", "clustering", "blocks and restoring", "head")
    total = sum(seconds[part] for part in parts)
    for part in parts:
        rows.append(row("stage-2", "share of the whole model", part, 100 * seconds[part] / total, "%"))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _above(model: CMPose, mixed: torch.Tensor) -> torch.Tensor:
    """Stage 2 alone: from mixed tokens to heatmaps."""
    keypoints, looked = model.importance(mixed.flatten(1, 2))
    chosen = model._select(mixed, looked.mean(1), None, None, None)
    return model._decode(model.enhancement(mixed, keypoints, chosen, model._merge(mixed, chosen, None)))


@torch.no_grad()
def reuse_benchmark(*, name: str = "base", frames: int | None = 5, turns: int = 5, progress=None) -> pd.DataFrame:
    """A frame of a video predicted with its neighbours' tokens at hand against the whole clip anew, as a frame of `COLUMNS`."""
    model = _model(name, frames)
    config = model.config
    clip = torch.rand(1, config.frames, 3, config.height, config.width)
    held = [model.embed(clip[:, t : t + 1]) for t in range(config.frames)]

    def reused() -> torch.Tensor:
        return model.forward_tokens(torch.cat([*held[:-1], model.embed(clip[:, -1:])], 1)).heatmaps

    def anew() -> torch.Tensor:
        return model(clip).heatmaps

    apart = (reused() - anew()).abs().max().item()
    seconds = alternate({"reused": reused, "anew": anew, "above": lambda: model.forward_tokens(torch.cat(held, 1))}, turns, progress)
    case = _case(model, name)
    return pd.DataFrame(
        [
            faster("reuse", case, "one frame of a video", seconds["reused"], seconds["anew"]),
            row("reuse", case, "backbone passes a frame", 1, "", config.frames, config.frames),
            row("reuse", case, "share of the time above the backbone", 100 * seconds["above"] / seconds["reused"], "%"),
            row("reuse", case, "largest difference of a heatmap's logit", apart, ""),
        ],
        columns=list(COLUMNS),
    )
