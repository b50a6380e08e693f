"""DPC-kNN against the plain form of its paper's text, and how its time grows with the tokens."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from causalpose.benchmark.timing import COLUMNS, alternate, faster, row
from causalpose.model.clustering import dpc_knn


def plain_dpc_knn(points: Tensor, count: int, neighbours: int, tie_break: Tensor) -> Tensor:
    """DPC-kNN as one writes it down: distances by `cdist`, sorted whole; assignment int64 `[B, S]` of points `[B, S, C]`."""
    S, C = points.shape[1:]
    distance = torch.cdist(points, points) / C**0.5
    nearest = distance.sort(-1).values[..., : min(neighbours, S)]
    density = (-nearest.square().mean(-1)).exp() + tie_break
    denser = density[:, None, :] > density[:, :, None]
    largest = distance.flatten(1).amax(-1)[:, None, None]
    delta = torch.where(denser, distance, largest).amin(-1)
    centres = (density * delta).topk(count, dim=-1).indices
    to_centres = distance.gather(1, centres[..., None].expand(-1, -1, S))
    return to_centres.argmin(1).scatter(1, centres, torch.arange(count, device=points.device).expand_as(centres))


@torch.inference_mode()
def clustering_benchmark(
    *,
    batch: int = 8,
    tokens: int = 672,
    width: int = 768,
    count: int = 48,
    growth: tuple[int, ...] = (168, 336, 672, 1344),
    turns: int = 60,
    progress=None,
) -> pd.DataFrame:
    """Milliseconds a clip, as a frame of `COLUMNS`; a ratio says how many times as fast as the plain form.

    batch, tokens, width, count   clips, tokens of each, their width, and clusters (672 are the non-causal tokens of T=5, 256x192, ρ=0.3)
    growth                        numbers of tokens of the growth's points, whose exponent is fitted
    """
    generator = torch.Generator().manual_seed(0)
    rows, points = [], []
    for size in dict.fromkeys((tokens, *growth)):
        # Around as many places as there are clusters: evenly spread noise has none to find.
        places = torch.randn(batch, count, width, generator=generator)
        home = torch.randint(count, (batch, size), generator=generator)
        x = places.gather(1, home[..., None].expand(-1, -1, width)) + 0.5 * torch.randn(batch, size, width, generator=generator)
        tie = torch.rand(batch, size, generator=generator) * 1e-6
        work = {"ours": lambda x=x, tie=tie: dpc_knn(x, count, 5, tie), "plain": lambda x=x, tie=tie: plain_dpc_knn(x, count, 5, tie)}
        seconds = alternate(work, turns, progress)
        case = f"{batch} x {size} tokens of {width}"
        rows.append(faster("clustering", case, "DPC-kNN, a clip", seconds["ours"] / batch, seconds["plain"] / batch))
        if size == tokens:
            same = (work["ours"]() == work["plain"]()).float().mean().item()
            rows.append(row("clustering", case, "tokens assigned as in the plain form", 100 * same, "%"))
        if size in growth:
            points.append((np.log(size), np.log(seconds["ours"])))
    if len(points) > 1:
        slope = float(np.polyfit(*zip(*points, strict=True), 1)[0])
        rows.append(row("clustering", "growth with tokens", "exponent (2: with all pairs)", slope, "", 2.0, slope / 2))
    return pd.DataFrame(rows, columns=list(COLUMNS))
