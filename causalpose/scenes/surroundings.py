"""Everything that is not the person: clothing and skin colours, the background, distractors and occluders (ours)."""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from causalpose.scenes import body, camera, motion
from causalpose.scenes.blocks import blocks
from causalpose.scenes.body import LIMB_FROM, LIMB_PART, LIMB_RADII, LIMB_SLOT, LIMB_TO, Part, Slot
from causalpose.scenes.causes import Stream
from causalpose.scenes.render import Bars, join, make

POINTED_AT = "right_wrist"  # what the stick of `distractors.prop` points at

# Painter's depths, far to near; the person's own limbs lie within ±2.
FAR, SHADOW, BEHIND, BYSTANDER_BEHIND, BYSTANDER_FRONT, NEAR = 1000.0, 900.0, 500.0, 300.0, -300.0, -500.0

_SKINS = torch.tensor(
    [[0.96, 0.80, 0.69], [0.89, 0.69, 0.55], [0.76, 0.55, 0.41], [0.58, 0.39, 0.28], [0.38, 0.25, 0.18]], dtype=torch.float64
)
_HAIR = torch.tensor(
    [[0.09, 0.07, 0.06], [0.25, 0.16, 0.10], [0.48, 0.32, 0.16], [0.80, 0.66, 0.40], [0.62, 0.60, 0.58]], dtype=torch.float64
)


def _colour(stream: Stream, shape: tuple[int, ...] = ()) -> Tensor:
    """Colours from grey to saturated, dark to light, `[B, *shape, 3]`."""
    grey, hue = stream.uniform(0.08, 0.92, shape), stream.uniform(-0.5, 0.5, (*shape, 3))
    return (grey[..., None] + stream.uniform(0, 1, shape).square()[..., None] * hue).clamp(0.03, 0.97)


def _ladder(table: Tensor, at: Tensor) -> Tensor:
    """Linear interpolation in a table of colours, `at` in [0, 1]."""
    position = at.clamp(0, 1) * (len(table) - 1.001)
    first = position.floor().long()
    return torch.lerp(table[first], table[first + 1], (position - first)[..., None])


def assign_clothing(stream: Stream, level: str) -> dict[str, Tensor]:
    """Sleeve 0 none, 1 short, 2 long; trousers 0 shorts, 1 long; stripes and print 0 or 1 `[B]`; colours `[B, 3]`."""
    return {
        "sleeve": stream.pick(0.2, 0.45, 0.35).double(),
        "trousers": stream.chance(0.65),
        "stripes": stream.chance(0.3),
        "shirt": _colour(stream),
        "shirt_second": _colour(stream),
        "legwear": _colour(stream),
        "shoes": _colour(stream),
        "stripe_count": stream.uniform(4, 9),
        "print": stream.chance(0.75),
    }


def assign_skin(stream: Stream, level: str) -> dict[str, Tensor]:
    """Tone 0 (light) to 1 (dark) and hair colour `[B]`."""
    return {"tone": stream.uniform(), "hair": stream.uniform(), "warmth": stream.normal(0.025, (3,))}


