"""The pictures of `figures/`: the same bytes twice, and the stored graph is the present one."""

import importlib.util
import re

import numpy as np
import pytest
from PIL import Image

from causalpose.errors import CausalPoseError
from causalpose.scenes.causes import GRAPH, LAYERS


@pytest.fixture(scope="module")
def make(repository):
    """The module `figures/make.py`, which is a script and not part of the package."""
    spec = importlib.util.spec_from_file_location("figures_make", repository / "figures" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(path) -> list[str]:
    """The texts of an SVG, in order."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


def test_the_graph_is_the_same_bytes_twice_and_keeps_its_text(make, tmp_path):
    for name in ("a", "b"):
        make.main(["causal_graph", "--out", str(tmp_path / name)])
    first, second = (tmp_path / name / "causal_graph.svg" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert (tmp_path / "a" / "causal_graph.png").read_bytes() == (tmp_path / "b" / "causal_graph.png").read_bytes()
    assert set(GRAPH) | set(LAYERS) <= set(words(first))


def test_the_stored_graph_is_up_to_date(make, repository, tmp_path):
    make.main(["causal_graph", "--out", str(tmp_path)])
    assert words(repository / "figures" / "causal_graph.svg") == words(tmp_path / "causal_graph.svg")


def test_every_figure_is_stored(make, repository):
    for name in make.FIGURES:
        with Image.open(repository / "figures" / f"{name}.png") as picture:
            assert picture.width >= 900 and picture.height >= 250, name


def test_pixels_keep_six_bits(make, tmp_path):
    """0, 3, 130 and 255 -> 0, 0, 128 + 2 = 130 and 255: never more than three away, black and white exact."""
    picture = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2)
    make.save_pixels(picture, tmp_path, "ramp")
    stored = np.asarray(Image.open(tmp_path / "ramp.png")).astype(int)
    assert np.abs(stored - picture).max() <= 3
    assert stored[0, [0, 3, 130, 255], 0].tolist() == [0, 0, 130, 255]


def test_unknown_figure(make):
    with pytest.raises(CausalPoseError, match="no figure is called 'graph'; figures: causal_graph"):
        make.main(["graph"])
