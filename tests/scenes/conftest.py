"""Fixtures for scenes: a cache of their own, and a look at the bars that the renderer was given."""

import pytest

from causalpose.scenes import world as module


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("CAUSALPOSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def drawn_bars(monkeypatch):
    """A function `(world, clips) -> (clip, bars)`: the rendered batch and the `Bars` that made it (`[B·T, N]`, sharp clips only)."""

    def draw(world, clips):
        seen = []
        rasterise = module.rasterise

        def spy(bars, background, light):
            seen.append(bars)
            return rasterise(bars, background, light)

        with monkeypatch.context() as patch:
            patch.setattr(module, "rasterise", spy)
            clip = world.render(clips)
        assert len(seen) == 1, "the clips were drawn in several groups; use a world without motion blur and one chunk"
        return clip, seen[0]

    return draw