def person(
    xy: Tensor,
    depth: Tensor,
    size: Tensor,
    body_values,
    clothing,
    skin,
    *,
    layer: Tensor | float = 0.0,
    part: int | None = None,
    present=None,
) -> Bars:
    """The bars of one person in every frame.

    xy `[B, F, P, 2]` pixels, depth `[B, F, P]` body heights, size `[B, F, P]`: pixels per body height at each point; `layer` (a number or
    `[B]`) is added to the depth, `part` replaces the body's own codes (for bystanders), `present` `[B]` switches the person on (1) or off.
    Returns bars `[B·F, limbs]`.
    """
    B, F = xy.shape[:2]
    tone = (_ladder(_SKINS, skin["tone"]) + skin["warmth"]).clamp(0, 1)
    hair, shirt, legs = _ladder(_HAIR, skin["hair"]), clothing["shirt"], clothing["legwear"]
    wears = lambda choice, garment: torch.where(choice[:, None], garment, tone)  # noqa: E731
    slots = torch.stack(
        [
            tone,
            hair,
            shirt,
            legs,
            clothing["shoes"],
            wears(clothing["sleeve"] > 1.5, shirt),
            wears(clothing["sleeve"] > 0.5, shirt),
            wears(clothing["trousers"] > 0.5, legs),
            tone,
            torch.where((clothing["print"] > 0.5)[:, None], clothing["shirt_second"], shirt),
            0.3 * tone,
        ],
        1,
    )
    colour = slots[:, LIMB_SLOT]  # [B, limbs, 3]
    worn = torch.tensor([s in (Slot.SHIRT, Slot.SLEEVE, Slot.UPPER_SLEEVE) for s in LIMB_SLOT.tolist()])
    second = torch.where(
        ((clothing["stripes"] > 0.5)[:, None] & worn)[..., None] & (colour == shirt[:, None]).all(-1, keepdim=True),
        clothing["shirt_second"][:, None],
        colour,
    )
    radius = LIMB_RADII * body_values["girth"][:, None, None]
    head = torch.tensor([s in (Slot.HAIR, Slot.FACE) for s in LIMB_SLOT.tolist()])
    radius = torch.where(head[:, None], LIMB_RADII * body_values["head"][:, None, None], radius)
    radius = radius[:, None] * torch.stack([size[:, :, LIMB_FROM], size[:, :, LIMB_TO]], -1)
    away = (depth[:, :, LIMB_FROM] + depth[:, :, LIMB_TO]) / 2
    away = away + torch.tensor([0.02 if s == Slot.TROUSERS and p == Part.TORSO else 0.0 for s, p in zip(LIMB_SLOT, LIMB_PART, strict=True)])
    away = away + (layer[:, None, None] if torch.is_tensor(layer) else layer)
    frames = lambda v: v[:, None].expand(B, F, *v.shape[1:]).flatten(0, 1)  # noqa: E731
    stripes = torch.where(
        (second != colour).any(-1),
        clothing["stripe_count"][:, None] / (0.3 * size[:, F // 2, 0:1]).clamp(min=1),
        torch.zeros_like(colour[..., 0]),
    )
    codes = LIMB_PART.double() if part is None else torch.full_like(LIMB_PART.double(), float(part))
    return make(
        xy[:, :, LIMB_FROM].flatten(0, 1),
        xy[:, :, LIMB_TO].flatten(0, 1),
        radius.flatten(0, 1),
        away.flatten(0, 1),
        frames(colour),
        codes,
        second=frames(second),
        stripes=frames(stripes),
        round=1.0,
        opacity=1.0 if present is None else frames(present[:, None].expand(B, len(LIMB_PART))),
    )


def _texture(stream: Stream, cells: int) -> Tensor:
    """A lattice of value noise `[B, 3, cells, cells]`: mostly brightness, a little colour."""
    return 0.75 * stream.uniform(-1, 1, (1, cells, cells)) + 0.25 * stream.uniform(-1, 1, (3, cells, cells))


def assign_background(stream: Stream, level: str) -> dict[str, Tensor]:
    """Wall and floor colours, texture strength, contrast, horizon (share of the height), structures, parallax."""
    busy = {"easy": 0.5, "default": 1.0, "hard": 1.3}[level]
    return {
        "texture": stream.uniform(0, 0.5) * busy,
        "contrast": 0.4 * stream.uniform().square() * busy,
        "horizon": stream.uniform(0.45, 0.9),
        "structures": stream.pick(*([3, 2, 1, 1, 1, 0, 0] if level == "easy" else [1, 1, 1, 2, 2, 2, 1])).double(),
        "wall": _colour(stream),
        "floor": _colour(stream),
        "grating": torch.stack([stream.uniform(2, 16), stream.uniform(0, torch.pi)], -1),
        "gradient": stream.normal(0.15, (2,)),
        "coarse": _texture(stream, 6),
        "fine": _texture(stream, 20),
        "place": stream.uniform(-0.2, 1.2, (6, 2)),
        "extent": stream.uniform(0.02, 0.34, (6, 2)),
        "paint": _colour(stream, (6,)),
        "paint_second": _colour(stream, (6,)),
        "striped": stream.uniform(0, 1, (6,)),
        "parallax": stream.uniform(0.4, 1.0),
    }


_PAINTED = ("horizon", "coarse", "fine", "grating", "contrast", "gradient", "wall", "floor", "texture")


def background_off(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Plain mid-grey, no structure."""
    grey = torch.full_like(values["wall"], 0.5)
    zero = torch.zeros_like(values["texture"])
    return values | {
        "wall": grey,
        "floor": grey,
        "texture": zero,
        "contrast": zero,
        "structures": zero,
        "gradient": torch.zeros_like(values["gradient"]),
    }


def paint_background(values: dict[str, Tensor], shift: Tensor, height: int, width: int) -> Tensor:
    """The wall, floor and textures `[B, F, 3, H, W]` float32, moved by `shift` `[B, F, 2]` (crop heights)."""
    B, F = shift.shape[:2]
    moved = (shift * values["parallax"][:, None, None]).float()
    out = torch.empty(B, F, 3, height, width)
    down = (torch.arange(height) / height).float()[:, None]
    right = ((torch.arange(width) - width / 2) / height).float()
    for block in blocks(B, 3 * F * height * width):
        table = {name: values[name][block].float() for name in _PAINTED}
        number = lambda v: v[:, None, None, None]  # noqa: E731
        colour = lambda name: table[name][:, None, :, None, None]  # noqa: B023, E731
        y, x = down - moved[block, :, 1, None, None], right - moved[block, :, 0, None, None]  # [b, F, H, 1], [b, F, 1, W]
        # an antialiased horizon; the floor darkens towards it
        floor = ((y - number(table["horizon"])) * height + 0.5).clamp(0, 1)
        grid = torch.stack(torch.broadcast_tensors(x * 1.2, y * 2 - 1), -1).flatten(0, 1)
        noise = None
        for name, share in (("coarse", 0.6), ("fine", 0.4)):
            lattice = table[name][:, None].expand(-1, F, *table[name].shape[1:]).flatten(0, 1)
            sampled = grid_sample(lattice, grid, mode="bilinear", padding_mode="reflection", align_corners=True).mul_(share)
            noise = sampled if noise is None else noise.add_(sampled)
        frequency, angle = table["grating"].unbind(-1)
        across = x * number(angle.cos()) + y * number(angle.sin())
        wave = across.mul_(number(frequency))
        wave = wave.sub_(wave.floor()).sub_(0.5).abs_().mul_(4).sub_(1)  # a triangle wave in [-1, 1]
        tilt = table["gradient"]
        tone = wave.mul_(number(table["contrast"])).mul_(0.5).add_(x * number(tilt[:, 0])).add_((y - 0.5) * number(tilt[:, 1]))
        # wall and floor are even, so their mixture is one column
        column = torch.lerp(colour("wall").expand(-1, F, 3, height, 1), colour("floor").expand(-1, F, 3, height, 1), floor[:, :, None])
        picture = column + tone.mul_(1 - 0.5 * floor)[:, :, None]
        picture += noise.unflatten(0, (-1, F)).mul_(table["texture"][:, None, None, None, None])
        out[block] = picture.clamp_(0.02, 0.98)
    return out


def structures(values: dict[str, Tensor], shift: Tensor, height: int, width: int) -> Bars:
    """Rectangular structure behind everything: doors, windows, posts, panels. Bars `[B·F, 6]`."""
    B, F = shift.shape[:2]
    size = values["place"].new_tensor([width, height])
    centre = values["place"] * size
    half = values["extent"] * height
    tall = half[..., 1] > half[..., 0]
    axis = torch.where(
        tall[..., None],
        torch.stack([torch.zeros_like(half[..., 0]), half[..., 1]], -1),
        torch.stack([half[..., 0], torch.zeros_like(half[..., 0])], -1),
    )
    thin = torch.where(tall, half[..., 0], half[..., 1])
    moved = centre[:, None] + shift[:, :, None] * height * values["parallax"][:, None, None, None]
    frames = lambda v: v[:, None].expand(B, F, *v.shape[1:]).flatten(0, 1)  # noqa: E731
    rank = torch.arange(6)
    return make(
        (moved - axis[:, None]).flatten(0, 1),
        (moved + axis[:, None]).flatten(0, 1),
        torch.full((B * F, 6), 1.0, dtype=torch.float64),
        FAR - rank,
        frames(values["paint"]),
        -1,
        width=frames(thin),
        second=frames(values["paint_second"]),
        stripes=frames(torch.where(values["striped"] > 0.6, values["striped"] * 16 / height, torch.zeros_like(thin))),
        opacity=frames((rank < values["structures"][:, None]).double()),
    )


def shadow(xy: Tensor, size: Tensor) -> Bars:
    """A soft contact shadow under each foot. xy, size as in `person`. Bars `[B·F, 2]`."""
    feet = [body.POINTS.index("left_toe"), body.POINTS.index("right_toe")]
    heels = [body.POINTS.index("left_ankle"), body.POINTS.index("right_ankle")]
    unit = size[:, :, feet]
    ground = torch.stack([xy[:, :, feet], xy[:, :, heels]]).amax(0)[..., 1] + 0.03 * unit
    middle = (xy[:, :, feet, 0] + xy[:, :, heels, 0]) / 2
    ends = [torch.stack([middle + sign * 0.07 * unit, ground], -1).flatten(0, 1) for sign in (-1, 1)]
    return make(
        *ends,
        (0.02 * unit).flatten(0, 1),
        SHADOW,
        torch.tensor([0.04, 0.04, 0.05]),
        -1,
        opacity=0.45,
        soft=(0.05 * unit).flatten(0, 1).clamp(min=1.0),
    )


def assign_distractors(stream: Stream, level: str) -> dict[str, Tensor]:
    """Limb-like bars, a chair, a bystander with body, motion and clothes of its own (0 none, 1 behind, 2 in front), and a pointing stick
    (0 none, 1 points at the wrist, 2 elsewhere)."""
    share = {"easy": 0.3, "default": 1.0, "hard": 1.5}[level]
    bystander = [1.0, 0.30 * share, 0.06 * share]
    values = {
        "bars": stream.pick(1.2, 1.0 * share, 0.9 * share, 0.6 * share, 0.3 * share).double(),
        "chair": stream.chance(0.2 * share),
        "bystander": stream.pick(*bystander).double(),
        "place": stream.uniform(-0.1, 1.1, (4, 2)),
        "angle": stream.uniform(0, torch.pi, (4,)),
        "length": stream.uniform(0.08, 0.30, (4,)),
        "thick": stream.uniform(0.012, 0.04, (4,)),
        "paint": _colour(stream, (4,)),
        "skinlike": stream.uniform(0, 1, (4,)),
        "drift": stream.normal(0.02, (4, 2)),
        "seat": stream.normal(0.25),
        "wood": _colour(stream),
        "aside": torch.sign(stream.uniform(-1, 1)) * stream.uniform(0.28, 0.75),
        "size": stream.uniform(0.75, 1.2),
        "up": stream.normal(0.06),
    }
    for name, assign in (
        ("body", body.assign),
        ("motion", motion.assign),
        ("clothing", assign_clothing),
        ("skin", assign_skin),
        ("camera", camera.assign),
    ):
        values |= {f"bystander.{name}.{key}": value for key, value in assign(stream, level).items()}
    # a stick that no level draws by itself: `do` and biased worlds put it there
    return values | {
        "prop": torch.zeros(len(stream), dtype=torch.float64),
        "prop_stray": stream.uniform(0.1, 0.9, (2,)),
        "prop_slant": stream.normal(0.5),
    }


def distractors_off(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Nothing there."""
    return values | {name: torch.zeros_like(values[name]) for name in ("bars", "chair", "bystander", "prop")}


def distractor_bars(
    values: dict[str, Tensor], time: Tensor, shift: Tensor, pelvis: Tensor, sitting: Tensor, unit: Tensor, height: int, width: int
) -> Bars:
    """Limb-like bars and a chair behind the person, bars `[B·F, 9]`.

    time `[B, F]` in frames, pelvis `[B, 2]` in pixels at the target, unit `[B]`: pixels per body height.
    """
    B, F = time.shape
    frames = lambda v: v[:, None].expand(B, F, *v.shape[1:]).flatten(0, 1)  # noqa: E731
    centre = values["place"] * values["place"].new_tensor([width, height])
    centre = centre[:, None] + (values["drift"][:, None] * time[..., None, None] + shift[:, :, None]) * height
    direction = torch.stack([values["angle"].cos(), values["angle"].sin()], -1) * (values["length"] * height)[..., None]
    skin = _ladder(_SKINS, values["skinlike"] * 2)
    paint = torch.where((values["skinlike"] < 0.5)[..., None], skin, values["paint"])
    radius = values["thick"] * height
    rods = make(
        (centre - direction[:, None]).flatten(0, 1),
        (centre + direction[:, None]).flatten(0, 1),
        frames(torch.stack([radius, radius * 0.75], -1)),
        BEHIND - torch.arange(4),
        frames(paint),
        int(Part.DISTRACTOR),
        round=1.0,
        opacity=frames((torch.arange(4) < values["bars"][:, None]).double()),
    )
    # the chair stands under somebody who sits, and somewhere near anybody else
    offset = torch.where(sitting > 0.5, torch.zeros_like(values["seat"]), values["seat"] + torch.sign(values["seat"]) * 0.15)
    seat = pelvis + torch.stack([offset * unit, 0.07 * unit], -1)
    corner = seat.new_tensor([[-0.13, 0], [0.13, 0], [-0.12, 0.02], [0.12, 0.02], [-0.13, -0.32]])
    far = seat.new_tensor([[0.13, 0], [-0.13, -0.32], [-0.12, 0.26], [0.12, 0.26], [0.13, -0.32]])
    start, end = (seat[:, None] + c * unit[:, None, None] for c in (corner, far))
    start[:, 1] = seat + seat.new_tensor([-0.13, 0.0]) * unit[:, None]
    end[:, 1] = seat + seat.new_tensor([-0.13, -0.32]) * unit[:, None]
    chair = make(
        (start[:, None] + shift[:, :, None] * height).flatten(0, 1),
        (end[:, None] + shift[:, :, None] * height).flatten(0, 1),
        frames(unit[:, None] * unit.new_tensor([0.03, 0.018, 0.016, 0.016, 0.03])),
        BEHIND - 100 - torch.arange(5),
        frames(values["wood"][:, None].expand(B, 5, 3)),
        int(Part.DISTRACTOR),
        round=1.0,
        opacity=frames(values["chair"][:, None].expand(B, 5)),
    )
    return join([rods, chair])


def prop_bars(values: dict[str, Tensor], shift: Tensor, pelvis: Tensor, wrist: Tensor, height: int, width: int) -> Bars:
    """A striped stick behind the person that tapers to a tip just short of the wrist, or of a stray place: bars `[B·F, 1]`.

    pelvis, wrist `[B, 2]` in pixels at the target frame. The stick stands still, so the earlier frames show where the wrist will be. It
    comes from outside, away from the pelvis, lest the body hide it.
    """
    B, F = shift.shape[:2]
    goal = torch.where((values["prop"] > 1.5)[:, None], values["prop_stray"] * wrist.new_tensor([width, height]), wrist)
    away = goal - pelvis
    angle = torch.atan2(away[:, 1], away[:, 0]) + values["prop_slant"]
    direction = torch.stack([angle.cos(), angle.sin()], -1) * height
    frames = lambda v: v[:, None].expand(B, F, *v.shape[1:]).flatten(0, 1)  # noqa: E731
    tip, end = ((goal[:, None] + (share * direction)[:, None] + shift * height).flatten(0, 1)[:, None] for share in (0.025, 0.30))
    return make(
        tip,
        end,
        tip.new_tensor([0.006, 0.022]).expand(B * F, 1, 2) * height,
        BEHIND - 200,
        tip.new_tensor([0.95, 0.10, 0.12]),
        int(Part.DISTRACTOR),
        second=tip.new_tensor([0.97, 0.95, 0.90]),
        stripes=14 / height,
        opacity=frames((values["prop"] > 0.5).double()[:, None]),
    )


def bystander_bars(
    values: dict[str, Tensor], seconds: Tensor, unit: Tensor, middle: Tensor, ground: Tensor, shift: Tensor, height: int
) -> Bars:
    """The second person, bars `[B·F, limbs]`.

    unit `[B]`: pixels per body height; `middle` `[B]`: x of the first person and `ground` `[B]`: y of the ground, in pixels at the target.
    """
    of = lambda name: {key[len(f"bystander.{name}.") :]: v for key, v in values.items() if key.startswith(f"bystander.{name}.")}  # noqa: E731
    pose, travel = motion.poses(of("motion"), seconds)
    xy, depth, nearness = camera.look(of("camera"), body.points(of("body"), pose), travel)
    size = unit * values["size"]
    xy = xy - torch.stack([torch.zeros_like(size), torch.full_like(size, 0.5)], -1)[:, None, None]  # feet near the ground line
    place = torch.stack([middle + values["aside"] * unit, ground + values["up"] * unit], -1)
    xy = xy * size[:, None, None, None] + (place[:, None] + shift * height)[:, :, None]
    layer = torch.where(values["bystander"] > 1.5, BYSTANDER_FRONT, BYSTANDER_BEHIND).double()
    return person(
        xy,
        depth,
        nearness * size[:, None, None],
        of("body"),
        of("clothing"),
        of("skin"),
        layer=layer,
        part=int(Part.BYSTANDER),
        present=(values["bystander"] > 0.5).double(),
    )


def assign_occluders(stream: Stream, level: str) -> dict[str, Tensor]:
    """Up to three things in front of chosen joints: how many, how large (crop heights), how fast (crop heights a frame).

    `only_target` 1: they are there at the target frame alone, so that the other frames show what they hide. Never drawn, only set.
    """
    weights = {"easy": (0.8, 0.2, 0.0, 0.0), "default": (0.5, 0.3, 0.15, 0.05), "hard": (0.2, 0.35, 0.3, 0.15)}[level]
    return {
        "count": stream.pick(*weights).double(),
        "size": stream.uniform(0.10, 0.28),
        "speed": stream.chance(0.4) * stream.uniform(0, 0.05),
        "joint": stream.uniform(0, 1, (3,)),
        "jitter": stream.normal(0.03, (3, 2)),
        "aspect": stream.uniform(0.25, 1.0, (3,)),
        "angle": stream.uniform(0, torch.pi, (3,)),
        "heading": stream.uniform(0, 2 * torch.pi, (3,)),
        "paint": _colour(stream, (3,)),
        "paint_second": _colour(stream, (3,)),
        "striped": stream.uniform(0, 1, (3,)),
        "curved": stream.uniform(0, 1, (3,)),
        "only_target": torch.zeros(len(stream), dtype=torch.float64),
    }


def occluders_off(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Nothing in front."""
    return values | {"count": torch.zeros_like(values["count"])}


def occluder_bars(values: dict[str, Tensor], time: Tensor, joints: Tensor, height: int) -> Bars:
    """Occluders, each anchored to one of the keypoints `[B, K, 2]` (pixels at the target frame). Bars `[B·F, 3]`."""
    B, F = time.shape
    which = (values["joint"] * joints.shape[1]).long().clamp(max=joints.shape[1] - 1)
    anchor = joints.gather(1, which[..., None].expand(B, 3, 2)) + values["jitter"] * height
    heading = torch.stack([values["heading"].cos(), values["heading"].sin()], -1)
    centre = anchor[:, None] + heading[:, None] * (values["speed"][:, None, None, None] * time[..., None, None]) * height
    half = values["size"][:, None] * height / 2
    along = torch.stack([values["angle"].cos(), values["angle"].sin()], -1) * half[..., None]
    frames = lambda v: v[:, None].expand(B, F, *v.shape[1:]).flatten(0, 1)  # noqa: E731
    present = (values["only_target"][:, None] < 0.5) | (time.abs() < 0.5)  # [B, F]
    counted = torch.arange(3) < values["count"][:, None]
    return make(
        (centre - along[:, None]).flatten(0, 1),
        (centre + along[:, None]).flatten(0, 1),
        torch.full((B * F, 3), 1.5, dtype=torch.float64),
        NEAR - torch.arange(3),
        frames(values["paint"]),
        int(Part.OCCLUDER),
        width=frames(half * values["aspect"]),
        second=frames(values["paint_second"]),
        round=frames((values["curved"] > 0.5).double()),
        stripes=frames(torch.where(values["striped"] > 0.6, values["striped"] * 20 / height, torch.zeros_like(half))),
        opacity=(counted[:, None] & present[..., None]).double().flatten(0, 1),
    )
