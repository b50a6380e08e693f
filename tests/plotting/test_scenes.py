"""Pictures of scenes show the pixels, the names and every arrow."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from causalpose.errors import CausalPoseError
from causalpose.plotting import scenes
from causalpose.scenes.body import Part
from causalpose.scenes.causes import GRAPH, LAYERS
from causalpose.scenes.world import World


@pytest.fixture(scope="module")
def clips():
    return World(32, 24, 3).render(range(5))


def test_sheet_lays_the_target_frames_out_in_rows(clips):
    """Five tiles in three columns with 4 pixels between: 2 * 32 + 4 high, 3 * 24 + 8 wide; clip 3 starts the second row."""
    picture = scenes.sheet(clips, 3)
    assert picture.shape == (68, 80, 3) and picture.dtype == np.uint8
    assert np.array_equal(picture[36:68, :24], clips.frames[3, 1].permute(1, 2, 0).numpy())
    assert (picture[36:, 56:] == 255).all()  # the sixth place is empty
    other = scenes.sheet(clips, 3, frame=0, enlarge=2)
    assert np.array_equal(other[:64:2, :48:2], clips.frames[0, 0].permute(1, 2, 0).numpy())


def test_a_skeleton_is_drawn_on_the_joints(clips):
    plain, drawn = (scenes.frame_picture(clips[0], enlarge=4, skeleton=skeleton) for skeleton in (False, True))
    changed = (plain != drawn).any(-1)
    states = clips.visibility[0, 1]
    for (x, y), state in zip(clips.keypoints[0, 1].tolist(), states.tolist(), strict=True):
        if state != 4:
            assert changed[round((y + 0.5) * 4 - 0.5), round((x + 0.5) * 4 - 0.5)]
    assert changed.mean() < 0.5


def test_contact_sheet_has_no_more_columns_than_clips(clips):
    figure = scenes.contact_sheet(clips, columns=60)
    (image,) = figure.axes[0].images
    assert image.get_array().shape[1] > 4 * image.get_array().shape[0] * 24 / 32


def test_do_pairs_shows_factual_counterfactual_and_difference():
    world = World(32, 24, 1)
    settings = [{"background": None}, {"lens": {"gain": 0.2}}]
    figure = scenes.do_pairs(world, 3, settings)
    axes = np.array(figure.axes[:6]).reshape(3, 2)
    factual = world.render([3]).frames[0, 0].permute(1, 2, 0).numpy() / 255
    for column, setting in enumerate(settings):
        other = world.do(**setting).render([3]).frames[0, 0].permute(1, 2, 0).numpy() / 255
        shown = [np.asarray(axis.images[0].get_array(), float) for axis in axes[:, column]]
        assert np.allclose(shown[0], factual, atol=1e-6) and np.allclose(shown[1], other, atol=1e-6)
        assert np.allclose(shown[2], np.abs(other - factual).mean(-1) * 255, atol=1e-3)
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["factual", "counterfactual", "difference"]
    assert [axis.get_title() for axis in axes[0]] == ["do(background=None)", "do(lens.gain=0.2)"]
    assert axes[2, 0].images[0].get_clim() == axes[2, 1].images[0].get_clim()  # one scale
    assert figure.axes[6].get_ylabel() == "grey levels"


def test_severities_show_each_condition_at_each_severity():
    world = World(24, 18, 1)
    figure = scenes.severities(world, 5)
    axes = np.array(figure.axes).reshape(4, 6)
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["occluded", "defocus", "motion blur", "low light"]
    shown = np.asarray(axes[1, 4].images[0].get_array(), float)
    assert np.allclose(shown, world.under("defocus", 4).render([5]).frames[0, 0].permute(1, 2, 0).numpy() / 255, atol=1e-6)


def level_rows(levels=("easy", "default", "hard")):
    rows = []
    for n, level in enumerate(levels):
        labels = {"study": "weights", "seed": 0, "dataset": f"scenes-level-{level}/test", "condition": "mixed"}
        rows.append({**labels, "variant": "scenes", "joint": "all", "metric": "occluded joints", "value": 10.0 * (n + 1)})
        rows.append({**labels, "variant": "a", "joint": "mean", "metric": "PCK@0.2", "value": 90.0 - n})
        rows.append({**labels, "variant": "a", "joint": "nose", "metric": "PCK@0.2", "value": 1.0})
    return pd.DataFrame(rows)


def test_difficulty_draws_what_the_results_say():
    left, right = scenes.difficulty(level_rows()).axes
    assert [patch.get_height() for patch in left.patches] == [10.0, 20.0, 30.0]
    (line,) = right.lines
    assert line.get_ydata().tolist() == [90.0, 89.0, 88.0] and line.get_label() == "a"
    with pytest.raises(CausalPoseError, match="nothing about level 'hard'"):
        scenes.difficulty(level_rows(("easy", "default")))


def test_biased_clips_stand_above_the_same_clips_with_the_edges_cut():
    world = World(24, 18, 1).biased("background<-motion:1")
    figure = scenes.biased_clips(world, [3, 4], {"background": 9})
    axes = np.array(figure.axes).reshape(2, 2)
    for row, shown in enumerate((world, world.do(background=9))):
        expected = shown.render([3, 4]).frames[:, 0].permute(0, 2, 3, 1).numpy() / 255
        for column in range(2):
            assert np.allclose(np.asarray(axes[row, column].images[0].get_array(), float), expected[column], atol=1e-6)
    with pytest.raises(CausalPoseError, match="has no edge"):
        scenes.biased_clips(World(24, 18, 1), [3], {"background": 9})


def test_part_map_names_the_parts_that_appear(clips):
    figure = scenes.part_map(clips[0])
    legend = {text.get_text() for text in figure.axes[1].get_legend().get_texts()}
    assert legend == {Part(code).name.lower().replace("_", " ") for code in clips.parts[0, 1].unique().tolist()}
    assert len(set(scenes.PART_COLOURS.values())) == len(Part) == len(scenes.PART_COLOURS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda clips: scenes.frame_picture(clips), "batch"),
        (lambda clips: scenes.part_map(clips), "batch"),
        (lambda clips: scenes.do_pairs(World(32, 24, 1), 0, []), "name at least one intervention"),
        (lambda clips: scenes.mosaic([], 3), "must be at least 1"),
        (lambda clips: scenes.sheet(clips, 0), "must be at least 1"),
    ],
)
def test_bad_input_is_one_clear_line(clips, make, message):
    with pytest.raises(CausalPoseError, match=message):
        make(clips)


# -- the graph ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def graph():
    figure = scenes.graph_figure()
    return figure, figure.axes[0]


def test_every_node_has_its_box_and_every_edge_its_arrow(graph):
    _, axis = graph
    names = [text.get_text() for text in axis.texts]
    assert set(GRAPH) | set(LAYERS) <= set(names)
    assert sum(isinstance(patch, FancyBboxPatch) for patch in axis.patches) == len(GRAPH) + len(LAYERS)
    assert sum(isinstance(patch, FancyArrowPatch) for patch in axis.patches) == sum(map(len, LAYERS.values()))


def test_no_two_boxes_overlap_and_all_lead_to_the_right():
    place, level = scenes._positions(), scenes._levels()
    assert set(place) == set(GRAPH) | set(LAYERS)
    boxes = list(place.values())
    for i, (x, y) in enumerate(boxes):
        for a, b in boxes[i + 1 :]:
            assert abs(x - a) > scenes._WIDTH + 0.2 or abs(y - b) > scenes._HEIGHT + 0.1
    assert all(level[parent] < level[layer] for layer, parents in LAYERS.items() for parent in parents)


def test_texts_stay_inside_their_boxes(graph):
    """Rendered extents, not guesses: each text lies in the box around its node."""
    figure, axis = graph
    figure.canvas.draw()
    boxes = [patch.get_window_extent() for patch in axis.patches if isinstance(patch, FancyBboxPatch)]
    for text in axis.texts:
        extent = text.get_window_extent()
        assert any(b.x0 <= extent.x0 and extent.x1 <= b.x1 and b.y0 <= extent.y0 and extent.y1 <= b.y1 for b in boxes), text.get_text()


def test_no_arrow_crosses_a_box_that_it_does_not_join(graph):
    """Each straight edge leads from one column to the next, so it is in the gap between them; the long one runs below all boxes."""
    place, level = scenes._positions(), scenes._levels()
    lowest = min(y for _, y in place.values()) - scenes._HEIGHT / 2
    _, axis = graph
    for layer, parents in LAYERS.items():
        long = [parent for parent in parents if level[layer] - level[parent] > 1]
        under = [line for line in axis.lines if abs(line.get_xdata()[-1] - place[layer][0]) < 1e-9]
        assert len(under) == len(long) and all(min(line.get_ydata()) < lowest for line in under)


def test_a_biased_world_shows_its_edges_and_they_cross_no_box():
    """Each dashed line runs through the gaps: none of 200 points along it lies inside a box. The probability is written beside it."""
    edges = World().biased("background<-motion:0.9, distractors<-pose:0.8, lens<-motion:0.5, body<-motion:0.25").edges
    figure = scenes.graph_figure(edges=edges)
    axis = figure.axes[0]
    figure.canvas.draw()
    assert {"90%", "80%", "50%", "25%"} <= {text.get_text() for text in axis.texts}
    dashed = [line for line in axis.lines if line.get_color() == scenes.SHORTCUT]
    arrows = [text for text in axis.texts if text.get_text() == "" and getattr(text, "arrow_patch", None) is not None]
    assert len(dashed) == len(arrows) == len(edges)
    place = scenes._positions()
    low, high = axis.get_ylim()
    for line in dashed:
        corners = line.get_xydata()
        for a, b in zip(corners, corners[1:], strict=False):
            for share in np.linspace(0.02, 1, 50):
                x, y = a + share * (b - a)
                assert low < y < high
                assert not any(abs(x - cx) < scenes._WIDTH / 2 and abs(y - cy) < scenes._HEIGHT / 2 for cx, cy in place.values())
    for edge, arrow in zip(edges, arrows, strict=True):  # the head touches the child's box
        (x, y), (cx, cy) = arrow.xy, place[edge.child]
        assert abs(abs(x - cx) - scenes._WIDTH / 2) < 1e-9 and abs(y - cy) < scenes._HEIGHT / 2


def test_the_caller_keeps_its_axis():
    figure, (left, right) = plt.subplots(1, 2)
    scenes.causal_graph(right)
    assert not left.patches and right.patches and figure.axes == [left, right]
