"""`World`: scenes as a structural causal model that can be asked "what if?".

    world = World(height=64, width=48, frames=3)
    clips = world.render([0, 1, 2])
    other = world.do(background=None, motion="jump").render([0, 1, 2])      # the same clips, two causes changed

A world is immutable: `do` and `resample` return another world, whose other causes keep exactly the draws they had (ours).

    biased = World().biased("background<-motion:0.9")                       # a shortcut to learn; biased.do(background=…) cuts it
"""

from dataclasses import dataclass, replace
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor

from causalpose.clip import CONDITION_CODES, Clip, Visibility, concatenate
from causalpose.errors import CausalPoseError
from causalpose.scenes import bias, body, camera, lens, motion, surroundings
from causalpose.scenes.body import ATTACHED, KEYPOINTS, POINTS, Part
from causalpose.scenes.causes import GRAPH, LEVELS, Stream, cause
from causalpose.scenes.render import Bars, covering, join, rasterise
from causalpose.scenes.truth import SceneTruth, concatenate_truths, truth_of

_ASSIGN = {
    "body": body.assign,
    "motion": motion.assign,
    "camera": camera.assign,
    "clothing": surroundings.assign_clothing,
    "skin": surroundings.assign_skin,
    "background": surroundings.assign_background,
    "distractors": surroundings.assign_distractors,
    "occluders": surroundings.assign_occluders,
    "lens": lens.assign_lens,
    "sensor": lens.assign_sensor,
}
_OFF = {
    "background": surroundings.background_off,
    "distractors": surroundings.distractors_off,
    "occluders": surroundings.occluders_off,
    "lens": lens.lens_off,
    "sensor": lens.sensor_off,
}

# Five severities of each condition; chosen by looking, then fixed (the scenes chapter reports the baseline's score at each).
SEVERITIES: dict[str, dict[str, tuple[float, ...]]] = {
    "occluded": {"count": (1, 1, 2, 2, 3), "size": (0.14, 0.20, 0.20, 0.25, 0.28)},
    "defocus": {"defocus": (0.010, 0.016, 0.023, 0.031, 0.040)},
    "motion_blur": {"shutter": (0.6, 1.2, 1.8, 2.4, 3.0)},
    "low_light": {"gain": (0.45, 0.30, 0.21, 0.15, 0.10)},
}
# The same things in front, but for a moment: the frames before and after show what they hide.
SEVERITIES["occluded_target"] = SEVERITIES["occluded"] | {"only_target": (1.0,) * 5}

# Names that may stand for a table of values in `do(cause="name")`.
NAMED: dict[str, dict[str, dict[str, float]]] = {
    "motion": {action: {"action": float(i)} for i, action in enumerate(motion.ACTIONS)},
    "camera": {
        "front": {"yaw": 0.0},
        "left": {"yaw": -90.0},
        "right": {"yaw": 90.0},
        "back": {"yaw": 180.0},
        "still": {"pan": 0.0, "shake": 0.0},
    },
    "background": {
        "plain": {"texture": 0.0, "contrast": 0.0, "structures": 0.0},
        "busy": {"texture": 0.6, "contrast": 0.5, "structures": 6.0},
    },
    "distractors": {"bystander": {"bystander": 1.0}, "bars": {"bars": 4.0}, "chair": {"chair": 1.0}, "pointer": {"prop": bias.PROP}},
    "occluders": {"one": {"count": 1.0}, "many": {"count": 3.0, "size": 0.28}},
    "lens": {
        "defocus": {"defocus": 0.031, "shutter": 0.0, "gain": 1.0},
        "motion_blur": {"defocus": 0.0, "shutter": 2.4, "gain": 1.0},
        "low_light": {"defocus": 0.0, "shutter": 0.0, "gain": 0.13},
    },
    "sensor": {"noisy": {"noise": 0.12}, "jpeg": {"jpeg": 12.0}},
}


