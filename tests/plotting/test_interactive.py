"""Pictures of which one is shown at a time."""

import re

import numpy as np
import pytest
import torch

from causalpose.errors import CausalPoseError
from causalpose.plotting import interactive
from causalpose.scenes.world import World


@pytest.fixture(scope="module")
def clip():
    return World(seed=1).render([0])[0]


def test_the_slider_keeps_what_the_rate_says(clip) -> None:
    """Importance rises from token to token, so the kept ones are the last: their count and their frames are known."""
    importance = torch.arange(144.0).view(3, 8, 6)
    show = interactive.keep_slider(clip, importance, rates=(0.25, 0.5, 1.0))
    assert show.captions[0] == "At ρ = 0.25, 36 of 144 tokens stay: 0, 0, 36 by frame."
    assert show.captions[1] == "At ρ = 0.5, 72 of 144 tokens stay: 0, 24, 48 by frame."
    whole = interactive.in_a_row([interactive.enlarged(frame, 4) for frame in interactive.frames(clip)])
    differing = (show.pictures[2] != whole).any(-1).mean()
    assert differing < 0.1  # the border alone
    assert (show.pictures[0] != whole).any(-1).mean() > 0.5


def test_html_is_whole_and_bears_alternatives(clip) -> None:
    """Every picture is inside, described and labelled; nothing is fetched; two shows of one page have different names."""
    shows = [
        interactive.player(clip, {"first": torch.rand(3, 8, 6)}),
        interactive.counterfactuals({"as it was": clip, "the same": clip}),
        interactive.effect_beside(clip, torch.rand(3, 8, 6), {"one": torch.rand(3, 8, 6), "two": torch.rand(3, 8, 6)}),
    ]
    pages = [show._repr_html_() for show in shows]
    for show, page in zip(shows, pages, strict=True):
        sources, alternatives = re.findall(r'<img src="([^"]+)"', page), re.findall(r'alt="([^"]+)"', page)
        assert len(sources) == len(alternatives) == len(show.pictures)
        assert all(source.startswith("data:image/png;base64,") for source in sources) and min(map(len, alternatives)) >= 15
        assert "http" not in page
    names = [re.search(r'id="(cp-\w+)"', page)[1] for page in pages]
    assert len(set(names)) == len(names)
    assert 'type="radio"' in pages[1] and 'type="range"' in pages[0] and "Play" in pages[0]


def test_bad_input_is_one_error(clip) -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    for arguments, message in [
        (((picture,), ("a",), ("too short",), "t"), "alternative text"),
        (((picture,), ("a", "b"), ("a sentence about it",), "t"), "as many labels"),
        (((picture,), ("a",), ("a sentence about it",), "t", "wheel"), "not one of"),
        (((), (), (), "t"), "0 pictures"),
    ]:
        with pytest.raises(CausalPoseError, match=message):
            interactive.Show(*arguments)
    with pytest.raises(CausalPoseError, match="not \\[T, rows, columns\\]"):
        interactive.keep_slider(clip, torch.rand(2, 8, 6))
    with pytest.raises(CausalPoseError, match="uint8"):
        interactive.Show((picture.astype(float),), ("a",), ("a sentence about it",), "t")._repr_html_()
