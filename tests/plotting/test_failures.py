"""Pictures of the attribution study, on made-up tables: each value where it belongs, and clear errors where there is nothing."""

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from causalpose.errors import CausalPoseError
from causalpose.plotting import attribution, failures
from causalpose.scenes.world import World

WORLD = World(height=64, width=48, frames=3, seed=2)
WORST = pd.DataFrame({"arm": ["stage2"] * 3, "seed": [0] * 3, "clip": [3, 1, 2], "joint": ["nose"] * 3, "value": [-0.1, 0.0, 0.1]})
MAPS = {f"{kind}-{i}": torch.rand(3, 8, 6) for kind in failures.KINDS for i in range(3)}


def summary(rows):
    """Rows (part, arm, method, score, mean) as a summary whose intervals are 0.1 to each side."""
    frame = pd.DataFrame(rows, columns=["part", "arm", "method", "score", "mean"])
    return frame.assign(low=frame["mean"] - 0.1, high=frame["mean"] + 0.1, seeds=3, clips=6)


def marks(axis) -> set[float]:
    """The values of an axis that bear a mark."""
    return {round(float(x), 6) for line in axis.lines if line.get_marker() not in ("None", None, "") for x in line.get_xdata()}


def close(figure: Figure) -> Figure:
    import matplotlib.pyplot as plt

    plt.close(figure)
    return figure


def test_gallery_has_three_pictures_a_clip():
    figure = close(failures.gallery(WORST, MAPS, WORLD))
    pictures = [axis for axis in figure.axes if axis.images]
    assert len(pictures) == 9 and figure.axes[0].get_ylabel() == "clip 3\nnose\n-0.10"
    with pytest.raises(CausalPoseError, match="no disagreements"):
        failures.gallery(WORST.head(0), MAPS, WORLD)
    with pytest.raises(CausalPoseError, match="no map tcis-3"):
        failures.pair_of(MAPS, 3)


def test_clips_in_full_have_a_row_a_map():
    show = failures.clip_shows(WORST, MAPS, WORLD, ["One.", "Two.", "Three."])
    assert show.labels == ("clip 3", "clip 1", "clip 2") and "One." in show.captions[0]
    assert show.pictures[0].shape == (3 * 192 + 2 * 6, 3 * 144 + 2 * 6, 3)
    with pytest.raises(CausalPoseError, match="as many notes"):
        failures.clip_shows(WORST, MAPS, WORLD, ["One."])


def test_effects_on_hidden_joints_stand_in_their_panel():
    table = summary(
        [("occluded", "stage1", relation, f"effect_{state}_{place}", value)
         for relation, value in (("own-limb", 0.4), ("elsewhere", 0.2)) for state in ("hidden", "visible")
         for place in ("target", "other-frames") if (state, place) != ("hidden", "other-frames") or relation == "own-limb"]
    )  # fmt: skip
    figure = close(failures.occlusion_plot(table))
    found = {axis.get_title(): marks(axis) for axis in figure.axes}
    assert found["visible joint,\ntarget frame"] == {0.4, 0.2} and found["hidden joint,\nother frames"] == {0.4}
    figure = close(failures.occlusion_plot(table.assign(clips=[8, 5, 5, 5, 8, 5, 5]), least=6))
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert sum(len(line.get_xdata()) for line in hollow) >= 1
    with pytest.raises(CausalPoseError, match="no hidden joints"):
        failures.occlusion_plot(table.head(0))


def test_free_maps_have_no_place_on_the_axis_of_costs():
    table = summary([("maps", "stage1", name, "seconds", value) for name, value in (("tcis", 0.5), ("saliency", 2.0), ("random", 0.0))])
    figure = close(attribution.method_plot(table, ["stage1"], attribution.COSTS))
    assert marks(figure.axes[0]) == {0.5, 2.0} and figure.axes[0].get_xscale() == "log"
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["saliency", "TCIS"], "the cheapest on top"


def test_own_selection_stands_once():
    table = summary(
        [("selection", "stage2", name, "pck@0.3", 60.0 + i) for i, name in enumerate(("own", "attention", "random"))]
        + [("selection", "stage2", "attention", "shift_another-clip@0.3", 3.0), ("selection", "stage2", "all", "pck", 63.0)]
        + [("selection", "stage2", "random", "shift_background@0.3", 2.0)]
    )
    figure = close(attribution.selection_plot(table))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["own", "random", "all tokens"]
    assert len([line for line in figure.axes[0].lines if line.get_marker() not in ("None", "")]) == 2
