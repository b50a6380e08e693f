"""Pictures of which one is shown at a time: by a slider, as a film, or by choice (ours).

Each is one self-contained piece of HTML: small pictures inside, a few lines of script, no library. Every control is an ordinary form
element, so the keyboard works it. Without scripts all pictures stand side by side with their captions, and nothing is lost.
"""

import base64
import hashlib
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError
from causalpose.model.selection import kept_tokens
from causalpose.plotting.palette import ACCENT, unit
from causalpose.plotting.tokens import IMPORTANCE, as_map

KINDS = ("slider", "film", "choice")
_GAP = 6  # pixels between the frames of a clip

_STYLE = """
.cp-show{margin:1rem 0}.cp-show fieldset{border:0;padding:0;margin:0 0 .5rem}
.cp-show .cp-bar{display:flex;flex-wrap:wrap;gap:.4rem 1rem;align-items:center;margin:.4rem 0}
.cp-show .cp-all{display:flex;flex-wrap:wrap;gap:.75rem}.cp-show figure{margin:0;max-width:100%}
.cp-show img{max-width:100%;height:auto;image-rendering:pixelated;display:block}.cp-show figcaption{font-size:.9em;margin-top:.2rem}
.cp-show.cp-on .cp-all figure{display:none}.cp-show.cp-on .cp-all figure.cp-now{display:block}
.cp-show:not(.cp-on) .cp-bar{display:none}.cp-show input[type=range]{width:min(22rem,100%);accent-color:#b3541e}
.cp-show button{padding:.15rem .7rem;border:1px solid currentColor;border-radius:.3rem;background:transparent;color:inherit;cursor:pointer}
.cp-show :focus-visible{outline:2px solid #b3541e;outline-offset:2px}
"""
_SCRIPT = """
(function(){var box=document.getElementById('%(id)s');if(!box)return;box.classList.add('cp-on');
var all=box.querySelectorAll('figure'),range=box.querySelector('input[type=range]'),said=box.querySelector('output'),
play=box.querySelector('button'),radios=box.querySelectorAll('input[type=radio]'),timer=null;
function show(n){all.forEach(function(f,i){f.classList.toggle('cp-now',i===n)});
if(range){range.value=n;range.setAttribute('aria-valuetext',all[n].dataset.label)}if(said)said.textContent=all[n].dataset.label}
if(range)range.addEventListener('input',function(){show(+range.value)});
radios.forEach(function(r){r.addEventListener('change',function(){show(+r.value)})});
if(play)play.addEventListener('click',function(){if(timer){clearInterval(timer);timer=null;play.textContent='Play';return}
play.textContent='Pause';timer=setInterval(function(){show((+range.value+1)%%all.length)},%(pace)d)});
show(%(first)d)})();
"""


