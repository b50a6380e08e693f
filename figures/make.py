"""Makes the pictures of this folder: `python figures/make.py` for all, or with the names of some.

One function a figure. SVG keeps text as text and carries no date, so the same code gives the same bytes; a PNG twin serves pages that show
no SVG. Pictures full of pixels are PNG only.
"""

import argparse
import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from causalpose import weights
from causalpose.clip import Clip
from causalpose.data.files import replacing
from causalpose.errors import CausalPoseError
from causalpose.evaluation import tables
from causalpose.experiments import comparisons, records, telling
from causalpose.experiments.arms import STUDIES
from causalpose.experiments.attribution import record as attribution_record
from causalpose.experiments.attribution import tables as attribution_tables
from causalpose.experiments.attribution import telling as attribution_telling
from causalpose.experiments.attribution.subject import TEST_SEED
from causalpose.plotting import attribution, failures, results, scenes
from causalpose.plotting.dials import dial_plot
from causalpose.plotting.skeleton import draw_skeleton, show_frame
from causalpose.plotting.style import STYLE, frame_titles, panels
from causalpose.scenes.causes import GRAPH
from causalpose.scenes.world import World

HERE = Path(__file__).parent
SHOWN = World(height=192, width=144, frames=3, seed=4)  # the world of the pictures below
CLIP = 4  # a dancer behind a green panel, with a passer-by: every cause shows


def save(figure: Figure, folder: Path, stem: str, *, svg: bool = True, dpi: int = 110, alt: str | None = None) -> None:
    """Write `stem.svg`, if wanted, and `stem.png`; both carry `alt`, which says what is to be seen (by default the docstring)."""
    alt = alt or FIGURES[stem].__doc__
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE | {"svg.fonttype": "none"}):
        if svg:
            with replacing(folder / f"{stem}.svg") as temporary:
                figure.savefig(temporary, metadata={"Date": None, "Description": alt})
        pixels = io.BytesIO()
        figure.savefig(pixels, format="png", dpi=dpi)
    plt.close(figure)
    save_pixels(np.asarray(Image.open(pixels).convert("RGB")), folder, stem, alt)


def save_pixels(picture: np.ndarray, folder: Path, stem: str, alt: str = "") -> None:
    """Write RGB uint8 `[H, W, 3]` as `stem.png`, at six bits a channel: at most three grey levels off, a third smaller."""
    text = PngInfo()
    text.add_text("Description", alt)
    coarse = (picture & 0b11111100) | (picture >> 6)
    with replacing(folder / f"{stem}.png") as temporary:
        Image.fromarray(coarse).save(temporary, optimize=True, pnginfo=text)


def causal_graph(folder: Path) -> None:
    """Ten causes lead to the frames: keypoints follow from body, motion and camera alone."""
    save(scenes.graph_figure(), folder, "causal_graph")


def scene_sheet(folder: Path) -> None:
    """Sixty clips as they come: the first of the world with seed 0."""
    clips = World(height=64, width=48, frames=1).render(range(60))
    save_pixels(scenes.sheet(clips, 12, enlarge=2), folder, "scene_sheet", scene_sheet.__doc__)


def do_pairs(folder: Path) -> None:
    """One clip with each of its ten causes changed, one at a time: only what the cause draws differs, and all the rest is the same clip."""
    changes: dict[str, object] = {
        "body": {"girth": 1.5, "height": 1.2}, "motion": "jump", "camera": "left", "clothing": 7, "skin": 3, "background": 12,
        "distractors": None, "occluders": None, "lens": "defocus", "sensor": "noisy",
    }  # fmt: skip
    settings = [{name: changes[name]} for name in GRAPH]  # a cause without a pair is an error
    save(scenes.do_pairs(SHOWN, CLIP, settings, height=1.6), folder, "do_pairs", svg=False)


