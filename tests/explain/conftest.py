"""A world, two of its clips, and a model whose sight is known."""

import pytest

from causalpose.clip import Clip
from causalpose.scenes.world import World
from tests.explain.models import OneToken


@pytest.fixture
def one_token() -> OneToken:
    return OneToken().eval()


@pytest.fixture
def world() -> World:
    return World(32, 32, 3, seed=4)


@pytest.fixture
def clips(world) -> Clip:
    return world.render([0, 1])
