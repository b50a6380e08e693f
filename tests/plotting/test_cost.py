"""Figures of costs: every preset its line, and clear errors."""

import itertools

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from causalpose.errors import CausalPoseError
from causalpose.plotting import cost


def test_a_line_a_preset_and_size():
    cases = itertools.product(("tiny", "base"), ((256, 192), (384, 288)), (1, 5), (0.3, 1.0))
    table = pd.DataFrame(
        [{"preset": p, "height": h, "width": w, "frames": t, "keep_rate": r, "forward_flops": 1e9 * t * h * r, "activation_mb": 10.0 * t}
         for p, (h, w), t, r in cases]
    )  # fmt: skip
    figure = cost.cost_figure(table)
    assert [len(axis.lines) for axis in figure.axes] == [4, 4, 2]
    assert figure.axes[2].lines[0].get_ydata().tolist() == pytest.approx([30.0, 100.0])
    with pytest.raises(CausalPoseError, match="no size 64x48"):
        cost.cost_figure(table, size=(64, 48))
    plt.close(figure)


def test_measured_figures():
    def row(section, case, quantity, value, unit, reference=float("nan")):
        return (section, case, quantity, value, unit, reference)

    rows = [row("clustering", f"8 x {n} tokens of 768", "DPC-kNN, a clip", n / 100, "ms", n / 10) for n in (672, 168)]
    rows += [row("stage-2", "share of the whole model", part, value, "%") for part, value in (("backbone", 90.0), ("head", 10.0))]
    table = pd.DataFrame(rows, columns=["section", "case", "quantity", "value", "unit", "reference"])
    figure = cost.growth_figure(table)
    assert figure.axes[0].lines[0].get_xdata().tolist() == [168, 672]
    assert "5/8 of the product" in figure.axes[0].lines[0].get_label()  # four groups of rows, each from its diagonal block on
    assert [bar.get_width() for bar in cost.share_figure(table).axes[0].patches] == [90.0, 10.0]
    with pytest.raises(CausalPoseError, match="no rows of section clustering"):
        cost.growth_figure(table[table["section"] == "stage-2"])
    with pytest.raises(CausalPoseError, match="no rows of section stage-2"):
        cost.share_figure(table[table["section"] == "clustering"])
    plt.close("all")
