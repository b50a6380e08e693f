"""The rasteriser: soft-edged bars, painted back to front, tile by tile, in plain tensor operations (ours).

Every thing in a scene is one primitive, the *bar*: an oriented segment with a half-length, a half-width and a radius that
may taper. Zero half-width gives a limb (a tapered capsule), zero length a disc, positive half-width a rounded box. Tiles of
8x8 pixels list the bars that can touch them, in depth order, and all tiles are painted together, one list position at a
time: work grows with the area that is covered, not with bars times pixels.

Geometry is rounded to 1/1024 pixel before it meets the pixels and only exactly rounded operations follow, so a clip has
the same pixels alone and in any batch.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from causalpose.scenes.blocks import blocks

TILE = 8
GRAIN = 1024.0


@dataclass
class Bars:
    """`N` bars in each of `F` pictures; every tensor is `[F, N]` or `[F, N, ·]`, lengths in pixels.

    start, end     end points `[F, N, 2]`
    radius         `[F, N, 2]` at start and end
    width          half-width of a rounded box
    depth          painter's order: larger is further away
    colour, second `[F, N, 3]` in [0, 1]: base colour and stripe colour
    stripes        stripes per pixel along the bar; 0 for none
    round          0 flat, 1 shaded like a cylinder
    opacity, soft  0..1; width in pixels of the soft edge (1 antialiases)
    part           code written to the label map; -1 leaves the label below
    """

    start: Tensor
    end: Tensor
    radius: Tensor
    width: Tensor
    depth: Tensor
    colour: Tensor
    second: Tensor
    stripes: Tensor
    round: Tensor
    opacity: Tensor
    soft: Tensor
    part: Tensor

    def map(self, function) -> "Bars":
        """Apply a function to every tensor."""
        return Bars(**{f.name: function(getattr(self, f.name)) for f in fields(self)})


def join(groups: list[Bars]) -> Bars:
    """Bars of several things in one list."""
    return Bars(**{f.name: torch.cat([getattr(g, f.name) for g in groups], 1) for f in fields(Bars)})


def make(start, end, radius, depth, colour, part, *, width=0.0, second=None, stripes=0.0, round=0.0, opacity=1.0, soft=1.0) -> Bars:
    """Bars from tensors that broadcast to `[F, N]`; plain numbers fill."""
    shape = start.shape[:2]

    def full(value) -> Tensor:
        return (
            torch.as_tensor(value, dtype=start.dtype, device=start.device).expand(shape)
            if not torch.is_tensor(value)
            else value.to(start.dtype).expand(shape)
        )

    colour = colour.to(start.dtype).expand(*shape, 3)
    if radius.ndim == 2:
        radius = radius[..., None].expand(*shape, 2)
    return Bars(
        start,
        end.expand(*shape, 2),
        radius.expand(*shape, 2),
        full(width),
        full(depth),
        colour,
        colour if second is None else second.to(start.dtype).expand(*shape, 3),
        full(stripes),
        full(round),
        full(opacity),
        full(soft),
        full(part),
    )


def _grain(value: Tensor) -> Tensor:
    return torch.round(value * GRAIN) / GRAIN


def _pack(bars: Bars, light: Tensor) -> tuple[Tensor, ...]:
    """The numbers that a pixel needs of each bar, each `[F, N]` float32."""
    start, end = _grain(bars.start), _grain(bars.end)
    axis = end - start
    length = axis.square().sum(-1).sqrt()
    unit = torch.where(length[..., None] > 1e-3, axis / length.clamp(min=1e-3)[..., None], axis.new_tensor([0.0, 1.0]))
    centre = (start + end) / 2
    r0, r1 = _grain(bars.radius.clamp(min=0.35)).unbind(-1)
    half = length / 2
    taper = torch.where(half > 1e-3, (r1 - r0) / length.clamp(min=1e-3), torch.zeros_like(half))
    # light from the upper left as seen on the bar's cross-section
    side = unit[..., 0] * light[:, None, 1] - unit[..., 1] * light[:, None, 0]
    columns = (
        centre[..., 0],
        centre[..., 1],
        unit[..., 0],
        unit[..., 1],
        half,
        _grain(bars.width),
        (r0 + r1) / 2,
        taper,
        1 / bars.soft.clamp(min=0.5),
        bars.opacity,
        *bars.colour.unbind(-1),
        *bars.second.unbind(-1),
        bars.stripes,
        bars.round,
        side * bars.round,
        bars.part,
    )
    return tuple((torch.round(c * 2**20) / 2**20).float() for c in columns)


def _distance(x: Tensor, y: Tensor, cx, cy, ux, uy, half, width, radius, taper) -> tuple[Tensor, Tensor, Tensor]:
    """Signed distance of points to bars (negative inside a capsule; at least -radius inside a box), place along it and across it.

    `x` and `y` broadcast against each other: a grid may give its columns and its rows.
    """
    x, y = x - cx, y - cy
    along = x * ux + y * uy
    across = y * ux - x * uy
    clamped = torch.maximum(torch.minimum(along, half), -half)
    beyond = along - clamped
    outside = across.abs().sub_(width).clamp_(min=0)
    distance = beyond.mul_(beyond).addcmul_(outside, outside).sqrt_()
    distance -= radius
    distance -= clamped.mul_(taper)
    return distance, along, across


def _rank(bars: Bars) -> Bars:
    """Sort back to front; bars of no opacity, which paint nothing, come last."""
    depth = torch.where(bars.opacity > 0, bars.depth, -torch.inf)
    order = depth.argsort(dim=1, descending=True, stable=True)
    return bars.map(lambda v: v.gather(1, order[..., None].expand(*order.shape, v.shape[2]) if v.ndim == 3 else order))


def rasterise(bars: Bars, background: Tensor, light: Tensor) -> tuple[Tensor, Tensor]:
    """Paint bars over a background.

    background `[F, 3, H, W]` float32 in [0, 1]; light `[F, 2]`: direction towards the light in the picture, length 0..1.
    Returns the picture `[F, 3, H, W]` and the label map uint8 `[F, H, W]` (part of the front-most bar that covers half a pixel or more).
    """
    F, _, H, W = background.shape
    bars = _rank(bars)
    present = (bars.opacity > 0).sum(1).tolist()
    table = torch.stack(_pack(bars, light))  # [D, F, N]
    picture, labels = torch.empty_like(background), torch.empty(F, H, W, dtype=torch.uint8, device=background.device)
    for block in blocks(F, H * W // 8, background.device):  # many short passes: larger portions pay
        picture[block], labels[block] = _paint(table[:, block, : max(present[block])], background[block])
    return picture, labels


def _paint(table: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """`rasterise` for bars packed back to front `[D, F, N]`."""
    F, _, H, W = background.shape
    device = background.device
    rows, columns = -(-H // TILE), -(-W // TILE)
    margin = (0, columns * TILE - W, 0, rows * TILE - H)
    canvas = torch.nn.functional.pad(background, margin) if any(margin) else background
    # [F, 3, rows, T, columns, T] -> [3, F·tiles, T·T]
    canvas = (
        canvas.unflatten(2, (rows, TILE))
        .unflatten(4, (columns, TILE))
        .permute(1, 0, 2, 4, 3, 5)
        .reshape(3, F * rows * columns, TILE * TILE)
    )

    N = table.shape[2]
    # Which bars touch which tile: distance from the tile's centre against its half diagonal.
    centre_y = (torch.arange(rows, device=device) * TILE + (TILE - 1) / 2).repeat_interleave(columns).float()
    centre_x = (torch.arange(columns, device=device) * TILE + (TILE - 1) / 2).repeat(rows).float()
    tile_distance, _, _ = _distance(centre_x[None, :, None], centre_y[None, :, None], *(c[:, None] for c in table[:8]))  # [F, tiles, N]
    reach = (TILE - 1) / 2 * 2**0.5 + 0.5 / table[8]
    touched = (tile_distance < reach[:, None]) & (table[9] > 0)[:, None]
    touched = touched.flatten(0, 1)
    count = touched.sum(1)
    order = count.argsort(descending=True, stable=True)
    count = count[order]
    deepest = int(count[0])

    # lists[t, k]: the k-th bar (back to front) of tile t
    tile, bar = touched[order].nonzero(as_tuple=True)
    rank = torch.arange(len(tile), device=device) - (count.cumsum(0) - count)[tile]
    lists = torch.zeros(len(order), deepest, dtype=torch.long, device=device)
    frame = order // (rows * columns)
    lists[tile, rank] = frame[tile] * N + bar

    table = table.flatten(1).T.contiguous()  # [F·N, D]
    canvas = canvas[:, order]
    label = torch.zeros(canvas.shape[1:], dtype=torch.float32, device=device)
    inner_y = torch.arange(TILE, device=device).repeat_interleave(TILE).float()
    inner_x = torch.arange(TILE, device=device).repeat(TILE).float()
    where = order % (rows * columns)
    pixel_x = (where % columns * TILE)[:, None] + inner_x
    pixel_y = (where // columns * TILE)[:, None] + inner_y
    active = (count > torch.arange(deepest, device=device)[:, None]).sum(1).tolist()
    for k, n in enumerate(active):
        row = table[lists[:n, k]][..., None]  # [n, D, 1]
        cx, cy, ux, uy, half, width, radius, taper, hard, opacity, *colours, stripes, rounding, side, part = row.unbind(1)
        distance, along, across = _distance(pixel_x[:n], pixel_y[:n], cx, cy, ux, uy, half, width, radius, taper)
        alpha = distance.mul_(-hard).add_(0.5).clamp_(0, 1).mul_(opacity)
        # a cylinder's normal leans sideways by `lean`; brightness = ambient + lambert, all in exactly rounded operations
        lean = across.div_(width + radius).clamp_(-1, 1)
        shade = (lean * side).mul_(0.55).add_(1)
        shade -= lean.mul_(lean).mul_(rounding * 0.38)
        striped = (stripes[:, 0] > 0).nonzero()[:, 0]
        if len(striped):
            band = along[striped].mul_(stripes[striped])
            band = band.sub_(band.floor()).sub_(0.5).abs_().mul_(8).sub_(2).add_(0.5).clamp_(0, 1)
        for c in range(3):
            first, second = colours[c], colours[c + 3]
            colour = first * shade
            if len(striped):
                base = first[striped]
                colour[striped] = (band * (second[striped] - base)).add_(base).mul_(shade[striped])
            canvas[c, :n].lerp_(colour, alpha)
        # the same as where(shown, part, label), in passes that vectorise
        shown = alpha >= torch.where(part >= 0, 0.5, torch.inf)
        label[:n].lerp_(part.expand_as(alpha), shown.float())
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=device)
    picture = canvas[:, back].reshape(3, F, rows, columns, TILE, TILE).permute(1, 0, 2, 4, 3, 5).reshape(F, 3, rows * TILE, columns * TILE)
    labels = label[back].reshape(F, rows, columns, TILE, TILE).permute(0, 1, 3, 2, 4).reshape(F, rows * TILE, columns * TILE)
    return picture[..., :H, :W].clamp(0, 1), labels[..., :H, :W].to(torch.uint8)


def covering(bars: Bars, points: Tensor) -> tuple[Tensor, Tensor]:
    """The front-most opaque bar at each point: its part code and depth, `[F, K]` each; part 0 and depth +inf where nothing is.

    points `[F, K, 2]` in pixels. Bars with negative part (shadows) do not cover.
    """
    packed = _pack(bars, points.new_zeros(points.shape[0], 2))
    x, y = (points[..., i].float()[:, :, None] for i in (0, 1))
    distance, _, _ = _distance(x, y, *(c[:, None] for c in packed[:8]))
    inside = (distance < 0) & ((bars.part >= 0) & (bars.opacity > 0.5))[:, None]
    depth = torch.where(inside, bars.depth[:, None].float(), float("inf"))
    nearest, which = depth.min(-1)
    part = bars.part.gather(1, which).long()
    return torch.where(nearest.isinf(), 0, part), nearest


__all__ = ["Bars", "TILE", "covering", "join", "make", "rasterise"]