def severities(folder: Path) -> None:
    """One clip, clean and under four conditions: from severity 1 to 5 more joints are covered, blurred, smeared or lost in the dark."""
    save(scenes.severities(SHOWN, CLIP), folder, "severities", svg=False, dpi=125)


def difficulty(folder: Path) -> None:
    """Levels of difficulty: the share of hidden joints and the shipped models' scores, read from the record of the weights."""
    recorded = tables.read(RESULTS / "weights" / records.RESULTS)
    mixed = recorded[recorded["condition"] == "mixed"].set_index("dataset")
    hidden = mixed[mixed["metric"] == "occluded joints"]["value"]
    best = mixed[(mixed["variant"] == "tiny-stage2") & (mixed["joint"] == "mean") & (mixed["metric"] == "PCK@0.2")]["value"]
    low, high = (f"scenes-level-{level}/test" for level in ("easy", "hard"))
    alt = (
        f"From level easy to hard the share of hidden joints grows from {hidden[low]:.0f} to {hidden[high]:.0f} per cent, and the share of "
        f"joints that the shipped stage 2 finds (PCK@0.2) falls from {best[low]:.0f} to {best[high]:.0f} per cent."
    )
    save(scenes.difficulty(recorded), folder, "difficulty", alt=alt)


def _biased() -> World:
    return replace(SHOWN, frames=1, seed=1).do(lens=None, occluders=None).biased("background<-motion:0.9", "distractors<-pose:0.9")


def biased_graph(folder: Path) -> None:
    """A biased world: in 90 % of the clips the background depends on the motion, and the distractors on the pose."""
    save(scenes.graph_figure(edges=_biased().edges), folder, "biased_graph")


def biased_clips(folder: Path) -> None:
    """Like actions share a background and a stick points at the right wrist; with both edges cut neither tells anything."""
    save(scenes.biased_clips(_biased(), range(10, 18), {"background": 12, "distractors": None}), folder, "biased_clips", svg=False)


def overview(folder: Path) -> None:
    """The banner of the README: a clip with its keypoints, three interventions on it, and what the shipped model predicts."""
    changes = [{"background": 12}, {"lens": "defocus"}, {"occluders": None}]
    clip = SHOWN.render([CLIP])[0]
    predicted = _predicted()
    count = clip.length + len(changes) + (predicted is not None)
    height = 2.1
    figure, axes = panels(1, count, height=height, width=height * SHOWN.width / SHOWN.height, margin=0.0)
    axes = axes[0]
    for frame in range(clip.length):
        show_frame(axes[frame], clip.frames[frame])
        draw_skeleton(axes[frame], clip.keypoints[frame], "posetrack15", clip.visibility[frame], size=3.4)
    frame_titles(axes, clip.target)
    for axis, change in zip(axes[clip.length :], changes, strict=False):
        show_frame(axis, SHOWN.do(**change).render([CLIP]).frames[0, clip.target])
        axis.set_title(f"do({scenes.setting_text(change)})", fontsize=9)
    if predicted is not None:
        show_frame(axes[-1], clip.frames[clip.target])
        draw_skeleton(axes[-1], predicted, "posetrack15", size=3.4)
        axes[-1].set_title("predicted, stage 2", fontsize=9)
    save(figure, folder, "overview", svg=False, dpi=125)


