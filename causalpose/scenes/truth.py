"""`SceneTruth`: what every pixel of a scene shows, where its people are, and what lies in front of what (ours).

    truth = World().truth([0, 1])
    truth.person_box[0, 1]          # x1, y1, x2, y2 of the person in the second frame of the first clip
    truth.mask("bystander")         # bool [B, T, H, W]
    truth.order[0, 1]               # the pieces of that frame, nearest first; truth.piece_parts says what each is

A scene is drawn in *pieces*: a limb, a shirt's print, a bar, a chair's leg, an occluder. Each lies at one depth and the nearer one covers
the further, so the depths of a frame decide every label.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from causalpose.errors import CausalPoseError
from causalpose.scenes.body import PERSON_PARTS, Part
from causalpose.scenes.render import Bars, rasterise

PERSON = tuple(int(part) for part in PERSON_PARTS)
MASKS: dict[str, tuple[int, ...]] = {
    "person": PERSON,
    "bystander": (int(Part.BYSTANDER),),
    "occluder": (int(Part.OCCLUDER),),
    "distractor": (int(Part.DISTRACTOR),),
    "background": (int(Part.BACKGROUND),),
}


@dataclass(frozen=True)
class SceneTruth:
    """The truth of `B` clips of `T` frames, drawn in `P` pieces. Lengths and places in crop pixels, top-left pixel's centre (0, 0).

    Boxes are `x1, y1, x2, y2`, float32 `[B, T, 4]`, nan where there is nothing to enclose.

    keypoints       float32 `[B, T, K, 2]`; visibility: uint8 `[B, T, K]`, both as in `Clip`
    person_box      of the whole body with its girth, hidden or not, inside the crop or not (amodal)
    person_visible_box     of the outer edges of the pixels that show the person
    bystander_box, bystander_visible_box    the same of the second person
    parts           uint8 `[B, T, H, W]`: what each pixel shows, codes of `Part`; the labels of `World.render`
    pieces          uint8 `[B, T, H, W]`: 0 for the background, n + 1 where piece n is the front-most
    piece_parts     uint8 `[P]`: which `Part` each piece belongs to, the same in every clip
    depth           float32 `[B, T, P]`: larger is further away; +inf for a piece that the frame does not have. The person's pieces are in
                    body heights from the person's middle, hence comparable; a second person, distractors and occluders lie on layers
                    hundreds away, which tell their order and no distance. Of equal depths the later piece is in front
    """

    keypoints: Tensor
    visibility: Tensor
    person_box: Tensor
    person_visible_box: Tensor
    bystander_box: Tensor
    bystander_visible_box: Tensor
    parts: Tensor
    pieces: Tensor
    piece_parts: Tensor
    depth: Tensor

    @property
    def order(self) -> Tensor:
        """The pieces of each frame from nearest to furthest, int64 `[B, T, P]`; those that the frame does not have come last."""
        return self.depth.argsort(dim=-1, descending=True, stable=True).flip(-1)

    @property
    def depth_map(self) -> Tensor:
        """Depth of what each pixel shows, float32 `[B, T, H, W]`; +inf where that is the background."""
        known = torch.cat([torch.full_like(self.depth[..., :1], torch.inf), self.depth], -1)
        return known.gather(-1, self.pieces.flatten(-2).long()).view(self.pieces.shape)

    def mask(self, name: str) -> Tensor:
        """Pixels that show the `person`, a `bystander`, an `occluder`, a `distractor` or the `background`: bool `[B, T, H, W]`.

        The five masks share no pixel and together cover the crop.
        """
        if name not in MASKS:
            raise CausalPoseError(f"unknown mask {name!r}; masks: {', '.join(MASKS)}")
        return _any_of(self.parts, MASKS[name])


def truth_of(bars: Bars, frames: int, height: int, width: int, keypoints: Tensor, visibility: Tensor, device="cpu") -> SceneTruth:
    """The truth of the clips that `bars` `[B·T, N]` draw; what has no part code (shadows, a wall's structures) is background."""
    kept = (bars.part[0] >= 0).nonzero()[:, 0]
    bars = bars.map(lambda v: v[:, kept])
    codes = bars.part[0].to(torch.uint8)
    # The pieces' numbers take the place of the parts' codes, so the renderer itself says which piece is in front.
    numbered = bars.map(lambda v: v.to(device))
    numbered.part = torch.arange(1, len(kept) + 1, dtype=bars.part.dtype, device=device).expand_as(bars.part)
    blank = torch.zeros(len(bars.depth), 3, height, width, device=device)
    pieces = rasterise(numbered, blank, torch.zeros(len(blank), 2, dtype=torch.float64, device=device))[1]
    parts = torch.cat([codes.new_zeros(1), codes]).to(device)[pieces.long()]
    clips = lambda v: v.unflatten(0, (-1, frames))  # noqa: E731
    return SceneTruth(
        keypoints=keypoints,
        visibility=visibility,
        person_box=clips(_around_bars(bars, PERSON)),
        person_visible_box=clips(_around_pixels(_any_of(parts, PERSON))).cpu(),
        bystander_box=clips(_around_bars(bars, MASKS["bystander"])),
        bystander_visible_box=clips(_around_pixels(_any_of(parts, MASKS["bystander"]))).cpu(),
        parts=clips(parts),
        pieces=clips(pieces),
        piece_parts=codes.to(device),
        depth=clips(torch.where(bars.opacity > 0, bars.depth, torch.inf).float()).to(device),
    )


def concatenate_truths(portions: Sequence[SceneTruth]) -> SceneTruth:
    """Join the truths of portions of clips along `B`."""
    joined = {f.name: torch.cat([getattr(p, f.name) for p in portions]) for f in fields(SceneTruth) if f.name != "piece_parts"}
    return SceneTruth(**joined, piece_parts=portions[0].piece_parts)


def _any_of(parts: Tensor, codes: tuple[int, ...]) -> Tensor:
    return torch.isin(parts, torch.tensor(codes, dtype=parts.dtype, device=parts.device))


def _around_bars(bars: Bars, codes: tuple[int, ...]) -> Tensor:
    """Boxes `[F, 4]` around the discs at the ends of the bars with one of the parts: between its ends a limb reaches no further."""
    chosen = _any_of(bars.part[0], codes)
    if not bool(chosen.any()):
        return torch.full((len(bars.part), 4), torch.nan, device=bars.part.device)
    low, high = (
        torch.stack([end + sign * bars.radius[..., i, None] for i, end in enumerate((bars.start, bars.end))], -1)[:, chosen]
        for sign in (-1, 1)
    )  # [F, limbs, 2, 2]
    box = torch.cat([low.amin((1, 3)), high.amax((1, 3))], -1).float()
    there = (bars.opacity[:, chosen] > 0).any(1)  # all limbs of a person are there or none
    return torch.where(there[:, None], box, torch.nan)


def _around_pixels(mask: Tensor) -> Tensor:
    """Boxes `[F, 4]` along the outer edges of the pixels of a mask `[F, H, W]`."""
    edges = []
    for shown in (mask.any(1), mask.any(2)):  # columns, then rows
        place = torch.arange(shown.shape[1], device=mask.device).float()
        edges.append(torch.where(shown, place, torch.inf).amin(1) - 0.5)
        edges.append(torch.where(shown, place, -torch.inf).amax(1) + 0.5)
    box = torch.stack([edges[0], edges[2], edges[1], edges[3]], -1)
    return torch.where(mask.flatten(1).any(1)[:, None], box, torch.nan)