@dataclass(frozen=True)
class World:
    """A distribution over clips, with interventions.

    height, width   of the crop in pixels; frames `T`, odd; level: easy, default, hard; seed: every draw derives from it
    interventions   (cause, action, payload) triples made by `do`, `resample` and `biased`. A later setting wins over an earlier one, and a
                    new draw (another clip's, another salt's) over every earlier setting of its cause
    """

    height: int = 64
    width: int = 48
    frames: int = 3
    level: str = "default"
    seed: int = 0
    interventions: tuple[tuple[str, str, object], ...] = ()

    def __post_init__(self):
        for name in ("height", "width"):
            if not isinstance(getattr(self, name), Integral) or getattr(self, name) < 16:
                raise CausalPoseError(f"scene {name} = {getattr(self, name)!r} must be a whole number of at least 16 pixels")
        if not isinstance(self.frames, Integral) or not (1 <= self.frames <= 15 and self.frames % 2):
            raise CausalPoseError(f"scene frames = {self.frames!r} must be odd, 1 to 15 (the target frame is the middle one)")
        if not isinstance(self.seed, Integral) or isinstance(self.seed, bool):
            raise CausalPoseError(f"scene seed = {self.seed!r} must be a whole number")
        if self.level not in LEVELS:
            raise CausalPoseError(f"unknown level {self.level!r}; levels: {', '.join(LEVELS)}")

    # -- interventions -------------------------------------------------------------------------------------------------

    def do(self, **settings) -> "World":
        """Set causes by hand and leave all others as they were.

        A value may be `None` (the cause switched off), a name from `NAMED[cause]`, a table `{parameter: number}` (see
        `GRAPH[cause].parameters`), or a whole number: that clip's draw of the cause, transplanted into every clip.
        """
        added = []
        for name, value in settings.items():
            node = cause(name)
            if value is None:
                if not node.optional:
                    raise CausalPoseError(f"do({name}=None): a scene always has a {name}; set it to a value instead")
                added.append((name, "off", None))
            elif isinstance(value, str):
                table = NAMED.get(name, {})
                if value not in table:
                    raise CausalPoseError(
                        f"do({name}={value!r}): unknown name; known: {', '.join(table) or 'none, give a table of numbers'}"
                    )
                added.append((name, "set", tuple(table[value].items())))
            elif isinstance(value, dict):
                added.append((name, "set", tuple((k, self._checked(node, k, v)) for k, v in value.items())))
            elif isinstance(value, Integral) and not isinstance(value, bool):
                if not 0 <= value < 2**63:
                    raise CausalPoseError(f"do({name}={value}): a clip's number is a whole number of at least 0")
                added.append((name, "clip", int(value)))
            else:
                raise CausalPoseError(f"do({name}={value!r}): give None, a name, a table of numbers or a clip's number")
        return replace(self, interventions=self.interventions + tuple(added))

    @staticmethod
    def _checked(node, parameter: str, value) -> float:
        bounds = {name: (low, high) for name, low, high in node.parameters}
        if parameter not in bounds:
            raise CausalPoseError(f"do({node.name}={{{parameter!r}: …}}): no such parameter; known: {', '.join(bounds)}")
        low, high = bounds[parameter]
        if not isinstance(value, Real) or isinstance(value, bool) or not low <= value <= high:
            raise CausalPoseError(f"do({node.name}={{{parameter!r}: {value!r}}}): must be a number from {low} to {high}")
        return float(value)

    def resample(self, *names: str, salt: int = 1) -> "World":
        """Draw the named causes anew (another `salt`, another draw); all others keep their draws."""
        if not isinstance(salt, Integral) or salt < 1:
            raise CausalPoseError(f"resample: salt = {salt!r} must be a whole number of at least 1")
        return replace(self, interventions=self.interventions + tuple((cause(name).name, "salt", int(salt)) for name in names))

    def biased(self, *edges: str) -> "World":
        """Let causes depend on others: each edge is `child<-parent:probability`, e.g. `"background<-motion:0.9"` (see `bias`).

        No cause but the children changes. A later `do` or `resample` of a child, whatever it sets, cuts its edge; the value that it then
        starts from is the child's own draw, which the edge had covered.
        """
        added = tuple((edge.child, "bias", (edge.parent, edge.probability)) for edge in bias.parse(",".join(edges)))
        return replace(self, interventions=self.interventions + added)

    @property
    def edges(self) -> tuple[bias.Edge, ...]:
        """The edges that hold: those that nothing has cut."""
        return tuple(bias.Edge(name, *payload) for name in GRAPH for action, payload in self._settings(name) if action == "bias")

    def under(self, condition: str, severity: int = 3) -> "World":
        """The world of a condition of `CONDITION_CODES`: clean (nothing in front, a sharp lens in daylight), or clean with one thing wrong.

        `severity` 1 to 5 says how wrong.
        """
        if condition not in CONDITION_CODES:
            raise CausalPoseError(f"unknown condition {condition!r}; conditions: {', '.join(CONDITION_CODES)}")
        if severity not in (1, 2, 3, 4, 5):
            raise CausalPoseError(f"severity = {severity!r} must be 1, 2, 3, 4 or 5")
        clean = self.do(occluders=None, lens=None)
        if condition == "clean":
            return clean
        target = "occluders" if condition.startswith("occluded") else "lens"
        return clean.do(**{target: {key: values[severity - 1] for key, values in SEVERITIES[condition].items()}})

    # -- structural assignments ----------------------------------------------------------------------------------------

    def _key(self, name: str, clips: np.ndarray) -> tuple[np.ndarray, int]:
        """The clips and salt from which a cause's stream is drawn, after interventions."""
        salt = 0
        for target, action, payload in self.interventions:
            if target == name and action == "clip":
                clips = np.full_like(clips, payload)
            elif target == name and action == "salt":
                salt = payload
        return clips, salt

    def _settings(self, name: str) -> list[tuple[str, object]]:
        """The settings of a cause that still hold: those after its last new draw, without the edges that a later one cuts."""
        mine = [(action, payload) for target, action, payload in self.interventions if target == name]
        last = max((i for i, (action, _) in enumerate(mine) if action in ("clip", "salt")), default=-1)
        return [step for i, step in enumerate(mine) if i > last and (step[0] != "bias" or i == len(mine) - 1)]

    def values(self, clips) -> dict[str, dict[str, Tensor]]:
        """The value of every cause for the given clips, after interventions: tables of float64 tensors `[B, …]`."""
        clips = _clip_numbers(clips)
        out = dict.fromkeys(GRAPH)
        for name in sorted(GRAPH, key=lambda name: name != "motion"):  # motion first: an edge may lead from it to any other
            source, salt = self._key(name, clips)
            value = _ASSIGN[name](Stream(self.seed, source, name, salt), self.level)
            for action, payload in self._settings(name):
                if action == "off":
                    value = _OFF[name](value)
                elif action == "set":
                    value = value | {key: torch.full_like(value[key], number) for key, number in payload}
                elif action == "bias":
                    value = bias.apply(bias.Edge(name, *payload), value, out["motion"], self.seed, clips, self.level, _ASSIGN[name])
            out[name] = value
        return out

    # -- rendering -----------------------------------------------------------------------------------------------------

    def render(self, clips, chunk: int = 64, device="cpu", person: bool = True) -> Clip:
        """Render clips by number: a batch `Clip` with frames, keypoints, states and part labels.

        Without the `person` the stage is empty: body and shadow are not painted, everything else and the keypoints stay.
        """
        clips = _clip_numbers(clips)
        if chunk < 1:
            raise CausalPoseError(f"render: chunk = {chunk} must be at least 1")
        return concatenate([self._render(clips[i : i + chunk], device, person) for i in range(0, len(clips), chunk)])

    def truth(self, clips, chunk: int = 64, device="cpu") -> SceneTruth:
        """What `render` of the same clips shows: keypoints and their states, boxes, part labels and depth order of every frame.

        A frame's truth is that of its own time, the middle of the exposure; motion blur widens no box.
        """
        clips = _clip_numbers(clips)
        if chunk < 1:
            raise CausalPoseError(f"truth: chunk = {chunk} must be at least 1")
        return concatenate_truths([self._truth(clips[i : i + chunk], device) for i in range(0, len(clips), chunk)])

    def _truth(self, clips: np.ndarray, device) -> SceneTruth:
        T, H, W = self.frames, self.height, self.width
        frame = (torch.arange(T, dtype=torch.float64) - T // 2).expand(len(clips), T)
        scene = self._compose(self.values(clips), frame)
        points, away = (v[:, :, : len(KEYPOINTS)] for v in (scene.xy, scene.depth))
        states = _states(points.flatten(0, 1), away.flatten(0, 1), scene.bars, H, W).unflatten(0, (-1, T))
        return truth_of(scene.bars, T, H, W, points.float(), states, device)

    def pair(self, clips, **settings) -> tuple[Clip, Clip]:
        """The clips as they are and as they would be under `do(**settings)`."""
        return self.render(clips), self.do(**settings).render(clips)

    def local(self, clips, tokens: Tensor, **settings) -> Clip:
        """The clips with only the pixels under the given tokens re-rendered under `do(**settings)`.

        `tokens` is bool `[B, T, rows, columns]` (or broadcastable to it); a token covers H/rows x W/columns pixels. The keypoints stay the
        factual ones: only the picture is touched.
        """
        clips = _clip_numbers(clips)
        factual, other = self.pair(clips, **settings)
        rows, columns = tokens.shape[-2:]
        if self.height % rows or self.width % columns:
            raise CausalPoseError(f"a token grid of {rows} x {columns} does not divide the picture of {self.height} x {self.width} pixels")
        try:
            mask = tokens.bool().expand(len(clips), self.frames, rows, columns)
        except RuntimeError:
            raise CausalPoseError(
                f"tokens of shape {tuple(tokens.shape)} do not fit {len(clips)} clips of {self.frames} frames: [B, T, rows, columns]"
            ) from None
        mask = mask.repeat_interleave(self.height // rows, -2).repeat_interleave(self.width // columns, -1)[:, :, None]
        return replace(factual, frames=torch.where(mask, other.frames, factual.frames))

    def _render(self, clips: np.ndarray, device, person: bool = True) -> Clip:
        values = self.values(clips)
        B, T, H, W = len(clips), self.frames, self.height, self.width
        times = torch.arange(T, dtype=torch.float64) - T // 2
        pictures = torch.empty(B, T, 3, H, W, device=device)
        labels = torch.empty(B, T, H, W, dtype=torch.uint8, device=device)
        keypoints = torch.empty(B, T, len(KEYPOINTS), 2)
        states = torch.empty(B, T, len(KEYPOINTS), dtype=torch.uint8)
        scale = torch.empty(B)
        blurred = values["lens"]["shutter"] > 0.05
        for group, steps in ((~blurred).nonzero()[:, 0], 1), (blurred.nonzero()[:, 0], lens.SUBFRAMES):
            if not len(group):
                continue
            part = {name: {k: v[group] for k, v in table.items()} for name, table in values.items()}
            spread = (torch.arange(steps, dtype=torch.float64) - steps // 2) / steps
            frame = (times[None, :, None] + part["lens"]["shutter"][:, None, None] * spread).flatten(1)  # [b, T·S]
            picture, label, points, state, torso = self._draw(part, frame, steps, device, person)
            pictures[group], labels[group] = picture, label
            keypoints[group], states[group], scale[group] = points, state, torso
        pictures = lens.expose(pictures, values["lens"])
        source, salt = self._key("sensor", clips)
        frames = lens.sense(pictures, values["lens"], values["sensor"], Stream(self.seed, source, "grain", salt))
        return Clip(frames, keypoints, states, scale, torch.zeros(B, dtype=torch.uint8), torch.from_numpy(clips.copy()), labels)

    def _compose(self, values, frame: Tensor, person: bool = True) -> "_Composition":
        """The geometry of clips at the times `frame` `[b, F]`, in frames from the target."""
        b, H, W = len(frame), self.height, self.width
        nominal = torch.zeros(b, 1, dtype=torch.float64)
        seen = {}
        for key, when in (("all", frame), ("target", nominal)):
            seconds = when * motion.FRAME_SECONDS
            pose, travel = motion.poses(values["motion"], seconds)
            seen[key] = camera.look(values["camera"], body.points(values["body"], pose), travel)
        scale, centre = camera.crop(values["camera"], seen["target"][0][:, 0], H, W)
        shift = camera.drift(values["camera"], frame)
        middle = frame.new_tensor([(W - 1) / 2, (H - 1) / 2])

        def to_pixels(xy: Tensor) -> Tensor:
            return (xy - centre[:, None, None]) * scale[:, None, None, None] + middle

        xy = to_pixels(seen["all"][0]) + (shift * H)[:, :, None]
        target = to_pixels(seen["target"][0])[:, 0]
        depth, size = seen["all"][1], seen["all"][2] * scale[:, None, None]
        pelvis = target[:, POINTS.index("pelvis")]
        ground = target[..., 1].amax(1)
        sitting = (values["motion"]["action"] == motion.ACTIONS.index("sit")).double()
        bars = join(
            [
                surroundings.structures(values["background"], shift, H, W),
                *((surroundings.shadow(xy, size),) if person else ()),
                surroundings.distractor_bars(values["distractors"], frame, shift, pelvis, sitting, scale, H, W),
                surroundings.prop_bars(values["distractors"], shift, pelvis, target[:, KEYPOINTS.index(surroundings.POINTED_AT)], H, W),
                surroundings.bystander_bars(values["distractors"], frame * motion.FRAME_SECONDS, scale, target[:, 0, 0], ground, shift, H),
                *((surroundings.person(xy, depth, size, values["body"], values["clothing"], values["skin"]),) if person else ()),
                surroundings.occluder_bars(values["occluders"], frame, target[:, : len(KEYPOINTS)], H),
            ]
        )
        return _Composition(bars, xy, depth, shift, target)

    def _draw(self, values, frame: Tensor, steps: int, device, person: bool = True):
        """Geometry and pixels of clips that all have `steps` sub-frames; frame `[b, T·S]` in frames from the target."""
        b, H, W, T = len(frame), self.height, self.width, self.frames
        scene = self._compose(values, frame, person)
        paint = surroundings.paint_background(values["background"], scene.shift, H, W).flatten(0, 1).to(device)
        light = torch.stack([values["lens"]["light"].cos(), values["lens"]["light"].sin()], -1).repeat_interleave(frame.shape[1], 0)
        picture, label = rasterise(scene.bars.map(lambda v: v.to(device)), paint, light.to(device))
        picture = picture.view(b, T, steps, 3, H, W).mean(2) if steps > 1 else picture.view(b, T, 3, H, W)
        label = label.view(b, T, steps, H, W)[:, :, steps // 2]

        points = scene.xy[:, :, : len(KEYPOINTS)].view(b, T, steps, -1, 2)[:, :, steps // 2]
        away = scene.depth[:, :, : len(KEYPOINTS)].view(b, T, steps, -1)[:, :, steps // 2]
        sharp = scene.bars.map(lambda v: v.view(b, T, steps, *v.shape[1:])[:, :, steps // 2].flatten(0, 1))
        states = _states(points.flatten(0, 1), away.flatten(0, 1), sharp, H, W).view(b, T, -1)
        k = KEYPOINTS.index
        torso = [
            (scene.target[:, k(f"{s}_shoulder")] - scene.target[:, k(f"{o}_hip")]).square().sum(-1).sqrt()
            for s, o in (("left", "right"), ("right", "left"))
        ]
        # a torso seen end-on would make PCK's yardstick vanish: it is at least a tenth of the crop
        return picture, label, points.float(), states, torch.maximum(*torso).clamp(min=0.1 * H).float()


@dataclass(frozen=True)
class _Composition:
    """Where everything is at the times of `F` pictures.

    bars    of all things `[b·F, N]`
    xy      the person's points `[b, F, P, 2]` in pixels; depth: how far away they are, `[b, F, P]`, in body heights
    shift   of the picture `[b, F, 2]`, in crop heights
    target  the points `[b, P, 2]` at the target's time
    """

    bars: Bars
    xy: Tensor
    depth: Tensor
    shift: Tensor
    target: Tensor


# How much nearer (in body heights) the body must be than a joint to hide it: about half a torso's depth.
_HIDES = 0.055


def _states(points: Tensor, depth: Tensor, bars, height: int, width: int) -> Tensor:
    """`Visibility` of keypoints `[F, K]` from what lies on top of each of them."""
    part, nearest = covering(bars, points)
    attached = ATTACHED.gather(1, part.T).T
    thing = part > Part.RIGHT_SHANK
    behind = depth - nearest > _HIDES
    # a part that the joint does not belong to hides it; so does its own torso or head when the joint is on the far side
    own_limb = attached & (part != Part.TORSO) & (part != Part.HEAD)
    hidden = ~thing & (part > 0) & behind & ~own_limb
    state = torch.full(part.shape, int(Visibility.VISIBLE), dtype=torch.uint8)
    state[hidden] = int(Visibility.SELF_OCCLUDED)
    state[thing & (nearest < depth)] = int(Visibility.OCCLUDED)
    x, y = points.unbind(-1)
    state[(x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)] = int(Visibility.OUTSIDE)
    return state


def _clip_numbers(clips) -> np.ndarray:
    try:
        numbers = np.atleast_1d(
            np.asarray(clips.cpu() if torch.is_tensor(clips) else clips if isinstance(clips, Integral) else list(clips))
        )
    except TypeError:
        numbers = np.empty(0)
    if numbers.ndim != 1 or not len(numbers) or numbers.dtype.kind not in "iu" or numbers.min() < 0:
        raise CausalPoseError("clips must be whole numbers of at least 0, one or more")
    return numbers.astype(np.int64)