@dataclass(frozen=True)
class Show:
    """Pictures with labels and captions; a notebook and the book display it.

    pictures   uint8 arrays `[h, w, 3]`; labels: what the control says; captions: what each picture shows, also its alternative text
    kind       `slider`, `film` (a slider that also plays) or `choice` (a radio button each); first: the one shown at the start
    """

    pictures: tuple[np.ndarray, ...]
    labels: tuple[str, ...]
    captions: tuple[str, ...]
    title: str
    kind: str = "slider"
    first: int = 0
    pace: int = 350  # milliseconds a picture of a film

    def __post_init__(self):
        n = len(self.pictures)
        if self.kind not in KINDS:
            raise CausalPoseError(f"kind = {self.kind!r} is not one of: {', '.join(KINDS)}")
        if n == 0 or len(self.labels) != n or len(self.captions) != n:
            raise CausalPoseError(f"{n} pictures need as many labels and captions, not {len(self.labels)} and {len(self.captions)}")
        if not 0 <= self.first < n:
            raise CausalPoseError(f"first = {self.first} must be 0 to {n - 1}")
        if min(map(len, self.captions)) < 15:
            raise CausalPoseError("each caption is also the picture's alternative text: say in a sentence what it shows")

    def _repr_html_(self) -> str:
        coded = [_encode(picture) for picture in self.pictures]
        name = "cp-" + hashlib.sha256("".join([self.title, self.kind, *coded]).encode()).hexdigest()[:10]
        figures = "".join(
            f'<figure data-label="{html.escape(label)}"><img src="{code}" width="{picture.shape[1]}" height="{picture.shape[0]}" '
            f'alt="{html.escape(caption)}"><figcaption>{html.escape(caption)}</figcaption></figure>'
            for picture, code, label, caption in zip(self.pictures, coded, self.labels, self.captions, strict=True)
        )
        script = _SCRIPT % {"id": name, "pace": self.pace, "first": self.first}
        return (
            f'<style>{_STYLE}</style><div class="cp-show" id="{name}" role="group" aria-label="{html.escape(self.title)}">'
            f'{self._controls(name)}<div class="cp-all">{figures}</div></div><script>{script}</script>'
        )

    def _controls(self, name: str) -> str:
        title = html.escape(self.title)
        if self.kind == "choice":
            radios = "".join(
                f'<label><input type="radio" name="{name}" value="{i}"{" checked" if i == self.first else ""}> {html.escape(label)}</label>'
                for i, label in enumerate(self.labels)
            )
            return f'<fieldset class="cp-bar"><legend>{title}</legend>{radios}</fieldset>'
        button = '<button type="button">Play</button>' if self.kind == "film" else ""
        top = len(self.pictures) - 1
        return (
            f'<div class="cp-bar"><label>{title} <input type="range" min="0" max="{top}" value="{self.first}" step="1"></label>'
            f"<output>{html.escape(self.labels[self.first])}</output>{button}</div>"
        )


def _encode(picture: np.ndarray) -> str:
    """A picture as a `data:` address: PNG with a palette of its own, 256 colours, a third to a half of the bytes of one without.

    Edges stay sharp and nothing is dithered; a colour is off by about one per cent of its range, and exact where there are few of them.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise CausalPoseError(f"a picture must be uint8 [h, w, 3], not {picture.dtype} {list(picture.shape)}")
    file = io.BytesIO()
    coloured = Image.fromarray(picture)
    coloured.quantize(256, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def frames(clip: Clip) -> list[np.ndarray]:
    """The frames of one clip as uint8 `[H, W, 3]`."""
    if clip.frames.ndim != 4:
        raise CausalPoseError(f"one clip is wanted, but frames have shape {list(clip.frames.shape)}; pick one of the batch")
    pixels = clip.frames if clip.frames.dtype == torch.uint8 else (clip.frames * 255).round().to(torch.uint8)
    return list(pixels.permute(0, 2, 3, 1).cpu().numpy())


def enlarged(picture: np.ndarray, scale: int) -> np.ndarray:
    """Each pixel `scale` times as high and wide."""
    return picture.repeat(scale, 0).repeat(scale, 1)


def in_a_row(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one height beside each other, with a grey gap."""
    gap = np.full((pictures[0].shape[0], _GAP, 3), 128, np.uint8)
    return np.concatenate([part for picture in pictures for part in (gap, picture)][1:], 1)


