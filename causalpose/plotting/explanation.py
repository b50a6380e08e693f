"""The picture of an explanation, and its files on disk."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from causalpose.explain.report import Explanation
from causalpose.plotting.skeleton import draw_errors, draw_skeleton, show_frame
from causalpose.plotting.style import picture_axis
from causalpose.plotting.tokens import compare_maps
from causalpose.skeletons import keypoint_set
from causalpose.training import files

TITLES = {
    "tcis": "TCIS importance\n(outlined: causal)",
    "heatmap_mass": "heatmap mass",
    "encoder_attention": "encoder attention",
    "attention_rollout": "attention rollout",
    "gradient_attention": "gradient × attention",
    "smooth_grad": "SmoothGrad",
    "shapley_sampling": "Shapley sampling",
    "layer_integrated_gradients": "layer integrated\ngradients",
    "edges": "edges (control)",
    "input_x_gradient": "input × gradient",
    "integrated_gradients": "integrated gradients",
    "gradient_shap": "GradientSHAP",
    "feature_ablation": "feature ablation",
    "grad_cam": "Grad-CAM",
    "grad_x_token": "gradient × token",
    "centre": "centre (control)",
    "random": "random (control)",
    "uniform": "uniform (control)",
    "effect": "measured effect\n(re-rendered)",
}


def explanation_figure(found: Explanation, *, height: float = 1.6) -> Figure:
    """The clip with its predicted pose on top, then a row a map: the measured effect, the model's own maps, the attributions."""
    clip = found.subject.clip
    names = keypoint_set(found.keypoints)
    marks = None if found.joint == "all" else names.index(found.joint)
    maps, notes, outlined = {}, {}, {}
    if found.effect is not None:
        maps[TITLES["effect"]] = found.effect.of(found.joint)[0]
    for item, scores in zip(found.maps, found.scores, strict=True):
        title = TITLES.get(item.method, item.method.replace("_", " "))
        maps[title] = item.values[0]
        shown = {
            "on body": scores.get("body_mass"),
            "near joint": scores.get("joint_mass"),
            "agreement (t)": scores.get("agreement_target"),
        }
        notes[title] = "\n".join(f"{name} {value:.2f}" for name, value in shown.items() if value is not None)
        if item.method == "tcis" and found.causal is not None:
            outlined[title] = found.causal
    joint = found.joint.replace("_", " ")
    title = f"clip {found.subject.number}, {'all joints' if found.joint == 'all' else joint}"
    figure = compare_maps(clip, maps, causal=outlined, marks=marks, notes=notes, title=title, height=height, above=1)
    first = figure.axes[: clip.length]
    for t, axis in enumerate(first):
        show_frame(picture_axis(axis), clip.frames[t])
        if t == clip.target:
            draw_skeleton(axis, found.prediction, names, size=1.7 * height, dashed=True)
            if marks is not None:
                draw_errors(axis, clip.keypoints[t, [marks]], found.prediction[[marks]], clip.visibility[t, [marks]])
    first[0].set_ylabel("the clip,\npose as predicted", fontsize=9, rotation=0, ha="right", va="center", labelpad=8)
    return figure


def save_explanation(found: Explanation, folder: Path, document: dict) -> list[Path]:
    """Write `clip-N-JOINT.png`, `.json` and `.safetensors` into a folder, each in one step; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"clip-{found.subject.number}-{found.joint}"
    figure = explanation_figure(found)
    temporary = stem.with_name(stem.name + ".tmp.png")
    try:
        figure.savefig(temporary, dpi=160)
        temporary.replace(stem.with_name(stem.name + ".png"))
    finally:
        plt.close(figure)
        temporary.unlink(missing_ok=True)
    paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".json", ".safetensors")]
    files.write_json(paths[1], document)
    files.write_tensors(paths[2], found.tensors(), {"clip": found.subject.number, "joint": found.joint})
    return paths
