"""Pictures of which one is shown at a time."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

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
    assert (
        show.first == 0 and interactive.keep_slider(clip, importance).labels[interactive.keep_slider(clip, importance).first] == "ρ = 0.3"
    )
    assert interactive.keep_slider(clip, importance, rates=(0.5,), name="occluded").title.endswith(", occluded")
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


def test_player_puts_frame_maps_and_kept_tokens_side_by_side(clip) -> None:
    """One film: the frame, heatmaps at their own resolution, a token map, and what is kept of the same frame."""
    kept = torch.zeros(3, 8, 6, dtype=torch.bool)
    kept[1, 2, 3] = True
    show = interactive.player(clip, {"heatmaps": torch.rand(3, 16, 12), "importance": torch.rand(3, 8, 6)}, kept)
    plain = interactive.enlarged(interactive.frames(clip)[1], 4)
    height, width = plain.shape[:2]
    assert show.pictures[1].shape == (height, 4 * width + 3 * interactive._GAP, 3)
    assert (show.pictures[1][:, :width] == plain).all()
    last = show.pictures[1][:, -width:]
    assert (last == interactive.kept_only(interactive.frames(clip)[1], kept[1].numpy(), 4)).all()
    assert show.captions[1] == "Target frame, from left to right: the frame, heatmaps, importance, the kept tokens."
    numbered = interactive.player(clip, {}, kept, each_is_target=True)
    assert numbered.labels == ("frame 1 of 3", "frame 2 of 3", "frame 3 of 3") and numbered.first == 1
    with pytest.raises(CausalPoseError, match=r"kept: the map \[2, 8, 6\]"):
        interactive.player(clip, {}, kept[:2])


def _decoded(address: str) -> tuple[np.ndarray, int]:
    """Pixels of a `data:` address, and its bytes."""
    content = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), len(content)


def test_pictures_are_light_and_look_the_same(clip) -> None:
    """A palette makes a film half as heavy as full colour; colours are off by 1.5 % on average, and few colours stay exact."""
    picture = interactive.player(clip, {"one": torch.rand(3, 8, 6)}).pictures[0]
    found, weight = _decoded(interactive._encode(picture))
    whole = io.BytesIO()
    Image.fromarray(picture).save(whole, "PNG", optimize=True)
    assert weight < 0.5 * whole.tell()
    assert np.abs(found.astype(int) - picture).mean() < 0.015 * 255
    flat = np.arange(200, dtype=np.uint8).reshape(20, 10, 1).repeat(3, 2)
    assert (_decoded(interactive._encode(flat))[0] == flat).all()


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