def kept_only(frame: np.ndarray, kept: np.ndarray, scale: int) -> np.ndarray:
    """A frame whose dropped tokens are grey and dim; kept `[rows, columns]`. The kept ones bear a border."""
    cells = enlarged(kept, frame.shape[0] // kept.shape[0] * scale)
    picture = enlarged(frame, scale).astype(np.float32)
    grey = picture.mean(2, keepdims=True) * 0.25 + 40
    picture = np.where(cells[..., None], picture, grey)
    padded = np.pad(cells, 1)
    inner = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    picture[cells & ~inner] = np.array(unit(ACCENT)) * 255
    return picture.round().astype(np.uint8)


def under_map(frame: np.ndarray, values: np.ndarray, scale: int, high: float) -> np.ndarray:
    """A frame under a map `[rows, columns]` in colour; `high` is the brightest."""
    cells = enlarged(np.clip(values / max(high, 1e-12), 0, 1), frame.shape[0] // values.shape[0] * scale)
    colour = colormaps[IMPORTANCE](cells)[..., :3] * 255
    weight = 0.15 + 0.6 * cells[..., None]
    return (enlarged(frame, scale) * (1 - weight) + colour * weight).round().astype(np.uint8)


RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def keep_slider(clip: Clip, importance, rates: Sequence[float] = RATES, scale: int = 4, name: str = "") -> Show:
    """Which tokens stay, by keep rate ρ: importance `[T, rows, columns]`, ranked over all frames together.

    It opens at the rate next to 0.3, the default; `name` says which clip it is, where there are several.
    """
    values = as_map(importance, clip, "importance")
    order = np.argsort(-values.reshape(-1), kind="stable")
    pictures, captions = [], []
    for rate in rates:
        count = kept_tokens(rate, values.size)
        kept = np.zeros(values.size, bool)
        kept[order[:count]] = True
        by_frame = kept.reshape(values.shape)
        pictures.append(in_a_row([kept_only(frame, mask, scale) for frame, mask in zip(frames(clip), by_frame, strict=True)]))
        captions.append(
            f"At ρ = {rate:g}, {count} of {values.size} tokens stay: {', '.join(str(int(mask.sum())) for mask in by_frame)} by frame."
        )
    labels = tuple(f"ρ = {rate:g}" for rate in rates)
    title = f"Share ρ of the tokens that is kept{f', {name}' if name else ''}"
    return Show(tuple(pictures), labels, tuple(captions), title, first=min(range(len(rates)), key=lambda place: abs(rates[place] - 0.3)))


def player(clip: Clip, maps: Mapping[str, object], kept=None, scale: int = 4, *, each_is_target: bool = False) -> Show:
    """The clip as a film, frame by frame, with each map `[T, rows, columns]` over the same frame beside it.

    A map may be of tokens or of heatmaps' pixels. With `kept`, bool `[T, rows, columns]`, the frame's kept tokens come last, in colour and
    with a border. Frames are named by their distance from the target frame, or, where `each_is_target`, by their number.
    """
    arrays = {name: as_map(values, clip, name) for name, values in maps.items()}
    stays = None if kept is None else as_map(kept, clip, "kept").astype(bool)
    names = ["the frame", *arrays, *([] if stays is None else ["the kept tokens"])]
    pictures = []
    for t, frame in enumerate(frames(clip)):
        shown = [enlarged(frame, scale), *(under_map(frame, values[t], scale, float(values.max())) for values in arrays.values())]
        pictures.append(in_a_row(shown if stays is None else [*shown, kept_only(frame, stays[t], scale)]))
    middle = clip.length // 2
    labels = tuple("target frame" if t == middle else f"frame {t - middle:+d}" for t in range(clip.length))
    if each_is_target:
        labels = tuple(f"frame {t + 1} of {clip.length}" for t in range(clip.length))
    captions = tuple(f"{label.capitalize()}, from left to right: {', '.join(names)}." for label in labels)
    return Show(tuple(pictures), labels, captions, "Frame", kind="film", first=middle)


def counterfactuals(clips: Mapping[str, Clip], scale: int = 4) -> Show:
    """One clip under several interventions, by the name of each; the first is the clip as it was."""
    pictures = tuple(in_a_row([enlarged(frame, scale) for frame in frames(clip)]) for clip in clips.values())
    captions = tuple(f"All frames of the clip, {name}." for name in clips)
    return Show(pictures, tuple(clips), captions, "What is changed", kind="choice")


def effect_beside(clip: Clip, effect, maps: Mapping[str, object], scale: int = 4) -> Show:
    """The measured effect of each token on the left, one method's map on the right; the target frame `[rows, columns]` of both."""
    t = clip.length // 2
    frame, measured = frames(clip)[t], as_map(effect, clip, "effect")[t]
    left = under_map(frame, measured, scale, float(measured.max()))
    pictures, captions = [], []
    for name, values in maps.items():
        found = as_map(values, clip, name)[t]
        pictures.append(in_a_row([left, under_map(frame, found, scale, float(found.max()))]))
        captions.append(f"Left: the measured effect of re-rendering each token. Right: {name}.")
    return Show(tuple(pictures), tuple(maps), tuple(captions), "Method", kind="choice")
