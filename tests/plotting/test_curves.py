"""Training curves show what the log says."""

import pytest

from causalpose.errors import CausalPoseError
from causalpose.plotting.curves import training_curves


@pytest.fixture
def run(tmp_path):
    (tmp_path / "log.csv").write_text("step,pose,val_pck\n1,4.0,\n2,2.0,\n3,3.0,50\n")
    return tmp_path


def test_lines_are_the_logs(run):
    figure = training_curves({"a": run, "b": run / "log.csv"}, ("pose", "val_pck"))
    pose, held_out = figure.axes
    assert pose.lines[0].get_xydata().tolist() == [[1, 4], [2, 2], [3, 3]]
    assert held_out.lines[1].get_xydata().tolist() == [[3, 50]]
    assert [text.get_text() for text in held_out.get_legend().get_texts()] == ["a", "b"]


def test_running_mean(run):
    """Over two rows: (4 + 2) / 2 = 3 at step 2, (2 + 3) / 2 = 2.5 at step 3."""
    axis = training_curves(run, ("pose",), smooth=2).axes[0]
    assert axis.lines[1].get_xydata().tolist() == [[2, 3], [3, 2.5]]


def test_four_columns_stand_two_by_two(run):
    axes = training_curves(run, ("pose", "pose", "pose", "pose")).axes
    assert [axis.get_subplotspec().get_gridspec().get_geometry() for axis in axes] == [(2, 2)] * 4
    assert all(axis.lines[0].get_xydata().tolist() == [[1, 4], [2, 2], [3, 3]] for axis in axes)


def test_wrong_input(run, tmp_path):
    with pytest.raises(CausalPoseError, match="no column 'mask'; it has: step, pose"):
        training_curves(run, ("mask",))
    with pytest.raises(CausalPoseError, match="no log at"):
        training_curves(tmp_path / "nowhere")
    with pytest.raises(CausalPoseError, match="at least one run"):
        training_curves({})