def social_card(folder: Path) -> None:
    """The card of a shared link: the project's name and purpose above a clip, the same clip with causes changed, and a prediction."""
    changes: list[dict[str, object]] = [{"background": 12}, {"lens": "defocus"}, {"occluders": None}]
    clip = SHOWN.render([CLIP])[0]
    predicted = _predicted()
    figure = plt.figure(figsize=(12, 6.3))
    figure.text(0.05, 0.84, "CausalPose", fontsize=44, weight="bold", va="center")
    figure.text(0.05, 0.72, "Causal-inspired video pose estimation: a book that runs, and its ablations", fontsize=19, va="center")
    shown = [("a clip", clip.frames[clip.target], clip.keypoints[clip.target])]
    shown += [(f"do({scenes.setting_text(change)})", SHOWN.do(**change).render([CLIP]).frames[0, clip.target], None) for change in changes]
    if predicted is not None:
        shown.append(("predicted", clip.frames[clip.target], predicted))
    width, gap = 0.9 / len(shown), 0.012
    for place, (title, frame, joints) in enumerate(shown):
        axis = figure.add_axes((0.05 + place * width + gap / 2, 0.05, width - gap, 0.54))
        show_frame(axis, frame)
        axis.set_anchor("N")
        axis.set_title(title, fontsize=14)
        if joints is not None:
            draw_skeleton(axis, joints, "posetrack15", size=4.5)
    with plt.rc_context(STYLE | {"savefig.bbox": None}):  # the services' size: 1200 x 630 pixels, nothing cut off
        pixels = io.BytesIO()
        figure.savefig(pixels, format="png", dpi=100)
    plt.close(figure)
    save_pixels(np.asarray(Image.open(pixels).convert("RGB")), folder, "social_card", social_card.__doc__)


def cost(folder: Path) -> None:
    """Costs on paper of every preset: operations and kept memory rise with the frames of a clip; keeping fewer tokens saves little."""
    from causalpose.benchmark.run import read
    from causalpose.plotting.cost import cost_figure

    table = read(RESULTS / "benchmark").cost
    if table is None:
        raise CausalPoseError("the benchmarks' record holds no costs on paper; run `causalpose bench --sections cost --record`")
    save(cost_figure(table), folder, "cost")


def _predicted() -> np.ndarray | None:
    """The shipped stage 2's keypoints `[K, 2]` of the same clip's target frame, in the picture's pixels, if the weights are there.

    The model sees the clip at its own size; a world draws the same clip at any.
    """
    if "tiny-stage2" not in weights.available():
        return None
    import torch

    from causalpose.model import heatmaps
    from causalpose.training import checkpoint

    model, config, _ = checkpoint.load("tiny-stage2")
    size = config.model
    clips: Clip = World(size.height, size.width, size.frames, SHOWN.level, SHOWN.seed).render([CLIP])
    with torch.no_grad():
        found, _ = heatmaps.decode(model(clips.frames).heatmaps, size, config.train.loss)
    return found[0].numpy() * np.array([(SHOWN.width - 1) / (size.width - 1), (SHOWN.height - 1) / (size.height - 1)])


RESULTS = HERE.parent / "ablations" / "results"


def study(name: str, folder: Path) -> None:
    """A recorded study: every arm's difference from its reference, by condition."""
    compared = records.read(RESULTS / name / "book").comparisons
    seeds, clips = int(compared["seeds"].max()), int(compared["clips"].max())
    title = f"{name.replace('_', ' ')}: differences with 95 % intervals, {seeds} seeds × up to {clips} clips"
    save(results.forest_plot(compared, title=title), folder, f"study_{name}", alt=comparisons.summary(compared))


def _ends(frame, name: str) -> str:
    """A series in words: its mean score at each recorded setting."""
    means = frame[frame["series"] == name].groupby("setting")["score"].mean()
    return f"{name}: " + ", ".join(f"{score:.1f} at {setting:g}" for setting, score in means.items())


def dial_tcis(folder: Path) -> None:
    """Score by the share of tokens kept."""
    frame = telling.dial(records.read(RESULTS / "tcis" / "book"), telling.kept_shares())
    alt = "PCK@0.2 by the share of tokens kept. " + "; ".join(_ends(frame, name) for name in dict.fromkeys(frame["series"])) + "."
    save(dial_plot(frame, "share ρ of the tokens kept as causal", height=3.2), folder, "dial_tcis", alt=alt, dpi=150)


def dial_clustering(folder: Path) -> None:
    """Score by the number of merged tokens."""
    frame = telling.dial(records.read(RESULTS / "clustering" / "book"), telling.merged_tokens())
    alt = "PCK@0.2 by the number of merged tokens. " + _ends(frame, "DPC-kNN") + "; zero drops them, the last keeps them all unmerged."
    save(dial_plot(frame, "tokens M that stand for the rest", height=3.2), folder, "dial_clustering", alt=alt, dpi=150)


