"""A dial's line goes through the means, and only where something was recorded."""

import pandas as pd
import pytest

from causalpose.errors import CausalPoseError
from causalpose.plotting.dials import dial_plot


def test_line_through_the_means_of_what_is_recorded():
    rows = [("attention", 0.3, 0, 70.0), ("attention", 0.3, 1, 72.0), ("attention", 1.0, 0, 75.0), ("random", 1.0, 0, 75.0)]
    figure = dial_plot(pd.DataFrame(rows, columns=["series", "setting", "seed", "score"]), "share kept")
    lines = {line.get_label(): line for line in figure.axes[0].lines if not line.get_label().startswith("_")}
    assert lines["attention"].get_xydata().tolist() == [[0.3, 71], [1.0, 75]]
    assert lines["random"].get_xydata().tolist() == [[1.0, 75]]
    assert figure.axes[0].get_xticks().tolist() == [0.3, 1.0]


def test_nothing_recorded_is_an_error():
    with pytest.raises(CausalPoseError, match="none of the settings"):
        dial_plot(pd.DataFrame(columns=["series", "setting", "seed", "score"]), "share kept")