def _trial():
    return attribution_record.read(RESULTS / "attribution" / "book")


def trial_methods(folder: Path) -> None:
    """Maps on trial: every method by every score."""
    record = _trial()
    arms = attribution_telling.measured(record)
    alt = "; ".join(attribution_tables.against_control(record.comparisons, arm, "agreement_target") for arm in arms)
    alt = f"Methods by scores with 95 % intervals. Agreement with measured effects at the target frame, against a map of the centre: {alt}."
    save(attribution.method_plot(record.summary, arms), folder, "trial_methods", alt=alt)


def trial_cost(folder: Path) -> None:
    """What a map costs."""
    record = _trial()
    summary, arms = record.summary, attribution_telling.measured(record)
    costs = summary[(summary["part"] == "maps") & (summary["arm"] == arms[0]) & (summary["score"] == "seconds")]
    costs = costs[~costs["method"].isin(("effect", *attribution_tables.CONTROLS))].sort_values("mean")
    first, last = costs.iloc[0], costs.iloc[-1]
    alt = (
        f"Seconds and forward passes of a map by method, on logarithmic axes. On {arms[0]} the cheapest is "
        f"{attribution.method_label(first['method'])} with {first['mean']:.2f} seconds, the dearest "
        f"{attribution.method_label(last['method'])} with {last['mean']:.2f}."
    )
    save(attribution.method_plot(summary, arms, attribution.COSTS), folder, "trial_cost", alt=alt, dpi=190)


def trial_selection(folder: Path, arm: str = "stage2") -> None:
    """Selection on trial, by the share kept."""
    record = _trial()
    alt = attribution_tables.selection_summary(record.rows, arm)
    save(attribution.selection_plot(record.summary, arm), folder, "trial_selection", alt=alt)


def trial_disagreements(folder: Path) -> None:
    """The clips in which TCIS and the measured effects disagree most."""
    record = _trial()
    worst = record.disagreements
    alt = (
        f"Target frames of {len(worst)} clips, each beside its TCIS map and the measured effects, whose bright tokens are in other places. "
        f"Rank correlations run from {worst['value'].min():.2f} to {worst['value'].max():.2f}."
    )
    figure = failures.gallery(worst, record.maps, World(seed=TEST_SEED))
    save(figure, folder, "trial_disagreements", svg=False, alt=alt, dpi=150)


FIGURES: dict[str, Callable[[Path], None]] = {
    f.__name__: f for f in (causal_graph, scene_sheet, do_pairs, severities, difficulty, biased_graph, biased_clips, overview, social_card)
} | {f"study_{name}": partial(study, name) for name in STUDIES if records.finished(RESULTS / name / "book")}
FIGURES |= {f.__name__: f for f in (dial_tcis, dial_clustering) if records.finished(RESULTS / f.__name__.removeprefix("dial_") / "book")}
if (RESULTS / "attribution" / "book" / "provenance.json").is_file():
    FIGURES |= {f.__name__: f for f in (trial_methods, trial_cost, trial_selection, trial_disagreements)}
if (RESULTS / "benchmark" / "cost.csv").is_file():
    FIGURES["cost"] = cost


def main(arguments: list[str] | None = None) -> None:
    """Make the named figures, or all."""
    parser = argparse.ArgumentParser(description="Make the pictures of figures/.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(FIGURES)} (all by default)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in FIGURES]
    if unknown:
        raise CausalPoseError(f"no figure is called {unknown[0]!r}; figures: {', '.join(FIGURES)}")
    for name in options.names or FIGURES:
        FIGURES[name](options.out)
        print(f"made {name}")


if __name__ == "__main__":
    try:
        main()
    except CausalPoseError as error:
        raise SystemExit(f"error: {error}") from None
